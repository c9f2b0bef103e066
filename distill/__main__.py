"""python -m distill --out FOLDER: train away a model's mistakes with its tools, and show by how much.

`python -m distill export RUN FOLDER` writes a run's corrections for other trainers.
"""

import logging
import os
import shlex
import sys
import time

import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from distill.config import Config
from distill.table import run_table
from tools.command import run


class Stages:
    """A line for each stage that is finished, and a progress bar for the one that isn't where a terminal shows it."""

    def __init__(self, console: Console) -> None:
        self.console = console
        columns = (TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn(), TimeElapsedColumn())
        self.progress = Progress(
            *columns, TextColumn("{task.fields[figure]}"), console=console, disable=not console.is_terminal
        )
        self.bars: dict[str, TaskID] = {}
        self.began: dict[str, float] = {}

    def __call__(self, stage: str, finished: int, total: int, figure: str) -> None:
        self.began.setdefault(stage, time.monotonic())
        if stage not in self.bars:
            self.bars[stage] = self.progress.add_task(stage, total=total, figure=figure)
        self.progress.update(self.bars[stage], completed=finished, figure=figure)
        if finished == total:
            self.progress.remove_task(self.bars.pop(stage))
            seconds = f"{time.monotonic() - self.began.pop(stage):.0f} s"
            self.console.print(
                f"{stage}: {finished} of {total}, {f'{figure}, ' if figure else ''}{seconds}", style="dim"
            )


def main() -> None:
    """Run the whole loop and print the table; under torchrun the first process is the one that prints.

    Called with `bench`, measure what corrections cost; with `export`, write them for other trainers.
    """
    if sys.argv[1:2] == ["bench"]:
        from distill.bench import main as bench

        bench(sys.argv[2:])
        return
    if sys.argv[1:2] == ["export"]:
        _export(sys.argv[2:])
        return
    config = tyro.cli(
        Config,
        prog="python -m distill",
        description=(__doc__ or "").partition(": ")[2].partition("\n")[0],
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    from distill.run import Run  # torch, which --help does without

    for library in ("transformers", "accelerate"):
        logging.getLogger(library).setLevel(logging.ERROR)
    if os.environ.get("RANK", "0") != "0":
        sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - for as long as the process lives
    console = Console(highlight=False, emoji=False)
    stages = Stages(console)
    running = Run(config, stages)
    for warning in running.warnings:
        Console(stderr=True, highlight=False).print(f"warning: {warning}", style="yellow", soft_wrap=True)
    try:
        with stages.progress:
            summary = running.go()
    except KeyboardInterrupt:
        print(
            f"interrupted: go on with the same command and --resume; {config.out} has what was finished",
            file=sys.stderr,
        )
        sys.exit(130)
    console.print(run_table(summary))
    for line in running.critic.lines():
        console.print(line, style="dim", markup=False)
    out = shlex.quote(str(config.out))
    console.print(f"run folder: {out}", soft_wrap=True)
    console.print(f"see its errors turn by turn: python -m eval replay {out} --errors", soft_wrap=True)
    console.print(f"this table again: python -m eval {out}", soft_wrap=True)


def _export(arguments: list[str]) -> None:
    from distill.export import Export, export

    asked = tyro.cli(Export, prog="python -m distill export", args=arguments)
    folder = shlex.quote(str(asked.folder))
    print(f"{export(asked)} corrections: datasets.load_dataset({folder!r}) reads them")


if __name__ == "__main__":
    run(main)
