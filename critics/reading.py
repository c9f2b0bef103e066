"""A trajectory read once, for all rules: its calls checked, placed in the text, and joined with their results.

Left out: what is an error and what isn't (`critics.rules`).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from critics.finding import CERTAIN, NAME_CODES, Confidence, Finding, content_of
from critics.hints import REPEATS, hint_for, repeat_hint
from critics.spans import CallPlace, Span, places
from envs import Message, Trajectory, calls_of
from tools import ErrorCode, Tool, ToolCall, Violation, check_call


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One tool call, with what is wrong with it, its place in the text, and the message that answered it.

    `key` is equal for calls that ask for the same, however their JSON is spaced and ordered.
    """

    message_index: int
    call_index: int
    call: ToolCall
    arguments: Mapping[str, Any]
    violations: Sequence[Violation]
    place: CallPlace
    result: Message | None
    key: tuple[str, str]

    @property
    def answered_with_error(self) -> bool:
        return self.result is not None and bool(self.result.get("is_error"))

    @property
    def failed(self) -> bool:
        return bool(self.violations) or self.answered_with_error

    @property
    def succeeded(self) -> bool:
        return self.result is not None and not self.failed


def _canonical(arguments: str) -> str:
    try:
        return json.dumps(json.loads(arguments or "{}"), sort_keys=True)
    except (ValueError, RecursionError):
        return arguments


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A trajectory as rules see it. `strays` are tool results for calls that nobody made: (turn, result) by message."""

    trajectory: Trajectory
    offered: Mapping[str, Tool]
    turns: Sequence[int]
    raws: Mapping[int, str]
    attempts: Sequence[Attempt]
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

    def by_turn(self) -> Iterator[tuple[int, list[Attempt]]]:
        """Every message with the calls in it."""
        calls: dict[int, list[Attempt]] = {}
        for attempt in self.attempts:
            calls.setdefault(attempt.message_index, []).append(attempt)
        for message_index in range(len(self.trajectory.messages)):
            yield message_index, calls.get(message_index, [])

    def at_violation(self, attempt: Attempt, violation: Violation, confidence: Confidence = CERTAIN) -> Finding:
        """A finding about the part of a call that a violation names."""
        return Finding(
            code=violation.code,
            message_index=attempt.message_index,
            call_index=attempt.call_index,
            path=violation.path,
            span=attempt.place.of(violation),
            explanation=_explained(attempt.call, violation),
            hint=hint_for(violation, attempt.call.name),
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
    offered = {tool.name: tool for tool in map(Tool.from_openai, _objects(trajectory.tools, "tools"))}
    catalogue = frozenset(map(str, trajectory.task.get("catalogue") or ()))
    raws = {turn.message_index: turn.raw for turn in trajectory.turns}
    calls = {index: _calls(message) for index, message in _turns(trajectory)}
    results, strays = _results(trajectory, calls)
    attempts = []
    for index, made in calls.items():
        for number, (call, place) in enumerate(zip(made, places(made, raws.get(index)), strict=True)):
            later = {name for name, first in trajectory.tools_from.items() if first > index}
            now = {name: tool for name, tool in offered.items() if name not in later} if later else offered
            arguments, violations = check_call(call, now, catalogue | later)
            attempts.append(
                Attempt(
                    message_index=index,
                    call_index=number,
                    call=call,
                    arguments=arguments,
                    violations=violations,
                    place=place,
                    result=results.get((index, number)),
                    key=(call.name, _canonical(call.arguments)),
                )
            )
    return Reading(
        trajectory=trajectory, offered=offered, turns=tuple(calls), raws=raws, attempts=attempts, strays=strays
    )


def _turns(trajectory: Trajectory) -> Iterator[tuple[int, Message]]:
    for index, message in enumerate(_objects(trajectory.messages, "messages")):
        if message.get("role") == "assistant":
            yield index, dict(message)


def _calls(message: Message) -> list[ToolCall]:
    return [ToolCall.from_openai(call) for call in _objects(calls_of(message), "tool_calls")]


def _objects(parts: Any, what: str) -> Sequence[Mapping[str, Any]]:
    if not isinstance(parts, (list, tuple)) or not all(isinstance(part, Mapping) for part in parts):
        raise ValueError(f"expected {what} to be a list of objects in OpenAI's form, came {str(parts)[:80]}")
    return parts


def _results(
    trajectory: Trajectory, calls: Mapping[int, Sequence[ToolCall]]
) -> tuple[dict[tuple[int, int], Message], list[tuple[int, int]]]:
    """The result of each call by (message, call), and the results that belong to none.

    Programs may use an id again in a later turn, so a result belongs to the latest call of its id that still waits; a
    result without an id to the earliest call of the latest turn that waits.
    """
    results: dict[tuple[int, int], Message] = {}
    waiting: dict[str, list[tuple[int, int]]] = {}
    strays, turn = [], 0
    for index, message in enumerate(trajectory.messages):
        if index in calls:
            turn = index
            waiting.update({call.id: [] for call in calls[index]} | {"": []})
            for number, call in enumerate(calls[index]):
                waiting[call.id].append((index, number))
                if call.id:
                    waiting[""].append((index, number))
        elif message.get("role") == "tool":
            own = waiting.get(str(message.get("tool_call_id") or ""))
            if own is None:
                strays.append((turn, index))
                continue
            while own and own[0] in results:
                own.pop(0)
            if own:
                results[own.pop(0)] = message
    return results, strays


def _hint(code: ErrorCode) -> str:
    return hint_for(Violation(code=code, path="", expected="", came=None), "")


def _explained(call: ToolCall, violation: Violation) -> str:
    """What was expected and what came, in one sentence."""
    came = _shown(violation.came)
    allowed = ", ".join(map(str, violation.allowed))
    match violation.code:
        case code if code in NAME_CODES:
            return f"expected one of the available tools ({allowed}), came {came}"
        case ErrorCode.MISSING_ARGUMENT:
            return f"{call.name}: {violation.path} is required ({violation.expected}) and absent"
        case ErrorCode.UNEXPECTED_ARGUMENT:
            return f"{call.name}: {violation.path} is no argument; expected only: {allowed or 'none'}"
        case ErrorCode.DOMAIN_REJECTION:
            return f"{call.name} was refused: {violation.expected}"
        case ErrorCode.INVALID_VALUE if violation.allowed:
            return f"{call.name}: {violation.path} must be one of {allowed}, came {came}"
        case _:
            return f"{call.name or 'a call'}: {violation.path}: expected {violation.expected}, came {came}"


def _shown(value: Any, limit: int = 120) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (ValueError, RecursionError):
        text = str(type(value).__name__)
    return text if len(text) <= limit else f"{text[:limit]}..."
