"""Trajectories to and from other programs: OpenAI's messages in JSONL, and a folder of the `datasets` library.

python -m envs export runs/tiny.jsonl --openai chat.jsonl
python -m envs export runs/tiny.jsonl --datasets folder        # needs the extra: pip install 'hintsight[datasets]'
python -m envs import chat.jsonl runs/theirs.jsonl

A line of OpenAI's form has `id`, `tools` and `messages`, and beside them what else is known, which others may ignore.
It has no tokens; a folder has them. Left out: forms of other programs' logs (`critics.formats`).
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import tyro
from msgspec import to_builtins
from msgspec.structs import replace
from tyro.conf import Positional

from envs.archive import Archive, read_records, read_trajectories
from envs.trajectory import Message, Trajectory
from tools.command import InputError

KNOWN = ("env", "task", "policy", "reward", "success", "stop_reason", "tools_from", "fault")
"""What a line says beside OpenAI's form, where there is something to say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """Write trajectories in a form of other programs."""

    file: Annotated[Positional[Path], tyro.conf.arg(metavar="FILE")]
    """The trajectories."""
    openai: Annotated[Path | None, tyro.conf.arg(metavar="OUT.jsonl")] = None
    """OpenAI's chat messages, one conversation a line. An older file is replaced."""
    datasets: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")] = None
    """A new folder that `datasets.load_from_disk` reads, with the tokens."""

    def __call__(self) -> None:
        if self.openai is None and self.datasets is None:
            raise InputError("nothing to write: give --openai OUT.jsonl, --datasets FOLDER, or both")
        if self.openai is not None:
            count = _write(self.file, self.openai, map(to_openai, read_trajectories(self.file)))
            print(f"{count} conversations: {self.openai}")
        if self.datasets is not None:
            count = write_dataset(self.file, self.datasets)
            print(f"{count} rows: {self.datasets}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """Make conversations of other programs, OpenAI's messages in JSONL, into a file of trajectories."""

    file: Annotated[Positional[Path], tyro.conf.arg(metavar="FILE")]
    """Conversations, one a line: messages, and if they are there tools and an id. Arguments are a text or an object."""
    out: Annotated[Positional[Path], tyro.conf.arg(metavar="OUT")]
    """The file of trajectories. An older one is replaced."""
    policy: str = ""
    """Who acted, where the file doesn't say."""

    def __call__(self) -> None:
        count = _write(self.file, self.out, (part.to_json() for part in from_openai(self.file, policy=self.policy)))
        print(f"{count} trajectories: {self.out}")


def to_openai(trajectory: Trajectory) -> dict[str, Any]:
    """A trajectory as OpenAI's messages, with what else is known beside them."""
    record = {"id": trajectory.id, "tools": list(trajectory.tools), "messages": list(trajectory.messages)}
    return record | {name: getattr(trajectory, name) for name in KNOWN if getattr(trajectory, name)}


def from_openai(path: Path, *, policy: str = "") -> Iterator[Trajectory]:
    """The trajectories of a file of conversations; one without an id is named by its number.

    Arguments become text, as our files have them. Raises InputError for a line that is no conversation, and for an id
    that comes twice, since a file of trajectories is continued and compared by ids.
    """
    seen: set[str] = set()
    for number, record in enumerate(read_records(path), 1):
        try:
            trajectory = Trajectory.from_json(record if "id" in record else {"id": str(number), **record})
            messages = [_with_texts(message) for message in trajectory.messages]
        except (ValueError, TypeError, AttributeError) as error:
            raise InputError(f"{path}, object {number}: {error}") from error
        if trajectory.id in seen:
            raise InputError(f"{path}, object {number}: the id {trajectory.id[:80]!r} came before: give each its own")
        seen.add(trajectory.id)
        yield replace(trajectory, messages=messages, policy=trajectory.policy or policy)


def _with_texts(message: Message) -> Message:
    calls = message.get("tool_calls")
    return {**message, "tool_calls": [_with_text(call) for call in calls]} if calls else message


def _with_text(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call.get("function")
    if not isinstance(function, Mapping):
        raise ValueError(f"expected a tool call with a 'function' object, came {call!r:.80}: use OpenAI's chat form")
    arguments = function.get("arguments", "")
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return {**call, "function": {**function, "arguments": text}}


def _write(source: Path, out: Path, records: Iterable[Mapping[str, Any]]) -> int:
    """Write a JSONL file, which replaces an older one only when it is whole. Gives the number of its lines."""
    if out.resolve() == source.resolve():
        raise InputError(f"{out} is what is read: write to another file")
    unfinished = out.with_name(f"{out.name}.unfinished")
    count = 0
    with _writing(out):
        unfinished.unlink(missing_ok=True)
        with Archive(unfinished) as archive:
            for record in records:
                archive.write(record)
                count += 1
        os.replace(unfinished, out)
    return count


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"{out} can't be written ({error.strerror}): choose another place") from error


def to_row(trajectory: Trajectory) -> dict[str, Any]:
    """A trajectory as a row of a table: columns have types, so what is free in form is JSON text."""
    row: dict[str, Any] = to_builtins(trajectory)
    row |= {name: json.dumps(row[name], ensure_ascii=False) for name in ("task", "tools", "tools_from")}
    row["messages"] = [_columns(message) for message in trajectory.messages]
    return row


def _columns(message: Message) -> dict[str, Any]:
    content = message.get("content")
    return {
        "role": message.get("role"),
        "content": content if content is None or isinstance(content, str) else json.dumps(content, ensure_ascii=False),
        "reasoning_content": message.get("reasoning_content"),
        "tool_calls": _with_texts(message).get("tool_calls"),
        "tool_call_id": message.get("tool_call_id"),
        "is_error": message.get("is_error"),
    }


def write_dataset(source: Path, folder: Path) -> int:
    """Write a file's trajectories as a folder of the `datasets` library. Gives the number of its rows.

    Raises InputError where the library is missing and where the folder has something in it.
    """
    try:
        import datasets
    except ImportError as error:
        raise InputError("the datasets library is missing: pip install 'hintsight[datasets]'") from error
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} has something in it: give a new folder")
    datasets.disable_progress_bars()
    rows: Callable[[], Iterator[dict[str, Any]]] = lambda: map(to_row, read_trajectories(source))  # noqa: E731
    with _writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder.parent, prefix=".dataset-") as cache:
            table = datasets.Dataset.from_generator(rows, features=_features(datasets), cache_dir=cache)
            table.save_to_disk(str(folder))
            return len(table)


def _features(datasets: Any) -> Any:
    text, number, yes = (datasets.Value(kind) for kind in ("string", "int64", "bool"))
    call = {"id": text, "type": text, "function": {"name": text, "arguments": text}}
    message = {
        "role": text,
        "content": text,
        "reasoning_content": text,
        "tool_calls": [call],
        "tool_call_id": text,
        "is_error": yes,
    }
    turn = {
        "message_index": number,
        "prompt_ids": [number],
        "token_ids": [number],
        "logprobs": [datasets.Value("float64")],
        "raw": text,
    }
    named = dict.fromkeys(("id", "env", "task", "policy", "tools", "tools_from", "stop_reason", "fault"), text)
    flags = {"success": yes, "token_exact": yes, "reward": datasets.Value("float64"), "schema_version": number}
    return datasets.Features({**named, **flags, "messages": [message], "turns": [turn]})
