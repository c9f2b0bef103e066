"""The command line of `eval`: leaderboards of error rates, a run's before and after, and a look at every turn.

python -m eval runs/tiny.jsonl runs/expert.jsonl     # a leaderboard for each world and split
python -m eval runs/demo                             # a run folder: errors before and after
python -m eval replay runs/demo --errors             # turn by turn, errors marked
python -m eval report runs/demo                      # a page about the run, to send to others
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
    run folder says of before and after. To look at the turns themselves: python -m eval replay --help; for a page about
    a run: python -m eval report --help"""

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
    most: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Print or export only so many trajectories."""
    pairs: bool = False
    """Of a run folder: the evaluation's tasks, before and after training side by side."""
    after: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """A file with the same tasks, to show beside these."""
    export: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Write what would be shown to a .svg, .html, .txt or .cast (asciinema) file."""

    def __call__(self) -> int:
        from eval.export import export
        from eval.film import Film, Wanted, evaluations
        from eval.player import LONGEST
        from eval.replay import everything, replay

        wanted = Wanted(errors=self.errors, code=self.code, id=self.task, seed=self.seed)
        film, longest, paired = (
            Film(self.source, wanted),
            None if self.full else LONGEST,
            self.pairs or bool(self.after),
        )

        def pairs() -> tuple[Film, Film]:
            return (film, Film(self.after)) if self.after else evaluations(self.source, wanted)

        if self.export is None:
            return replay(film, pairs=pairs, paired=paired, longest=longest, most=self.most)
        parts = everything(*(pairs() if paired else (film,)), longest=longest, most=self.most)
        export(parts, self.export, title=f"python -m eval replay {self.source}")
        return 0


@dataclass(frozen=True, slots=True)
class Report:
    """One HTML file about a run, to send to others: error rates by round, before and after, what the hints did, the
    most instructive corrections. It needs no network."""

    run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """A run folder; of one that is still being written, what there is so far."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Where to write it; else RUN/report.html."""
    against: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="RUN...")] = ()
    """Run folders of baselines, whose error rates are drawn beside this run's."""

    def __call__(self) -> None:
        from eval.report import write

        print(write(self.run, self.out or self.run / "report.html", against=self.against))


Command = TypeVar("Command", Config, Replay, Report)


def main(arguments: Sequence[str] | None = None) -> int | None:
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["replay"]:
        return _read(Replay, "python -m eval replay", given[1:])()
    if given[:1] == ["report"]:
        return _read(Report, "python -m eval report", given[1:])()
    return _read(Config, "python -m eval", given)()


def _read(command: type[Command], prog: str, arguments: Sequence[str]) -> Command:
    return tyro.cli(command, prog=prog, args=arguments, config=(tyro.conf.FlagCreatePairsOff,))


if __name__ == "__main__":
    run(main)
