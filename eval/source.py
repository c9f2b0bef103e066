"""What a leaderboard was made from, and how to make it again."""

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.text import Text

from envs.manifest import read_manifest
from eval.leaderboard import Leaderboard
from tools.screen import said, visible


def source(board: Leaderboard, options: str = "", *, by: Sequence[str] = ()) -> Text:
    """How many trajectories, and the command that prints the leaderboard again, in a line that can be copied whole.

    `options` are what it needs where the policies were tried by the command itself, in place of the files. Below stand
    the seeds, commit and versions that made them, where manifests beside the files say so.
    """
    counts = " + ".join(map(str, board.files.values()))
    further = "".join(f" --by {each}" for each in by)
    command = f"python -m eval {options or shlex.join(map(str, board.files))}{further}"
    lines = Text.assemble((f"{counts} trajectories: ", "dim"), said(command))
    for made in dict.fromkeys(line for path in board.files for line in _made(path)):
        lines.append(f"\nmade with {made}", style="dim")
    return lines


def _made(path: Path) -> Iterator[str]:
    for made in read_manifest(path).get("made_with", ()):
        (first, end), (sample, samples) = made.get("seeds", (0, 0)), made.get("sampling_seeds", (0, 1))
        sampled = f", sampling seeds {sample} to {samples - 1}" if (sample, samples) != (0, 1) else ""
        versions = ", ".join(f"{name} {version}" for name, version in made.get("versions", {}).items())
        yield visible(f"seeds {first} to {end - 1}{sampled}, commit {made.get('commit')}, {versions}")
