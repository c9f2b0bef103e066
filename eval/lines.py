"""A JSONL file by number of line: each is found by its offset, which is noted on the way there.

So a file of any size opens at once, also one that is still being written.
Left out: whole passes over a file (`envs.read_records`).
"""

import json
from pathlib import Path
from typing import Any

from tools.command import InputError


class Lines:
    """The lines of a JSONL file that hold something, by number from 0; a last one that is cut off is not there yet."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise InputError(f"{path} is no file: give a JSONL file of trajectories, or a run folder")
        self.path = path
        self.places: list[tuple[int, int]] = []
        self.number = self.end = 0

    def at(self, index: int) -> tuple[int, bytes] | None:
        """The line's number in the file, from 1, and the line; None past the end."""
        with self.path.open("rb") as file:
            file.seek(self.end)
            while index >= len(self.places):
                line = file.readline()
                if not line or _is_cut_off(line):
                    return None
                self.number += 1
                if line.strip():
                    self.places.append((self.number, self.end))
                self.end += len(line)
            number, start = self.places[index]
            file.seek(start)
            return number, file.readline()


def _is_cut_off(line: bytes) -> bool:
    """Whether a line is being written at this moment, or was cut off by a crash; as `envs.read_records` sees it."""
    if line.endswith(b"\n") or not line.startswith(b"{"):
        return False
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return True
    return False


def json_object(line: bytes, where: str) -> dict[str, Any]:
    """The object in a line. Raises InputError, which says `where`, for a line that has none."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is no JSON ({error}): remove or repair that line") from error
    if not isinstance(record, dict):
        raise InputError(f"{where} is no JSON object: remove or repair that line")
    return record
