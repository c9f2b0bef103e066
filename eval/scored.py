"""What a run's corrections say of its turns: which hint stood above, and what it did to the error tokens.

Left out: the token ids; what was marked is told by the critics, in characters.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import exp
from pathlib import Path
from typing import Any

from eval.lines import Lines, json_object
from tools.command import InputError

_KEY = re.compile(rb'\{"id":("(?:[^"\\]|\\.)*"),"message_index":(\d+)')
"""How a correction begins; its token ids after that are many, and mostly not needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """What a correction says of a turn: its hint, and the probability of its error tokens without and with the hint."""

    codes: frozenset[str]
    hint: str
    plain: float | None
    hinted: float | None
    admitted: bool

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Scored":
        return cls(
            codes=frozenset(map(str, record.get("codes") or ())),
            hint=str(record.get("hint", "")),
            plain=_of_errors(record, "student_logprobs"),
            hinted=_of_errors(record, "teacher_logprobs"),
            admitted=bool(record.get("admitted", True)),
        )


def _of_errors(record: Mapping[str, Any], logprobs: str) -> float | None:
    """The probability of the error tokens, taken together, where the record has log-probs of its target's tokens."""
    if not record.get(logprobs):
        return None
    start, _ = record["target"]
    return exp(sum(record[logprobs][token - start] for token in record["error_tokens"]))


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
        except (KeyError, IndexError, TypeError, OverflowError) as error:
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
