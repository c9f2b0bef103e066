"""What tasks are made of, in any world: steps, the exchanges that they serve, and the script of an episode.

A task of these worlds comes with its solution, so that an expert, a goal state and habitual mistakes need no search.
Left out: how a world draws its tasks, which is in its own `tasks.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One call of a plan: a tool's name and its arguments."""

    tool: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """What the user says, the calls that it takes, and the answer that an expert gives."""

    request: str
    plan: tuple[Step, ...]
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A whole episode as an expert lives it: the system text, and one exchange after the other.

    `kind` names the family that the task is of.
    """

    kind: str
    system: str
    exchanges: tuple[Exchange, ...]
