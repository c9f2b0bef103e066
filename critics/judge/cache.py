"""Answers that were paid for once: a JSONL file of answers, each under a hash of what was asked and of whom.

A line is on disk as soon as an answer is in, so a run that was cut off goes on from there. A fault is no answer and is
never kept: it is asked again.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from envs import Archive, read_records
from envs.trajectory import Message
from tools.command import InputError


class Said(NamedTuple):
    """An answer's text, and the tokens that it took."""

    text: str
    prompt_tokens: int
    completion_tokens: int


class Cache:
    """The answers of a file; without a path, of this process alone. Enter it to put something in.

    Raises InputError for a file that holds something else.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._known: dict[str, Said] = {}
        self._archive: Archive | None = None
        if path is not None and path.is_file():
            for number, record in enumerate(read_records(path), 1):
                try:
                    tokens = int(record["prompt_tokens"]), int(record["completion_tokens"])
                    self._known[record["key"]] = Said(str(record["text"]), *tokens)
                except (KeyError, TypeError, ValueError) as error:
                    raise InputError(f"{path}, object {number}: no answer of a judge ({error!r})") from error

    def get(self, key: str) -> Said | None:
        return self._known.get(key)

    def put(self, key: str, model: str, said: Said) -> None:
        self._known[key] = said
        if self.path is None:
            return
        try:
            self._archive = self._archive or Archive(self.path)
            self._archive.write({"key": key, "model": model, **said._asdict()})
        except OSError as error:
            raise InputError(
                f"answers can't be kept in {self.path} ({error.strerror}): choose another file with --judge-cache"
            ) from error

    def __enter__(self) -> "Cache":
        return self

    def __exit__(self, *_: object) -> None:
        if self._archive is not None:
            self._archive.close()
            self._archive = None


def key_of(model: str, messages: Sequence[Message], form: Any) -> str:
    """The key of a question: equal for the same words to the same model, in the same form of answer."""
    asked = json.dumps([model, list(messages), form], sort_keys=True)
    return hashlib.sha256(asked.encode("utf-8", "replace")).hexdigest()
