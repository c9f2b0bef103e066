"""What is an error: one rule per code, each a function from a `Reading` to findings.

    @rule(ErrorCode.PREMATURE_STOP)
    def premature_stop(reading: Reading) -> Iterator[Finding]: ...

`criticize` runs all of them. Whether a call fits its tool is asked of `tools.check_call`, once per call, in
`critics.reading`. Left out: errors that only a reader of meaning sees (`wrong_tool`, `misread_result`, ...).
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from critics.finding import WARNING, Finding, content_of
from critics.reading import Attempt, Reading, read
from critics.spans import call_blocks, json_path, scan
from envs import StopReason, Trajectory
from envs.trajectory import BUDGET_STOPS
from tools import INVALID_CALL_CODES, ErrorCode, Violation

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
        return list(infrastructure_fault(reading))
    return sorted((finding for find in RULES.values() for finding in find(reading)), key=_place)


def _place(finding: Finding) -> tuple[int, int, int, int]:
    call_index = -1 if finding.call_index is None else finding.call_index
    return finding.message_index, call_index, *finding.span


def _violations(code: ErrorCode) -> Rule:
    """The rule for what `tools.check_call` reports under a code."""

    def find(reading: Reading) -> Iterator[Finding]:
        for attempt in reading.attempts:
            for violation in attempt.violations:
                if violation.code is code:
                    yield reading.at_violation(attempt, violation)

    return find


for _code in ErrorCode:
    if _code in INVALID_CALL_CODES and _code is not ErrorCode.MALFORMED_CALL:
        rule(_code)(_violations(_code))


@rule(ErrorCode.MALFORMED_CALL)
def malformed_call(reading: Reading) -> Iterator[Finding]:
    """A call that does not parse, also one that a server handed on as plain text because it could not read it."""
    yield from _violations(ErrorCode.MALFORMED_CALL)(reading)
    calling = {attempt.message_index for attempt in reading.attempts}
    for index in reading.turns:
        text = reading.text(index)
        broken = [block for block in call_blocks(text) if not _is_call(text, *block)]
        if index not in calling and broken:
            explanation = "expected a JSON object with a name and arguments in the block"
            yield reading.at_turn(index, ErrorCode.MALFORMED_CALL, explanation, broken[0])


def _is_call(text: str, start: int, end: int) -> bool:
    node = scan(text, start, end)
    return node is not None and "name" in node.children


@rule(ErrorCode.PROTOCOL_VIOLATION)
def protocol_violation(reading: Reading) -> Iterator[Finding]:
    """A turn that says and calls nothing; a result for a call that nobody made, found at the turn before it."""
    calling = {attempt.message_index for attempt in reading.attempts}
    for index in reading.turns:
        if index not in calling and not _says_something(reading.trajectory.messages[index]):
            explanation = "expected a call or an answer, came an empty turn"
            yield reading.at_turn(index, ErrorCode.PROTOCOL_VIOLATION, explanation)
    for turn, index in reading.strays:
        call_id = reading.trajectory.messages[index].get("tool_call_id")
        explanation = f"message {index} is the result of a call {str(call_id)[:80]!r} that was not made"
        yield reading.at_turn(turn, ErrorCode.PROTOCOL_VIOLATION, explanation)


def _says_something(message: Mapping[str, Any]) -> bool:
    content = message.get("content")
    said = content.strip() if isinstance(content, str) else content
    return bool(said) or any(message.get(part) for part in ("refusal", "function_call", "audio"))


@rule(ErrorCode.UNGROUNDED_VALUE)
def ungrounded_value(reading: Reading) -> Iterator[Finding]:
    """A guess: the value of an argument `..._id` that no message before said.

    An error's text proves nothing, since it says back what came; an id that a call succeeded with is known from then
    on, and so is one that the tool's schema has as a default or a choice.
    """
    messages = reading.trajectory.messages
    known: set[str] = set()
    for index, attempts in reading.by_turn():
        for attempt in attempts:
            for path, value in _ids(attempt.arguments):
                if not known.issuperset(_words(str(value))) and not _is_default(reading, attempt, path, value):
                    expected = "a value that the request or a result says"
                    code = ErrorCode.UNGROUNDED_VALUE
                    violation = Violation(code=code, path=path, expected=expected, came=value)
                    yield reading.at_violation(attempt, violation, WARNING)
        if not messages[index].get("is_error"):
            known.update(_words(content_of(messages[index]), loosely=True))
        for attempt in attempts:
            if attempt.succeeded:
                known.update(_words(attempt.call.arguments, loosely=True))


def _ids(arguments: Mapping[str, Any]) -> Iterator[tuple[str, str | int]]:
    """Every string or number under a name that ends in `_id`, nested too, with its path."""
    pending: list[tuple[str, Any]] = [("$", arguments)]
    while pending:
        path, value = pending.pop()
        members = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, part in members:
            here = json_path(path, key)
            if isinstance(part, (dict, list)):
                pending.append((here, part))
            elif _is_id(key, part):
                yield here, part


def _is_id(name: str | int, value: Any) -> bool:
    named_so = isinstance(name, str) and name.endswith("_id")
    return named_so and isinstance(value, (str, int)) and not isinstance(value, bool)


def _words(text: str, *, loosely: bool = False) -> Iterator[str]:
    """The words of a text. Read loosely, `order12` also says `12`, and an escape in JSON (`\\n`) parts two words."""
    if not loosely:
        return iter(re.findall(r"\w+", text.casefold()))
    plain = re.sub(r"\\+[bfnrt]", " ", text.casefold())
    return (word for found in re.finditer(r"\w+", plain) for word in (found[0], *re.findall(r"\d+", found[0])))


def _is_default(reading: Reading, attempt: Attempt, path: str, value: str | int) -> bool:
    """Whether the tool's own schema says the value."""
    tool = reading.offered.get(attempt.call.name)
    properties = tool.parameters.get("properties") if tool else None
    part = properties.get(path.removeprefix("$.")) if isinstance(properties, Mapping) else None
    if not isinstance(part, Mapping):
        return False
    return value in (part.get("default"), part.get("const"), *(part.get("enum") or ()))


@rule(ErrorCode.REPEATED_CALL)
def repeated_call(reading: Reading) -> Iterator[Finding]:
    """A call that was made before with success, while no other call has succeeded since.

    A log doesn't say which tools write, so any other call that succeeded may have changed something, and so may the
    user who speaks again.
    """
    latest: Attempt | None = None
    for index, attempts in reading.by_turn():
        if reading.trajectory.messages[index].get("role") == "user":
            latest = None
        for attempt in attempts:
            if latest is not None and attempt.key == latest.key:
                explanation = f"{attempt.call.name} was called with these arguments in message {latest.message_index}"
                yield reading.at_call(attempt, ErrorCode.REPEATED_CALL, explanation)
            if attempt.succeeded:
                latest = attempt


@rule(ErrorCode.UNCORRECTED_RETRY)
def uncorrected_retry(reading: Reading) -> Iterator[Finding]:
    """A call that failed in the turn before, made again as it was."""
    failed: set[tuple[str, str]] = set()
    for _, attempts in reading.by_turn():
        for attempt in attempts:
            if attempt.key in failed:
                explanation = f"{attempt.call.name or 'the call'} failed one turn before, and is made again as it was"
                yield reading.at_call(attempt, ErrorCode.UNCORRECTED_RETRY, explanation)
        if attempts:
            failed = {attempt.key for attempt in attempts if attempt.failed}


@rule(ErrorCode.DOMAIN_REJECTION)
def domain_rejection(reading: Reading) -> Iterator[Finding]:
    """A call that the world refuses: it says so, or it answers a call with an error that the schema can't explain."""
    for attempt in reading.attempts:
        if attempt.result is None or not attempt.answered_with_error:
            continue
        errors = _errors(content_of(attempt.result))
        rejections = [error for error in errors if error.get("code") == ErrorCode.DOMAIN_REJECTION]
        if rejections or not attempt.violations:
            said = [error.get("expected") for error in rejections or errors]
            expected = "; ".join(map(str, said)) or content_of(attempt.result)[:200]
            code = ErrorCode.DOMAIN_REJECTION
            violation = Violation(code=code, path="$", expected=expected, came=attempt.arguments)
            yield reading.at_violation(attempt, violation)


def _errors(content: str) -> list[Mapping[str, Any]]:
    """The errors that a result of our own form lists."""
    try:
        record = json.loads(content)
    except (ValueError, RecursionError):
        return []
    errors = record.get("errors") if isinstance(record, dict) else None
    return [error for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []


@rule(ErrorCode.BUDGET_EXHAUSTED)
def budget_exhausted(reading: Reading) -> Iterator[Finding]:
    """The turns, errors or tokens ran out before an answer."""
    stop_reason = reading.trajectory.stop_reason
    if stop_reason in BUDGET_STOPS:
        explanation = f"expected an answer within the limits, came the {stop_reason.replace('_', ' ')}"
        yield reading.at_turn(reading.last_turn, ErrorCode.BUDGET_EXHAUSTED, explanation)


@rule(ErrorCode.WRONG_FINAL_STATE)
def wrong_final_state(reading: Reading) -> Iterator[Finding]:
    """An answer while the world is not as the task wants it. Only a known world can tell."""
    trajectory = reading.trajectory
    if trajectory.env and trajectory.stop_reason == StopReason.ANSWERED and not trajectory.success:
        explanation = "answered while the world is not as the task wants it"
        yield reading.at_turn(reading.last_turn, ErrorCode.WRONG_FINAL_STATE, explanation)


@rule(ErrorCode.INFRASTRUCTURE_FAULT)
def infrastructure_fault(reading: Reading) -> Iterator[Finding]:
    """Not the model's doing: such a trajectory is kept out of every rate."""
    if reading.trajectory.stop_reason == StopReason.INFRASTRUCTURE_FAULT:
        explanation = "a timeout, a lost connection or a full machine ended the rollout"
        yield reading.at_turn(reading.last_turn, ErrorCode.INFRASTRUCTURE_FAULT, explanation)
