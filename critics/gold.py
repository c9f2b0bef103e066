"""What only the right path knows, and whether a hint gives it away.

A hint says again what the model could see. A value is *leaked* if a hint has it, the calls that solve the task have it
as an argument, and nothing before the turn says it: no message, no tool, nor the turn itself. A run counts a hint that
leaks and goes on without it. Where the right path isn't known, nothing can leak.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from critics.finding import content_of
from critics.hints import JUDGED_HINTS, NEUTRAL_HINTS, PLACEBOS, hint_for
from envs import PlannedEnv, Trajectory, calls_of, make
from envs.env import ToolEnv
from tools import ErrorCode, InfrastructureFault, Violation
from tools.command import InputError

SHORTEST = 3
"""Characters of a text that can be leaked; a number can be whatever its length."""


def leaked(hint: str, trajectory: Trajectory, message_index: int, gold: Collection[str] | None = None) -> str | None:
    """A value that a hint above a turn gives away; None if there is none.

    `gold` are the values of the right path; without them they are `gold_values`.
    """
    seen = _seen(trajectory, message_index)
    for value in gold_values(trajectory) if gold is None else gold:
        if _has(hint, value) and not _has(seen, value) and not _TEMPLATE_WORDS.issuperset(_words(value)):
            return value
    return None


def _has(text: str, value: str) -> bool:
    """Whether a text has a value, not as a part of a longer word or number."""
    return re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text, re.IGNORECASE) is not None


def gold_values(trajectory: Trajectory) -> tuple[str, ...]:
    """The arguments of the calls that solve a trajectory's task: those that the task lists under `expected`, else those
    of the world's expert; none where neither is known."""
    task = trajectory.task
    if isinstance(task.get("expected"), Sequence) and not isinstance(task["expected"], str):
        return tuple(_values(task["expected"]))
    seed, split = task.get("seed"), task.get("split")
    # A name with a colon says which module to import, which a file must not decide.
    world = trajectory.env.partition("+")[0]
    if not world or ":" in world or not isinstance(seed, int) or not isinstance(split, str):
        return ()
    return _of_expert(world, split, seed, tuple(task.get("stress") or ()))


@lru_cache(maxsize=4_096)
def _of_expert(env_id: str, split: str, seed: int, stress: tuple[str, ...]) -> tuple[str, ...]:
    try:
        env = make(env_id, split=split, stress=stress)
    except InputError:
        return ()  # another project's world, or one that is gone
    try:
        env.reset(seed=seed)
        return tuple(_values(list(_expert_arguments(env))))
    except InfrastructureFault:
        return ()
    finally:
        env.close()


def _expert_arguments(env: ToolEnv) -> Iterator[Any]:
    """The arguments of each call that the expert makes. A script is read; elsewhere the expert has to act."""
    if isinstance(env, PlannedEnv):
        yield from (step.arguments for exchange in env.script.exchanges for step in exchange.plan)
        return
    for _ in range(env.max_turns):
        action = env.expert_action()
        yield from (json.loads(call["function"]["arguments"]) for call in calls_of(action))
        if any(env.step(action)[2:4]):
            return


def _values(part: Any) -> Iterator[str]:
    """The texts and numbers in a JSON value, nested too, as text."""
    pending = [part]
    while pending:
        value = pending.pop()
        if isinstance(value, Mapping):
            # Of a call in OpenAI's form only the arguments tell something; a tool's name stands in every hint.
            pending.extend([value["arguments"]] if "arguments" in value else value.values())
        elif isinstance(value, (list, tuple)):
            pending.extend(value)
        elif isinstance(value, str) and len(value) >= SHORTEST:
            yield value
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield str(value)


def _seen(trajectory: Trajectory, message_index: int) -> str:
    """All that a turn's model had before it, and what it said itself."""
    messages = trajectory.messages[: message_index + 1]
    calls = [call.get("function") for message in messages for call in calls_of(message)]
    tools = json.dumps([list(trajectory.tools), calls], ensure_ascii=False, default=str)
    turn = trajectory.turn_at(message_index)
    raw = "" if turn is None else trajectory.turns[turn].raw
    return "\n".join([*map(content_of, messages), tools, raw])


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def _template_texts() -> Iterator[str]:
    """What templates say without the facts in them, and what a type can be called."""
    yield from NEUTRAL_HINTS.values()
    yield from JUDGED_HINTS.values()
    yield from PLACEBOS
    for code in ErrorCode:
        for allowed in ((), ("none",)):
            violation = Violation(code=code, path="", expected="", came=None, allowed=allowed)
            yield hint_for(violation, "")
    yield "string integer number boolean array object null is one of the request and the results say which"


_TEMPLATE_WORDS = frozenset(word for text in _template_texts() for word in _words(text))
