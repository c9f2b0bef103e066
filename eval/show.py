"""What `python -m eval` prints: run folders first, then the leaderboards of all files and of what was tried."""

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from rich.console import Console, RenderableType
from rich.text import Text

from eval.folder import RunFolder
from eval.leaderboard import Leaderboard, leaderboards
from eval.ranking import Grouped, Ranking
from eval.running import Trial
from eval.sheet import to_csv, to_html, to_markdown
from eval.source import source
from tools.command import InputError

Form = Literal["terminal", "json", "csv", "markdown", "html"]


def show(
    paths: Sequence[Path], *, form: Form = "terminal", by: Sequence[str] = (), trial: Trial | None = None
) -> list[Leaderboard]:
    """Everything is read before the first line is printed, so that bad input prints an error and nothing else.

    `by` names further tables, by `turn` or by `tools`. What a trial asks for is done first, and counts as far as it is
    asked for, whatever else its files hold. Gives the leaderboards.
    """
    runs = [RunFolder.read(path) for path in paths if path.is_dir()]
    if runs and form in ("csv", "markdown", "html"):
        page = ", or for a page python -m eval report" if form == "html" else ""
        raise InputError(f"a run folder has no {form} form: give files of trajectories, ask for --json{page}")
    files = [path for path in paths if not path.is_dir()]
    tried = trial.carry_out() if trial else {}
    with Console(stderr=True).status("reading trajectories"):
        boards = leaderboards([*files, *tried], only=tried)
    again = f"{shlex.join(map(str, files))} {trial.options}".strip() if trial else ""
    sources = [source(board, again, by=by) for board in boards]
    match form:
        case "json":
            figures = {str(run.path): run.summary for run in runs}
            printed = [
                board.to_json() | {"source": text.plain.splitlines()}
                for board, text in zip(boards, sources, strict=True)
            ]
            print(json.dumps({"runs": figures, "leaderboards": printed}, indent=2))
        case "csv":
            print(to_csv(boards, by), end="")
        case "markdown":
            print(to_markdown(boards, sources, by), end="")
        case "html":
            print(to_html(boards, sources, by), end="")
        case _:
            parts: list[tuple[RenderableType, ...]] = [(run.table, run.source()) for run in runs]
            for board, text in zip(boards, sources, strict=True):
                parts.append((Ranking(board), *(Grouped(board, each) for each in by), Text(), text))
            _print(parts)
    return boards


def _print(parts: Sequence[Sequence[RenderableType]]) -> None:
    console = Console(highlight=False, emoji=False)
    for number, group in enumerate(parts):
        if number:
            console.print()
        for part in group:
            console.print(part, soft_wrap=isinstance(part, Text))
