"""What a critic reports, and the file that it stands in.

A finding says which error was made, where (message, call, field, characters), and which hint would have helped.
The file has one object a trajectory: `{"id": ..., "findings": [...]}`, also for a trajectory without findings.
Left out: how errors are found (`critics.rules`) and how places become tokens (`distill`).
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

from critics.spans import Span
from envs import Archive, Message, Trajectory, calls_of, read_records
from tools import ErrorCode, ToolCall
from tools.command import InputError

Confidence = Literal["certain", "warning"]
CERTAIN: Confidence = "certain"
WARNING: Confidence = "warning"

NAME_CODES = frozenset({ErrorCode.NONEXISTENT_TOOL, ErrorCode.UNAVAILABLE_TOOL, ErrorCode.WRONG_TOOL})
"""Where a turn's raw text is not known, the spans of these count in the call's name, not in its arguments."""


class Finding(Struct, frozen=True, kw_only=True):  # a frozen dataclass takes ten times as long to make
    """One error of a trajectory; its fields are those of the file format.

    `call_index` is None for what concerns a whole turn. `path` is as in `tools.Violation`, empty for a whole turn or
    call. `span` is [start, end) in the text that `text_of` gives. A `warning` is a guess: it is counted apart.
    """

    code: ErrorCode
    message_index: int
    call_index: int | None = None
    path: str = ""
    span: Span
    explanation: str
    hint: str
    confidence: Confidence = CERTAIN

    def to_json(self) -> dict[str, Any]:
        return {
            "code": str(self.code),
            "message_index": self.message_index,
            "call_index": self.call_index,
            "path": self.path,
            "span": list(self.span),
            "explanation": self.explanation,
            "hint": self.hint,
            "confidence": self.confidence,
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Finding":
        """Read a record of the file format; raises ValueError, KeyError or TypeError for one that is none."""
        start, end = record["span"]
        confidence = record.get("confidence", CERTAIN)
        if confidence not in (CERTAIN, WARNING):
            raise ValueError(f"confidence is {confidence!r}, expected {CERTAIN!r} or {WARNING!r}")
        call_index = record.get("call_index")
        return cls(
            code=ErrorCode(record["code"]),
            message_index=int(record["message_index"]),
            call_index=None if call_index is None else int(call_index),
            path=str(record.get("path") or ""),
            span=(int(start), int(end)),
            explanation=str(record.get("explanation", "")),
            hint=str(record.get("hint", "")),
            confidence=confidence,
        )


Criticized = tuple[Trajectory, Sequence[Finding]]
"""A trajectory with what was found in it."""


def text_of(trajectory: Trajectory, finding: Finding) -> str:
    """The text that a finding's span counts in: the turn's raw text where it is known.

    Else the call's arguments, its name (for a tool that isn't there), or what the message says.
    """
    turn = trajectory.turn_at(finding.message_index)
    if turn is not None:
        return trajectory.turns[turn].raw
    if finding.message_index >= len(trajectory.messages):
        return ""
    message = trajectory.messages[finding.message_index]
    if finding.call_index is None:
        return content_of(message)
    call = ToolCall.from_openai(calls_of(message)[finding.call_index])
    return call.name if finding.code in NAME_CODES else call.arguments


def content_of(message: Message) -> str:
    """The text of a message; a content in parts is put together."""
    content = message.get("content")
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def findings_record(trajectory: Trajectory, findings: Iterable[Finding]) -> dict[str, Any]:
    """The line of a findings file that is about a trajectory."""
    return {"id": trajectory.id, "findings": [finding.to_json() for finding in findings]}


def write_findings(path: Path, criticized: Iterable[Criticized]) -> None:
    """Write a findings file. It replaces an older one only when it is whole.

    Raises InputError where the file can't be written.
    """
    unfinished = path.with_name(f"{path.name}.unfinished")
    try:
        unfinished.unlink(missing_ok=True)
        with Archive(unfinished) as archive:
            for trajectory, findings in criticized:
                archive.write(findings_record(trajectory, findings))
        os.replace(unfinished, path)
    except OSError as error:
        raise InputError(f"the findings can't be written to {path} ({error.strerror}): choose another file") from error


def read_findings(path: Path) -> Iterator[tuple[str, list[Finding]]]:
    """The findings of a file, by trajectory id. Raises InputError for an object that holds none, with its number."""
    for number, record in enumerate(read_records(path), 1):
        try:
            yield str(record["id"]), [Finding.from_json(finding) for finding in record["findings"]]
        except (KeyError, ValueError, TypeError) as error:
            raise InputError(f"{path}, object {number}: no findings of a trajectory ({error!r})") from error
