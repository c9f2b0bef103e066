"""The rules by their codes, and `criticize`, which runs them all."""

from collections.abc import Callable, Iterable

from critics.finding import Finding
from critics.reading import Reading, read
from envs import StopReason, Trajectory
from tools import ErrorCode

Rule = Callable[[Reading], Iterable[Finding]]

RULES: dict[ErrorCode, Rule] = {}
"""The rule of each code. Add one with `@rule(code)`."""


def rule(code: ErrorCode) -> Callable[[Rule], Rule]:
    """Register a function as the rule of a code. Raises ValueError if the code has one."""

    def register(function: Rule) -> Rule:
        if code in RULES:
            raise ValueError(f"{code} has a rule already: change that one, or take it out of RULES first")
        RULES[code] = function
        return function

    return register


def criticize(trajectory: Trajectory) -> list[Finding]:
    """All findings of a trajectory, in the order of its text.

    What an infrastructure fault has cut short can't be judged: the fault is then the only finding.
    Raises ValueError for a trajectory whose tools or calls are not in OpenAI's form.
    """
    reading = read(trajectory)
    if trajectory.stop_reason == StopReason.INFRASTRUCTURE_FAULT:
        return list(RULES[ErrorCode.INFRASTRUCTURE_FAULT](reading))
    findings = [finding for find in RULES.values() for finding in find(reading)]
    return sorted(findings, key=_place) if len(findings) > 1 else findings


def _place(finding: Finding) -> tuple[int, int, int, int]:
    call_index = -1 if finding.call_index is None else finding.call_index
    return finding.message_index, call_index, *finding.span
