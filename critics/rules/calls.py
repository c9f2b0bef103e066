"""Rules about one call against its tool: what `tools.check_call` reports, and what the environment's words say instead.

What the schema shows is certain, unless the environment carried the call out all the same: then nobody can tell
whether the schema or the call was wrong, and the finding is a warning. What only the words of an error show is a
warning too.
"""

from collections.abc import Iterator

from msgspec.structs import replace

from critics.attempt import Attempt
from critics.finding import WARNING, Finding, content_of
from critics.hints import hint_for
from critics.reading import Reading
from critics.rules.registry import Rule, rule
from critics.spans import OPEN, call_blocks, scan
from critics.wording import Wording
from tools import INVALID_CALL_CODES, ErrorCode, Violation


def _invalid_call(code: ErrorCode) -> Rule:
    """The rule for one code of an invalid call."""

    def find(reading: Reading) -> Iterator[Finding]:
        for attempt, violation in reading.violations.get(code, ()):
            yield _shown_by_schema(reading, attempt, violation)
        for attempt in reading.worded.get(code, ()):
            if attempt.wording is not None:
                yield _said_by_environment(reading, attempt, attempt.wording)

    return find


def _shown_by_schema(reading: Reading, attempt: Attempt, violation: Violation) -> Finding:
    finding = reading.at_violation(attempt, violation)
    if not attempt.tolerated:
        return finding
    return replace(finding, confidence=WARNING, explanation=f"{finding.explanation} (and it was carried out)")


def _said_by_environment(reading: Reading, attempt: Attempt, wording: Wording) -> Finding:
    tool, name = attempt.call.name, wording.name
    words = " ".join(content_of(attempt.result or {}).split())[:200]
    path = "name" if wording.code is ErrorCode.NONEXISTENT_TOOL else f"$.{name}" if name else "$"
    allowed = (name,) if name and wording.code is ErrorCode.MISSING_ARGUMENT else ()
    violation = Violation(
        code=wording.code, path=path, expected="what the environment asks for", came=attempt.arguments, allowed=allowed
    )
    hint = _HINTS.get(wording.code, "").format(tool=tool, name=name or "of one of these names")
    said = f"{tool}: no schema shows it, but the environment said: {words}"
    return reading.at_violation(attempt, violation, WARNING, said=said, hint=hint or hint_for(violation, tool))


_HINTS = {
    ErrorCode.NONEXISTENT_TOOL: "Reminder: {tool} is not among the available tools.",
    ErrorCode.UNEXPECTED_ARGUMENT: "Reminder: {tool} takes no argument {name}.",
    ErrorCode.MISSING_ARGUMENT: "Reminder: {tool} requires an argument {name}.",
    ErrorCode.WRONG_TYPE: "Reminder: each argument of {tool} must be of its type.",
    ErrorCode.INVALID_VALUE: "Reminder: each argument of {tool} must be one of its allowed values.",
}
"""Where no schema is known, there are no facts to list."""

for _code in ErrorCode:
    if _code in INVALID_CALL_CODES and _code is not ErrorCode.MALFORMED_CALL:
        rule(_code, of_shown=True)(_invalid_call(_code))


@rule(ErrorCode.MALFORMED_CALL)
def malformed_call(reading: Reading) -> Iterator[Finding]:
    """A call that does not parse, also one that a server handed on as plain text because it could not read it."""
    yield from _call_that_does_not_parse(reading)
    raws = reading.raws
    for index, said in reading.answers.items():
        text = raws.get(index, said) if raws else said
        if OPEN in text:
            broken = next((block for block in call_blocks(text) if not _is_call(text, *block)), None)
            if broken is not None:
                explanation = "expected a JSON object with a name and arguments in the block"
                yield reading.at_turn(index, ErrorCode.MALFORMED_CALL, explanation, broken)


_call_that_does_not_parse = _invalid_call(ErrorCode.MALFORMED_CALL)


def _is_call(text: str, start: int, end: int) -> bool:
    node = scan(text, start, end)
    return node is not None and "name" in node.children
