"""A judge's answer: its form, and what becomes of it. Nothing that a judge says is taken on trust.

An entry becomes a finding only if its code is one of the judge's, its turn is asked about, its call and argument exist,
and its quote stands in the text. Else it is dropped, and the reason is counted.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from critics.attempt import Attempt
from critics.finding import CERTAIN, WARNING, Finding
from critics.hints import judged_hint
from critics.judge.codes import AT_CALL, JUDGE_CODES
from critics.judge.window import Window, as_written
from critics.reading import Reading
from critics.spans import CallPlace, Span, places, scan
from tools import INVALID_CALL_CODES, ErrorCode
from tools.misfits import json_path


class Entry(BaseModel):
    """One error, as a judge says it. The code is checked later: another one drops this entry, not the whole answer."""

    model_config = ConfigDict(extra="forbid")

    code: Annotated[str, Field(json_schema_extra={"enum": sorted(JUDGE_CODES)})]
    turn: int
    call: int | None
    argument: str | None
    quote: str
    explanation: str
    sure: bool


class Answer(BaseModel):
    """All that a judge says about a window."""

    model_config = ConfigDict(extra="forbid")

    errors: list[Entry]


class Unreadable(ValueError):
    """An answer that is not of the form."""


def read_answer(text: str) -> Answer:
    """The answer in a text; reasoning before it and a fence around it are overlooked.

    Raises Unreadable, which says in one line what is wrong.
    """
    said = text.rpartition("</think>")[2].strip()
    if said.startswith("```"):
        said = said.strip("`").removeprefix("json").strip()
    try:
        return Answer.model_validate_json(said)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise Unreadable(f"{place}: {first['msg']}" if place else first["msg"]) from error


class Dropped(NamedTuple):
    """Why an entry is no finding."""

    reason: str


def findings_in(
    answer: Answer, window: Window, reading: Reading, found: Sequence[Finding]
) -> tuple[list[Finding], list[Dropped]]:
    """The findings of an answer, and what was dropped. `found` is what is known already: it is not said twice."""
    findings: list[Finding] = []
    dropped: list[Dropped] = []
    for entry in answer.errors:
        outcome = _checked(entry, window, reading)
        if isinstance(outcome, Finding) and _known(outcome, [*found, *findings]):
            outcome = Dropped("what is known already")
        if isinstance(outcome, Finding):
            findings.append(outcome)
        else:
            dropped.append(outcome)
    return findings, dropped


def _known(finding: Finding, found: Collection[Finding]) -> bool:
    """Whether the rules call this very call invalid, or the same error of the same place was said before."""
    here = [other for other in found if other.message_index == finding.message_index]
    return any(
        (other.code is finding.code and (other.call_index, other.span) == (finding.call_index, finding.span))
        or (other.code in INVALID_CALL_CODES and other.call_index == finding.call_index is not None)
        for other in here
    )


def _checked(entry: Entry, window: Window, reading: Reading) -> Finding | Dropped:
    if entry.code not in JUDGE_CODES:
        return Dropped("a code that is not the judge's" if entry.code in set(ErrorCode) else "no such code")
    code = ErrorCode(entry.code)
    index = window.turns.get(entry.turn)
    if index is None:
        return Dropped("a turn that is not asked about")
    attempts = [attempt for attempt in reading.attempts if attempt.message_index == index]
    attempt = next((attempt for attempt in attempts if attempt.call_index == entry.call), None)
    if entry.call is not None and attempt is None:
        return Dropped("no such call")
    if code in AT_CALL and attempt is None:
        return Dropped("an error of a call without the call")
    if code is ErrorCode.PREMATURE_STOP and attempts:
        return Dropped("a stop in a turn that calls")
    place = _place(entry, code, attempt, reading, index)
    if isinstance(place, Dropped):
        return place
    span, path = place
    explanation = " ".join(entry.explanation.split())[:300]
    return Finding(
        code=code,
        message_index=index,
        call_index=None if attempt is None else attempt.call_index,
        path=path,
        span=span,
        explanation=explanation,
        hint=_hint(code, attempt, path, reading),
        confidence=CERTAIN if entry.sure else WARNING,
    )


def _hint(code: ErrorCode, attempt: Attempt | None, path: str, reading: Reading) -> str:
    """The template's text, with the facts that the model could see."""
    if code is not ErrorCode.WRONG_VALUE or attempt is None:
        return judged_hint(code, allowed=tuple(reading.offered))
    tool = reading.offered.get(attempt.call.name)
    properties = tool.parameters.get("properties") if tool else None
    part = properties.get(path.removeprefix("$.")) if isinstance(properties, Mapping) else None
    words = part.get("enum") if isinstance(part, Mapping) else None
    return judged_hint(code, argument=path.removeprefix("$."), allowed=words if isinstance(words, list) else ())


def _place(
    entry: Entry, code: ErrorCode, attempt: Attempt | None, reading: Reading, index: int
) -> tuple[Span, str] | Dropped:
    """The span that a code marks, as critics/README.md has it, once the quote is known to stand there; and the path."""
    if attempt is None:
        text = reading.text(index)
        quoted = _find(entry.quote, text, (0, len(text)))
        if quoted is None:
            return _NO_QUOTE
        return (quoted if code is ErrorCode.MISREAD_RESULT else (0, len(text))), ""
    raw = reading.raws.get(index)
    place = place_of(attempt, reading)
    in_name, in_call = attempt.call.name if raw is None else raw, attempt.call.arguments if raw is None else raw
    if _find(entry.quote, in_name, place.name) is None and _find(entry.quote, in_call, place.whole) is None:
        return _NO_QUOTE
    if code is ErrorCode.WRONG_TOOL:
        return place.name, "name"
    if entry.argument is None:
        return _NO_ARGUMENT if code is ErrorCode.WRONG_VALUE else (place.whole, "")
    return _value(entry, attempt, place, raw)


def _value(entry: Entry, attempt: Attempt, place: CallPlace, raw: str | None) -> tuple[Span, str] | Dropped:
    """The value of the argument that an entry names: a name, or a JSON path."""
    named = entry.argument or ""
    path = named if named.startswith("$") else json_path("$", named)
    root = scan(attempt.call.arguments)
    node, rest = root.find(path) if root else (None, path)
    if node is None or node is root or rest:
        return _NO_ARGUMENT
    if _find(entry.quote, attempt.call.arguments if raw is None else raw, place.member(path)) is None:
        return Dropped("the quote is not in the argument")
    return place.value(path), path


def place_of(attempt: Attempt, reading: Reading) -> CallPlace:
    """Where a call stands in its turn's text."""
    calls = [other.call for other in reading.attempts if other.message_index == attempt.message_index]
    return places(calls, reading.raws.get(attempt.message_index))[attempt.call_index]


def _find(quote: str, text: str, within: Span) -> Span | None:
    """Where a quote stands in a part of a text; None for an empty one."""
    said = as_written(quote)
    start = text.find(said, *within) if said else -1
    return None if start == -1 else (start, start + len(said))


_NO_QUOTE = Dropped("the quote is not in the text")
_NO_ARGUMENT = Dropped("no such argument")
