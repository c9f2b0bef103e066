"""A run folder as `distill` writes it: its summary, read back.

Left out: its trajectories (`eval.replay`), and its figures round by round.
"""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from distill.table import run_table
from tools.command import InputError
from tools.screen import said


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFolder:
    """A finished run. `command` is what made it, empty where the folder doesn't say."""

    path: Path
    summary: Mapping[str, Any]
    table: RenderableType
    command: str = ""

    @classmethod
    def read(cls, path: Path) -> "RunFolder":
        """Raises InputError for a folder that is no run, or a run that is not finished."""
        if not (path / "summary.json").is_file():
            raise InputError(_why_no_summary(path))
        summary = json_file(path / "summary.json")
        try:
            table = run_table(summary)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise InputError(f"{path / 'summary.json'} is no summary of a run ({error!r}): do the run again") from error
        command = json_file(path / "manifest.json").get("command") if (path / "manifest.json").is_file() else ""
        return cls(path=path, summary=summary, table=table, command=str(command or ""))

    def source(self) -> Text:
        """Where the figures stand and how to make them again, in lines that can be copied whole."""
        again = f"python -m eval {shlex.quote(str(self.path))}"
        run_again = Text.assemble(("\nthe run again: ", "dim"), said(self.command)) if self.command else Text()
        return Text.assemble(("this table again: ", "dim"), said(again), run_again)


def _why_no_summary(path: Path) -> str:
    if not (path / "manifest.json").is_file():
        return f"{path} is no run folder: give a folder that python -m distill wrote, or JSONL files of trajectories"
    finished = sorted(map(str, (path / "evaluation").glob("*.jsonl")))
    so_far = f"; so far there is: python -m eval {' '.join(finished)}" if finished else ""
    return f"{path} has no summary.json: the run is still being written, or was ended before it finished{so_far}"


def json_file(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no JSON ({error}): do the run again") from error
    if not isinstance(record, dict):
        raise InputError(f"{path} is no JSON object: do the run again")
    return record
