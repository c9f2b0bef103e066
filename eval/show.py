"""What `python -m eval FILE...` prints: run folders first, then the leaderboards of all files."""

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console, RenderableType
from rich.text import Text

from eval.folder import RunFolder
from eval.leaderboard import leaderboards
from eval.ranking import Ranking, source


def show(paths: Sequence[Path], *, as_json: bool) -> None:
    """Everything is read before the first line is printed, so that bad input prints an error and nothing else."""
    runs = [RunFolder.read(path) for path in paths if path.is_dir()]
    with Console(stderr=True).status("reading trajectories"):
        boards = leaderboards([path for path in paths if not path.is_dir()])
    if as_json:
        figures = {str(run.path): run.summary for run in runs}
        print(json.dumps({"runs": figures, "leaderboards": [board.to_json() for board in boards]}, indent=2))
        return
    console = Console(highlight=False, emoji=False)
    parts: list[tuple[RenderableType, Text]] = [(run.table, run.source()) for run in runs]
    parts += [(Ranking(board), source(board)) for board in boards]
    for number, (table, source_line) in enumerate(parts):
        if number:
            console.print()
        console.print(table)
        console.print(source_line, soft_wrap=True)
