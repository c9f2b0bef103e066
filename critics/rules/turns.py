"""Rules about whole turns and whole trajectories: empty turns, stray results, budgets, end states."""

from collections.abc import Iterator, Mapping
from typing import Any

from critics.finding import Finding
from critics.reading import Reading
from critics.rules.registry import rule
from envs import StopReason
from envs.trajectory import BUDGET_STOPS
from tools import ErrorCode


@rule(ErrorCode.PROTOCOL_VIOLATION)
def protocol_violation(reading: Reading) -> Iterator[Finding]:
    """A turn that says and calls nothing; a result for a call that nobody made, found at the turn before it."""
    for index, said in reading.answers.items():
        if (not said or said.isspace()) and not _says_more(reading.trajectory.messages[index]):
            explanation = "expected a call or an answer, came an empty turn"
            yield reading.at_turn(index, ErrorCode.PROTOCOL_VIOLATION, explanation)
    for turn, index in reading.strays:
        call_id = reading.trajectory.messages[index].get("tool_call_id")
        explanation = f"message {index} is the result of a call {str(call_id)[:80]!r} that was not made"
        yield reading.at_turn(turn, ErrorCode.PROTOCOL_VIOLATION, explanation)


def _says_more(message: Mapping[str, Any]) -> bool:
    """Whether a message whose text is empty says something otherwise."""
    content = message.get("content")
    if content and not isinstance(content, str):  # a picture, say
        return True
    return not _OTHERS.isdisjoint(message) and any(map(message.get, _OTHERS))


_OTHERS = frozenset({"refusal", "function_call", "audio"})
"""What a message may say beside its content."""


@rule(ErrorCode.BUDGET_EXHAUSTED, of_ends=True)
def budget_exhausted(reading: Reading) -> Iterator[Finding]:
    """The turns, errors or tokens ran out before an answer."""
    stop_reason = reading.trajectory.stop_reason
    if stop_reason in BUDGET_STOPS:
        explanation = f"expected an answer within the limits, came the {stop_reason.replace('_', ' ')}"
        yield reading.at_turn(reading.last_turn, ErrorCode.BUDGET_EXHAUSTED, explanation)


@rule(ErrorCode.WRONG_FINAL_STATE, of_ends=True)
def wrong_final_state(reading: Reading) -> Iterator[Finding]:
    """An answer while the world is not as the task wants it. Only a known world can tell."""
    trajectory = reading.trajectory
    if trajectory.env and trajectory.stop_reason == StopReason.ANSWERED and not trajectory.success:
        explanation = "answered while the world is not as the task wants it"
        yield reading.at_turn(reading.last_turn, ErrorCode.WRONG_FINAL_STATE, explanation)


@rule(ErrorCode.INFRASTRUCTURE_FAULT, of_ends=True)
def infrastructure_fault(reading: Reading) -> Iterator[Finding]:
    """Not the model's doing: such a trajectory is kept out of every rate."""
    if reading.trajectory.stop_reason == StopReason.INFRASTRUCTURE_FAULT:
        explanation = "a timeout, a lost connection or a full machine ended the rollout"
        yield reading.at_turn(reading.last_turn, ErrorCode.INFRASTRUCTURE_FAULT, explanation)
