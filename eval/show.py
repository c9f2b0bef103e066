"""What `python -m eval FILE...` prints: run folders first, then the leaderboards of all files."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from rich.console import Console, RenderableType
from rich.text import Text

from eval.folder import RunFolder
from eval.leaderboard import Leaderboard, leaderboards
from eval.ranking import Grouped, Ranking
from eval.sheet import to_csv, to_html, to_markdown
from eval.source import source
from tools.command import InputError

Form = Literal["terminal", "json", "csv", "markdown", "html"]


def show(paths: Sequence[Path], *, form: Form = "terminal", by: Sequence[str] = ()) -> list[Leaderboard]:
    """Everything is read before the first line is printed, so that bad input prints an error and nothing else.

    `by` names further tables, by `turn` or by `tools`. Gives the leaderboards.
    """
    runs = [RunFolder.read(path) for path in paths if path.is_dir()]
    with Console(stderr=True).status("reading trajectories"):
        boards = leaderboards([path for path in paths if not path.is_dir()])
    parts: list[tuple[RenderableType, ...]] = [(run.table, run.source()) for run in runs]
    parts += [(Ranking(board), *(Grouped(board, each) for each in by), source(board)) for board in boards]
    match form:
        case "json":
            figures = {str(run.path): run.summary for run in runs}
            print(json.dumps({"runs": figures, "leaderboards": [board.to_json() for board in boards]}, indent=2))
        case "csv" | "markdown" if runs:
            raise InputError(
                f"a run folder has no {form} form: give files of trajectories, or ask for --json or --html"
            )
        case "csv":
            print(to_csv(boards), end="")
        case "markdown":
            print(to_markdown(boards, [source(board).plain for board in boards]), end="")
        case "html":
            print(to_html([part for group in parts for part in (*group, Text())], title="hintsight leaderboard"))
        case _:
            _print(parts)
    return boards


def _print(parts: Sequence[Sequence[RenderableType]]) -> None:
    console = Console(highlight=False, emoji=False)
    for number, group in enumerate(parts):
        if number:
            console.print()
        for part in group:
            console.print(part, soft_wrap=isinstance(part, Text))
