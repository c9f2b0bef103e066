"""A trajectory read once, for all rules: its calls checked, placed in the text, and joined with their results.

Left out: what is an error and what isn't (`critics.rules`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from critics.answers import ERRORS, answer_of, flagged_answer
from critics.attempt import Attempt
from critics.explaining import explained
from critics.finding import CERTAIN, Confidence, Finding, content_of
from critics.hints import REPEATS, hint_for, repeat_hint
from critics.spans import Span
from critics.wording import wording_of
from envs import Message, Trajectory
from tools import ErrorCode, Tool, ToolCall, Violation, check_call
from tools.logged import LoggedTools, logged_tools


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A trajectory as rules see it. `turns` are the assistant's messages, `users` the
    user's. `calling` has the attempts of each turn that calls, `answers` are the other turns, `suspects` those that the
    schema has something against or that were answered with an error. `strays` are tool results for calls that nobody
    made: (turn, result) by message.
    """

    trajectory: Trajectory
    offered: Mapping[str, Tool]
    turns: Sequence[int]
    users: Sequence[int]
    raws: Mapping[int, str]
    attempts: Sequence[Attempt]
    calling: Mapping[int, Sequence[Attempt]]
    answers: Sequence[int]
    suspects: Sequence[Attempt]
    strays: Sequence[tuple[int, int]] = field(default=())

    @property
    def last_turn(self) -> int:
        """The message that a finding about the whole trajectory stands at."""
        return self.turns[-1] if self.turns else max(0, len(self.trajectory.messages) - 1)

    def text(self, message_index: int) -> str:
        """What a whole turn says: its raw text, or its content where that is not known."""
        raw = self.raws.get(message_index)
        messages = self.trajectory.messages
        if raw is not None or message_index >= len(messages):
            return raw or ""
        return content_of(messages[message_index])

    def at_violation(
        self,
        attempt: Attempt,
        violation: Violation,
        confidence: Confidence = CERTAIN,
        *,
        said: str = "",
        hint: str = "",
    ) -> Finding:
        """A finding about the part of a call that a violation names; `said` and `hint` where its own texts won't do."""
        return Finding(
            code=violation.code,
            message_index=attempt.message_index,
            call_index=attempt.call_index,
            path=violation.path,
            span=attempt.place(self.raws.get(attempt.message_index)).of(violation),
            explanation=said or explained(attempt.call, violation),
            hint=hint or hint_for(violation, attempt.call.name),
            confidence=confidence,
        )

    def at_call(self, attempt: Attempt, code: ErrorCode, explanation: str) -> Finding:
        """A finding about a whole call, marked at all of its turn."""
        raw = self.raws.get(attempt.message_index)
        end = len(attempt.call.arguments if raw is None else raw)
        return Finding(
            code=code,
            message_index=attempt.message_index,
            call_index=attempt.call_index,
            span=(0, end),
            explanation=explanation,
            hint=repeat_hint(code, attempt.call) if code in REPEATS else _hint(code),
        )

    def at_turn(self, message_index: int, code: ErrorCode, explanation: str, span: Span | None = None) -> Finding:
        """A finding about a turn; all of it unless `span` says which part."""
        return Finding(
            code=code,
            message_index=message_index,
            span=span or (0, len(self.text(message_index))),
            explanation=explanation,
            hint=_hint(code),
        )


def read(trajectory: Trajectory) -> Reading:
    """Read a trajectory. Raises ValueError for tools or calls that are not in OpenAI's form."""
    offered = logged_tools(_objects(trajectory.tools, "tools"))
    turns, users, calls, strays = _joined(_objects(trajectory.messages, "messages"))
    check = _Check(trajectory, offered)
    judge = flagged_answer if _is_of_our_worlds(trajectory) else answer_of
    calling = {
        index: [
            Attempt(index, number, made, check(made[number], index, result), result, judge(result))
            for number, result in enumerate(results)
        ]
        for index, (made, results) in calls.items()
    }
    attempts = [attempt for made in calling.values() for attempt in made]
    return Reading(
        trajectory=trajectory,
        offered=offered,
        turns=turns,
        users=users,
        raws={turn.message_index: turn.raw for turn in trajectory.turns},
        attempts=attempts,
        calling=calling,
        answers=[index for index in turns if index not in calling],
        suspects=[attempt for attempt in attempts if attempt.violations or attempt.refused],
        strays=strays,
    )


def _is_of_our_worlds(trajectory: Trajectory) -> bool:
    """Whether a rollout of `envs` wrote it: that says the seed and the split of its task."""
    return bool(trajectory.env) and "seed" in trajectory.task and "split" in trajectory.task


class _Check:
    """Checks calls against the tools that a trajectory offers, or has offered so far."""

    def __init__(self, trajectory: Trajectory, offered: LoggedTools) -> None:
        self.offered = self.now = offered
        self.later: frozenset[str] = frozenset()
        self.known = trajectory.tools_known
        catalogue = trajectory.task.get("catalogue")
        self.catalogue = frozenset(map(str, catalogue)) if catalogue else frozenset()
        self.tools_from = trajectory.tools_from

    def __call__(
        self, call: ToolCall, index: int, result: Message | None
    ) -> tuple[Mapping[str, Any], Sequence[Violation]]:
        checked: tuple[Mapping[str, Any], Sequence[Violation]]
        if self.known and not self.tools_from:
            checked = check_call(call, self.offered, self.catalogue, suggest=False)
        else:
            checked = self._now(call, index)
        if not call.arguments and call.name and not checked[1] and _could_not_parse(result):
            expected = "arguments in JSON, as this environment reads no text at all"
            return {}, [Violation(code=ErrorCode.MALFORMED_CALL, path="$", expected=expected, came="")]
        return checked

    def _now(self, call: ToolCall, index: int) -> tuple[Mapping[str, Any], Sequence[Violation]]:
        if not self.known:  # of such a call only the form can be checked
            return check_call(call, {call.name: ANYTHING} if call.name else {}, suggest=False)
        later = frozenset(name for name, first in self.tools_from.items() if first > index)
        if later != self.later:
            self.later, self.now = later, self.offered.without(later)
        return check_call(call, self.now, self.catalogue | later, suggest=False)


ANYTHING = Tool(name="", description="", parameters={})


def _could_not_parse(result: Message | None) -> bool:
    """Whether an environment that was given no text for arguments says that this is no JSON; for others it is `{}`."""
    wording = wording_of(content_of(result)[:1_000]) if answer_of(result) in ERRORS and result else None
    return wording is not None and wording.code is ErrorCode.MALFORMED_CALL


def _objects(parts: Any, what: str) -> Sequence[Mapping[str, Any]]:
    if not isinstance(parts, (list, tuple)) or not (
        _DICTS.issuperset(map(type, parts)) or all(isinstance(part, Mapping) for part in parts)
    ):
        raise ValueError(f"expected {what} to be a list of objects in OpenAI's form, came {str(parts)[:80]}")
    return parts


_DICTS = frozenset({dict})

_Calls = tuple[Sequence[ToolCall], list[Message | None]]
"""The calls of a turn, and the result of each."""


def _joined(
    messages: Sequence[Mapping[str, Any]],
) -> tuple[list[int], list[int], dict[int, _Calls], list[tuple[int, int]]]:
    """The assistant's and the user's messages, the calls of each turn with their results, and the results that belong
    to none, with the turn before them.

    Programs may use an id again in a later turn, so a result belongs to the latest call of its id that still waits; a
    result without an id to the earliest call of the latest turn that waits.
    """
    turns: list[int] = []
    users: list[int] = []
    calls: dict[int, _Calls] = {}
    strays: list[tuple[int, int]] = []
    waiting: dict[str, list[tuple[list[Message | None], int]]] = {}
    for index, message in enumerate(messages):
        role = message.get("role")
        if role == "assistant":
            turns.append(index)
            made = message.get("tool_calls")
            if made:
                calls[index] = _waiting([ToolCall.from_openai(call) for call in _objects(made, "tool_calls")], waiting)
            elif turns:
                waiting[""] = []
        elif role == "user":
            users.append(index)
        elif role == "tool":
            own = waiting.get(str(message.get("tool_call_id") or ""))
            if own is None:
                strays.append((turns[-1] if turns else 0, index))
                continue
            for results, number in own:
                if results[number] is None:
                    results[number] = message  # type: ignore[call-overload]
                    break
    return turns, users, calls, strays


def _waiting(made: Sequence[ToolCall], waiting: dict[str, list[tuple[list[Message | None], int]]]) -> _Calls:
    """Calls whose results are to come: from now on, these ids mean these calls."""
    results: list[Message | None] = [None] * len(made)
    slots = [(results, number) for number in range(len(made))]
    if len(made) == 1:
        waiting[made[0].id] = waiting[""] = slots
        return made, results
    for call in made:
        waiting[call.id] = []
    for call, slot in zip(made, slots, strict=True):
        waiting[call.id].append(slot)
    waiting[""] = slots
    return made, results


def _hint(code: ErrorCode) -> str:
    return hint_for(Violation(code=code, path="", expected="", came=None), "")
