"""The rules by their codes, and `criticize`, which runs them all."""

from collections.abc import Callable, Iterable
from functools import lru_cache

from critics.finding import Finding
from critics.reading import Reading, read
from envs import StopReason, Trajectory
from tools import ErrorCode

Rule = Callable[[Reading], Iterable[Finding]]

RULES: dict[ErrorCode, Rule] = {}
"""The rule of each code. Add one with `@rule(code)`."""


_OF_SUSPECTS: set[ErrorCode] = set()
_OF_SHOWN: set[ErrorCode] = set()
_OF_ENDS: set[ErrorCode] = set()


def rule(
    code: ErrorCode, *, of_suspects: bool = False, of_shown: bool = False, of_ends: bool = False
) -> Callable[[Rule], Rule]:
    """Register a function as the rule of a code. One that is `of_suspects` finds nothing where the reading has none,
    and isn't asked then; one that is `of_shown`, where neither a schema nor an answer shows its code; one that is
    `of_ends`, where the trajectory doesn't say how it ended, as most logs don't. Raises ValueError if the code has a
    rule.
    """

    def register(function: Rule) -> Rule:
        if code in RULES:
            raise ValueError(f"{code} has a rule already: change that one, or take it out of RULES first")
        RULES[code] = function
        _asked.cache_clear()
        if of_suspects:
            _OF_SUSPECTS.add(code)
        if of_shown:
            _OF_SHOWN.add(code)
        if of_ends:
            _OF_ENDS.add(code)
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
    ends = bool(trajectory.env) or trajectory.stop_reason != StopReason.ANSWERED
    asked = _asked(frozenset(reading.shown) if reading.suspects else None, ends)
    findings = [finding for code in asked if (find := RULES.get(code)) for finding in find(reading)]
    return sorted(findings, key=_place) if len(findings) > 1 else findings


@lru_cache(maxsize=1024)
def _asked(shown: frozenset[ErrorCode] | None, ends: bool) -> tuple[ErrorCode, ...]:
    """The codes whose rules may find something where these codes are shown, None without any suspects; `ends` is
    whether the trajectory says how it ended."""
    idle = (_OF_SHOWN | _OF_SUSPECTS if shown is None else _OF_SHOWN - shown) | (set() if ends else _OF_ENDS)
    return tuple(code for code in RULES if code not in idle)


def _place(finding: Finding) -> tuple[int, int, int, int]:
    call_index = -1 if finding.call_index is None else finding.call_index
    return finding.message_index, call_index, *finding.span
