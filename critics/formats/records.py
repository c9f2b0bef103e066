"""From a file to JSON values with the line that each stands in, whatever is broken around them.

A file is JSONL, or one document: an array of records, or an object. Of an object, the lists that a form says it keeps
its records in (`simulations`) come item by item, so that what stands before a cut is read too. Left out: what the
values mean (the forms beside this file).
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import IO, Any

from msgspec import Struct

from envs.archive import decoded

_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One JSON value. `key` is the list of a document that it is an item of, `around` that document's other members."""

    line: int
    value: Any
    key: str = ""
    around: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """A place in a file at which no record could be read."""

    line: int
    reason: str
    cut_off: bool = False


class Line(Struct):
    """A line of JSONL, as it is written."""

    line: int
    text: bytes

    def read(self) -> Record | Broken:
        try:
            return Record(line=self.line, value=decoded(self.text))
        except (ValueError, RecursionError) as error:
            cut_off = self.text.lstrip().startswith(b"{") and not self.text.endswith(b"\n")
            said = f"{'cut off, ' if cut_off else ''}no JSON: {why(error)}"
            return Broken(line=self.line, reason=said, cut_off=cut_off)


def records(stream: IO[bytes], lists: Collection[str] = ()) -> Iterator[Line | Record | Broken]:
    """The records of a file. `lists` are the members of a document whose items are records of their own."""
    lines = enumerate(stream, 1)
    number, first = next(((number, line) for number, line in lines if line.strip()), (1, b""))
    if first.lstrip(b"\xef\xbb\xbf \t").startswith(b"["):
        yield from _document(number, first + stream.read(), lists)
        return
    head = [(number, first)]
    if _goes_on(first):
        for place, line in lines:
            head.append((place, line))
            if line.strip():
                break
        if head[-1][1].lstrip().startswith((b'"', b"}")):  # a member of the object; in JSONL it would be a brace
            yield from _document(number, b"".join(line for _, line in head) + stream.read(), lists)
            return
    yield from (Line(place, line) for place, line in chain(head, lines) if line and not line.isspace())


def _goes_on(line: bytes) -> bool:
    """Whether nothing is wrong with a line but that it ends before its JSON does, and not within a word."""
    try:
        json.loads(line)
    except json.JSONDecodeError as error:
        return error.pos >= len(error.doc.rstrip())
    except (ValueError, RecursionError):
        return False
    return False


def why(error: Exception) -> str:
    """What is wrong with a text that is no JSON, short."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg.removesuffix(' at')} at character {error.pos}"
    if isinstance(error, UnicodeDecodeError):
        return f"no UTF-8 at byte {error.start} ({error.reason})"
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return str(error)


class _Cursor:
    """A place in a document, and the line that it stands in."""

    def __init__(self, text: str, line: int) -> None:
        self.text, self.line, self.place = text, line, 0

    def move(self, place: int) -> None:
        self.line += self.text.count("\n", self.place, place)
        self.place = place

    def next(self, expected: str) -> str:
        """Go over white space to a character that is one of `expected`, and say which. Raises ValueError."""
        space = _SPACE.match(self.text, self.place)
        self.move(space.end() if space else self.place)
        char = self.text[self.place : self.place + 1]
        if not char:
            raise ValueError("cut off: the document ends before it is closed")
        if expected and char not in expected:
            raise json.JSONDecodeError(f"Expecting one of {expected}", self.text, self.place)
        return char

    def over(self, expected: str) -> str:
        char = self.next(expected)
        self.move(self.place + 1)
        return char

    def value(self) -> Any:
        self.next("")
        value, end = _DECODER.raw_decode(self.text, self.place)
        self.move(end)
        return value


def _document(line: int, data: bytes, lists: Collection[str]) -> Iterator[Record | Broken]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        yield Broken(
            line=line + data.count(b"\n", 0, error.start), reason=f"{why(error)}: read with marks in its place"
        )
        text = data.decode("utf-8-sig", "replace")
    del data  # a large document need not be held twice
    cursor = _Cursor(text, line)
    try:
        yield from _items(cursor, "", {}) if cursor.next("[{") == "[" else _members(cursor, lists)
        trailing = _SPACE.match(text, cursor.place)
        if trailing and trailing.end() < len(text):
            yield Broken(line=cursor.line, reason="more text after the document's end, which is not read")
    except (ValueError, RecursionError) as error:
        at = f"line {error.lineno + line - 1}: " if isinstance(error, json.JSONDecodeError) else ""
        yield Broken(line=cursor.line, reason=f"no JSON from here on: {at}{why(error)}; the rest is not read")


def _items(cursor: _Cursor, key: str, around: Mapping[str, Any]) -> Iterator[Record]:
    """The items of the array that begins here."""
    cursor.over("[")
    if cursor.next("") == "]":
        cursor.over("]")
        return
    while True:
        cursor.next("")
        line = cursor.line
        yield Record(line=line, value=cursor.value(), key=key, around=around)
        if cursor.over(",]") == "]":
            return


def _members(cursor: _Cursor, lists: Collection[str]) -> Iterator[Record]:
    """The items of an object's `lists`; the object itself where it has none."""
    line, listed = cursor.line, False
    others: dict[str, Any] = {}
    separator = cursor.over("{")
    if cursor.next('"}') == "}":
        separator = cursor.over("}")
    while separator != "}":
        cursor.next('"')
        key = cursor.value()
        cursor.over(":")
        if key in lists and cursor.next("") == "[":
            listed = True
            yield from _items(cursor, key, others)
        else:
            others[key] = cursor.value()
        separator = cursor.over(",}")
    if not listed:
        yield Record(line=line, value=others)
