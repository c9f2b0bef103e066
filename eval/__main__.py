"""The command line of `eval`: leaderboards of error rates, a run's before and after, and a look at every turn.

python -m eval runs/tiny.jsonl runs/expert.jsonl     # a leaderboard for each world and split
python -m eval runs/demo                             # a run folder: errors before and after
python -m eval replay runs/demo --errors             # turn by turn, errors marked
python -m eval compare before.jsonl after.jsonl      # the same tasks, before and after
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import tyro

from tools.command import InputError, run


@dataclass(frozen=True, slots=True)
class Config:
    """Error rates per 100 calls with 95% intervals: a leaderboard of the policies in files of trajectories, or what a
    run folder says of before and after. To look at the turns themselves: python -m eval replay --help"""

    files: Annotated[
        tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="FILE|RUN...", help_behavior_hint="(required)")
    ]
    """Trajectories in JSONL (our own, or any with id, tools and messages in OpenAI's form), or run folders."""
    json: bool = False
    """Print the figures as JSON in place of tables."""

    def __call__(self) -> None:
        from eval.show import show  # reads and draws; the help has to come at once

        if not self.files:
            raise InputError("no file given: give files of trajectories, or a run folder")
        show(self.files, as_json=self.json)


@dataclass(frozen=True, slots=True)
class Replay:
    """Look at trajectories turn by turn: the error marked in what the model wrote, and the hint above it. In a
    terminal it waits for you after each turn; in a pipe it prints everything."""

    source: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FILE|RUN")]
    """Trajectories in JSONL, or a run folder."""
    errors: bool = False
    """Only trajectories in which something is wrong."""
    code: Annotated[str | None, tyro.conf.arg(metavar="CODE")] = None
    """Only trajectories with this error code."""
    task: Annotated[str | None, tyro.conf.arg(metavar="ID")] = None
    """Only the trajectory with this id."""
    seed: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Only trajectories of the task with this seed."""
    full: bool = False
    """Show long texts in whole; else the middle of what is longer than 1,000 characters is left out."""

    def __call__(self) -> int:
        from eval.film import Film, Wanted
        from eval.replay import LONGEST, replay

        wanted = Wanted(errors=self.errors, code=self.code, id=self.task, seed=self.seed)
        return replay(Film(self.source, wanted), longest=None if self.full else LONGEST)


@dataclass(frozen=True, slots=True)
class Compare:
    """Two policies on the same tasks: by how much each error fell, which tasks got better and worse, which error became
    which, and what else moved. Of one run folder: before and after."""

    sources: Annotated[
        tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="FILE|RUN...", help_behavior_hint="(required)")
    ]
    """Two files of trajectories or run folders, before and after; or one run folder."""
    json: bool = False
    """Print the figures as JSON in place of tables."""

    def __call__(self) -> None:
        from json import dumps

        from rich.console import Console

        from eval.compare import compare, files_of
        from eval.contrast import Contrast, source

        comparison = compare(*files_of(self.sources))
        if self.json:
            print(dumps(comparison.to_json(), indent=2))
            return
        console = Console(highlight=False, emoji=False)
        console.print(Contrast(comparison))
        console.print(source(comparison), soft_wrap=True)


Command = TypeVar("Command", Config, Replay, Compare)


def main(arguments: Sequence[str] | None = None) -> int | None:
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["replay"]:
        return _read(Replay, "python -m eval replay", given[1:])()
    if given[:1] == ["compare"]:
        return _read(Compare, "python -m eval compare", given[1:])()
    return _read(Config, "python -m eval", given)()


def _read(command: type[Command], prog: str, arguments: Sequence[str]) -> Command:
    return tyro.cli(command, prog=prog, args=arguments, config=(tyro.conf.FlagCreatePairsOff,))


if __name__ == "__main__":
    run(main)
