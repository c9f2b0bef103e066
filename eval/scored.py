"""What a run's corrections say of its turns: which hint stood above, and what it did to each token.

Left out: the token ids; how it looks (`eval.tokens`, `eval.report`).
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import exp
from pathlib import Path
from typing import Any

from eval.lines import Lines, json_object
from tools.command import InputError

_KEY = re.compile(rb'\{"id":("(?:[^"\\]|\\.)*"),"message_index":(\d+)')
"""How a correction begins; its token ids after that are many, and mostly not needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token of the turn: its text, empty in a run that didn't record it, and its probability without and with the
    hint."""

    text: str
    plain: float
    hinted: float
    is_error: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A token that could have stood at the error. None: not among the likeliest there."""

    text: str
    plain: float | None
    hinted: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """What a correction says of a turn: its hint, and the probabilities of its tokens without and with the hint."""

    codes: tuple[str, ...]
    hint: str
    tokens: tuple[Token, ...]
    choices: tuple[Choice, ...]
    admitted: bool

    @property
    def errors(self) -> list[Token]:
        return [token for token in self.tokens if token.is_error]

    @property
    def decisive(self) -> Token:
        """The error token that the hint takes most from. Raises ValueError where no token is known."""
        return max(self.errors, key=lambda token: token.plain - token.hinted)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Scored":
        """Raises KeyError, IndexError, TypeError, ValueError or OverflowError for what is no correction."""
        return cls(
            codes=tuple(map(str, record.get("codes") or ())),
            hint=str(record.get("hint", "")),
            tokens=tuple(_tokens(record)),
            choices=tuple(_choices(record.get("alternatives") or {})),
            admitted=bool(record.get("admitted", True)),
        )


def _tokens(record: Mapping[str, Any]) -> Iterator[Token]:
    """The tokens of the target, where the record has log-probs of them."""
    plain, hinted = record.get("student_logprobs") or (), record.get("teacher_logprobs") or ()
    if not plain or not hinted:
        return
    start, _ = record["target"]
    errors = {token - start for token in record["error_tokens"]}
    texts = record.get("pieces") or [""] * len(plain)
    for place, (text, student, teacher) in enumerate(zip(texts, plain, hinted, strict=True)):
        yield Token(text=str(text), plain=exp(student), hinted=exp(teacher), is_error=place in errors)


def _choices(alternatives: Mapping[str, Any]) -> list[Choice]:
    """The likeliest tokens of both sides, first the likeliest to either."""
    plain, hinted = (
        {str(part["text"]): exp(part["logprob"]) for part in alternatives.get(side) or ()}
        for side in ("student", "teacher")
    )
    texts: Sequence[str] = sorted(plain | hinted, key=lambda text: -max(plain.get(text, 0), hinted.get(text, 0)))
    return [Choice(text=text, plain=plain.get(text), hinted=hinted.get(text)) for text in texts]


class Corrections:
    """The corrections of a run by (trajectory id, message index), found as they are asked for."""

    def __init__(self, path: Path | None) -> None:
        self.lines = Lines(path) if path and path.is_file() else None
        self.read = 0
        self.places: dict[tuple[str, int], int] = {}

    def of(self, trajectory_id: str, message_index: int) -> Scored | None:
        """The correction of a turn; None where there is none. Raises InputError for one that can't be read."""
        key = trajectory_id, message_index
        while key not in self.places:
            found = self.lines.at(self.read) if self.lines else None
            if found is None:
                return None
            self.places[self._key(*found)] = self.read
            self.read += 1
        assert self.lines is not None
        found = self.lines.at(self.places[key])
        assert found is not None
        try:
            return Scored.from_json(self._record(*found))
        except (KeyError, IndexError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise InputError(f"{self.lines.path}:{found[0]} is no correction ({error}): do the run again") from error

    def _key(self, number: int, line: bytes) -> tuple[str, int]:
        start = _KEY.match(line)
        if start:
            return json.loads(start[1]), int(start[2])
        record = self._record(number, line)
        return str(record.get("id")), int(record.get("message_index") or 0)

    def _record(self, number: int, line: bytes) -> Mapping[str, Any]:
        assert self.lines is not None
        return json_object(line, f"{self.lines.path}:{number}")
