"""Trajectories in a JSONL file: appended and flushed one by one, readable at any moment.

A line that was cut off by a crash is never counted as a trajectory, and never glued to the next one.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypedDict

import msgspec

from envs.trajectory import Trajectory
from tools.command import InputError

BUFFER = 1 << 20
"""Bytes: a line of a trajectory is often longer than the usual buffer."""


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON objects of a JSONL file, one a line; without a last one that is not written to its end.

    Raises InputError for a file that isn't there and for a line that is no JSON object, with its number.
    """
    return _records(path, decoded)


def _records(path: Path, read: Callable[[bytes], Any]) -> Iterator[dict[str, Any]]:
    if not path.is_file():
        raise InputError(f"{path} is no file: give the path of a JSONL file")
    with path.open("rb", buffering=BUFFER) as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                record = read(line)
            except (ValueError, RecursionError) as error:
                if line.startswith(b"{") and not line.endswith(b"\n"):
                    return  # being written at this moment, or cut off by a crash
                raise InputError(f"{path}:{number} is no JSON ({error}): remove or repair that line") from error
            if not isinstance(record, dict):
                raise InputError(f"{path}:{number} is no JSON object: remove or repair that line")
            yield record


class _Fields(TypedDict, total=False):
    """What a line says of a trajectory; its tools as they are written."""

    id: Any
    env: Any
    task: Any
    policy: Any
    tools: msgspec.Raw
    messages: list[dict[str, Any]]
    turns: Any
    reward: Any
    success: Any
    stop_reason: Any
    token_exact: Any
    tools_from: Any
    fault: Any
    schema_version: Any


_FIELDS = msgspec.json.Decoder(_Fields)
_PARTS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
_WHOLE = msgspec.json.Decoder()
_TOOLS = b'"tools":'


class _SharedTools:
    """Lists of tools by their text, and single tools by theirs, up to so many bytes: on a file whose every line has
    its own, memory stays flat."""

    MAX_BYTES = 8_000_000
    BEGINNING, ALIKE = 1024, 64
    """Lists are looked up by their first bytes, and so many of those that begin alike are kept."""

    def __init__(self) -> None:
        self.lists: dict[bytes, list[tuple[bytes, Any]]] = {}
        self.tools: dict[bytes, Any] = {}
        self.size = 0

    def without_known(self, line: bytes) -> tuple[bytes, Any]:
        """A line with `0` in place of its tools, and those, if they are known: to compare them takes a fraction of the
        time that it takes to read over them. Else the line, and None."""
        start = line.find(_TOOLS, 0, 4096) + len(_TOOLS)
        start += line[start : start + 1] == b" "
        alike = self.lists.get(line[start : start + self.BEGINNING], [])
        for place, (text, tools) in enumerate(alike):
            if line.startswith(text, start):
                if place:
                    alike.insert(0, alike.pop(place))  # it will come again soon
                return b"".join((line[:start], b"0", memoryview(line)[start + len(text) :])), tools
        return line, None

    def decoded(self, text: bytes) -> Any:
        alike = self.lists.get(text[: self.BEGINNING], [])
        for known, tools in alike:
            if known == text:
                return tools
        self._make_room(len(text))
        tools = [self._tool(bytes(item)) for item in _ITEMS.decode(text)] if text[:1] == b"[" else _WHOLE.decode(text)
        self.lists[text[: self.BEGINNING]] = [(text, tools), *alike[: self.ALIKE - 1]]
        return tools

    def _tool(self, text: bytes) -> Any:
        tool = self.tools.get(text)
        if tool is None:
            self._make_room(len(text))
            tool = self.tools[text] = _WHOLE.decode(text)
        return tool

    def _make_room(self, size: int) -> None:
        self.size += size
        if self.size > self.MAX_BYTES:
            self.lists, self.tools, self.size = {}, {}, size


_SHARED = _SharedTools()


def decoded(line: bytes) -> Any:
    """A line of JSON, in about a third of the time that `json` takes.

    Trajectories of one world say the same tools over and over. Lines whose `tools` are the same text get the very same
    list, and lists the very same tools, which must not be changed; whoever compiles tools can tell by their identity
    that they are known. What msgspec doesn't take (NaN, a lone surrogate, a byte order mark, what is no JSON) goes to
    `json`, which has the last word and raises ValueError or RecursionError.
    """
    try:
        parts = _PARTS.decode(line)
        record = {
            name: _SHARED.decoded(bytes(part)) if name == "tools" else _WHOLE.decode(part)
            for name, part in parts.items()
        }
    except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
        return json.loads(line)
    return record


def plain_record(line: bytes) -> dict[str, Any] | None:
    """The same of a line that is a trajectory, in half of the time, without members that a trajectory hasn't; None of
    one that has to be read with more care."""
    short, known = _SHARED.without_known(line)
    try:
        record: Any = _FIELDS.decode(short)
        if "messages" not in record:
            return None
        tools = bytes(record["tools"]) if "tools" in record else None
        if known is not None:
            if tools != b"0":  # the tools that were taken out stand deeper in the line
                return None
            record["tools"] = known
        elif tools is not None:
            record["tools"] = _SHARED.decoded(tools)
    except (ValueError, RecursionError):
        return None
    return record  # type: ignore[no-any-return]


def read_trajectories(path: Path) -> Iterator[Trajectory]:
    """The trajectories of a file. Raises InputError for a line that is none, with its number."""
    for number, record in enumerate(_records(path, lambda line: plain_record(line) or decoded(line)), 1):
        try:
            yield Trajectory.from_json(record)
        except (ValueError, TypeError) as error:
            raise InputError(f"{path}, object {number}: {error}") from error


class Archive:
    """A JSONL file that is appended to. What `write` has returned from is on its way to the disk and readable."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.file = path.open("ab+")
        self._end_last_line()

    def _end_last_line(self) -> None:
        """Drop a last line that a crash cut off. One that lacks its line end only is whole, and gets it."""
        size = self.file.seek(0, os.SEEK_END)
        self.file.seek(0)
        last_end = max(_line_ends(self.file), default=0)
        self.file.seek(last_end)
        if last_end < size and _is_json(self.file.read()):
            self.file.write(b"\n")
        elif last_end < size:
            self.file.truncate(last_end)

    def write(self, record: Mapping[str, Any]) -> None:
        line = json.dumps(record, ensure_ascii=False, separators=(",", ":"))
        self.file.write(line.encode("utf-8", "backslashreplace") + b"\n")
        self.file.flush()

    def close(self) -> None:
        self.file.close()

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _line_ends(file: Any) -> Iterator[int]:
    position = 0
    for line in file:
        position += len(line)
        if line.endswith(b"\n"):
            yield position
