"""What a policy is: it reads contexts and replies to each with one assistant message.

Contexts come in batches, so that a model can work on many at once; a policy may remember a context (its keys and
values) between turns, by identity.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from envs.env import ToolEnv
from envs.trajectory import Message, Turn


@dataclass(slots=True, kw_only=True, eq=False)
class Context:
    """One conversation as it stands: what a policy sees of an episode. `rng` is the episode's own source of chance."""

    env: ToolEnv
    messages: list[Message]
    tools: list[dict[str, object]]
    rng: Random
    turns: list[Turn] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An assistant message; `turn` has its tokens where the policy knows them. `cut`: it met a limit, not its end."""

    message: Message
    turn: Turn | None = None
    cut: bool = False


class Policy(Protocol):
    """What acts."""

    name: str

    def act(self, contexts: Sequence[Context]) -> list[Reply]:
        """One reply per context, in order."""
        ...
