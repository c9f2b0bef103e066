"""python -m distill.tiny train|report: make the embedded model again, or say what it can do."""

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro
from rich.console import Console

from envs.policies.loading import EMBEDDED, TINY
from tools.command import InputError, run


@dataclass(frozen=True, slots=True, kw_only=True)
class Train:
    """Train the tiny model from scratch (half an hour or more on two cores), or a larger one on a GPU by the same
    recipe; goes on where an earlier call stopped."""

    out: Path = Path("runs/tiny")
    """Folder for what is in the making."""
    seed: int = 0
    """Seed of weights and data."""
    size: Literal["1M", "30M"] = "1M"
    """Parameters. A larger model isn't shipped; it learns whole shifts too, as the last stage."""
    install: bool = False
    """Put the result in place of the embedded model."""
    shift: bool = False
    """Go on from the embedded model to one that works whole shifts (half an hour or more); then give another --out."""

    def __call__(self) -> None:
        from distill.tiny.training import SHIFT_STAGE, SIZES, STAGES, Training

        if self.size != "1M":
            if self.shift or self.install:
                raise InputError(f"--size {self.size} goes with neither --shift, which it has, nor --install")
            Training(self.out, self.seed, size=SIZES[self.size]).run([*STAGES, SHIFT_STAGE])
        elif self.shift:
            Training(self.out, self.seed, start=TINY).run([SHIFT_STAGE])
        else:
            Training(self.out, self.seed).run()
        if self.install:
            install(self.out, SHIFT if self.shift else PLAIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Success, habits and obedience on held-out seeds at temperature 1."""

    model: Path = TINY
    """A folder that `train` has made: the model, and `before_habits/` in it."""
    tasks: int = 200
    """Held-out tasks."""
    json: bool = False
    """Print JSON."""

    def __call__(self) -> None:
        from distill.tiny.report import report, shown

        if self.tasks < 1:
            raise InputError(f"tasks must be at least 1, came {self.tasks}")
        record = report(self.model, tasks=self.tasks)
        if self.json:
            print(json.dumps(record, indent=2))
        else:
            Console().print(shown(record))


PLAIN = {"obedience": TINY, "able": TINY / "before_habits"}
SHIFT = {"shift_v1": EMBEDDED["tiny-shift"]}
"""Where the embedded models come from: of each training, by stage."""


def install(trained: Path, stages: Mapping[str, Path]) -> None:
    """Copy a finished training's models to where the embedded ones live."""
    for stage, folder in stages.items():
        folder.mkdir(parents=True, exist_ok=True)
        for file in (trained / stage).iterdir():
            shutil.copy(file, folder / file.name)


def main() -> None:
    """Do what the command line says."""
    logging.getLogger("transformers").setLevel(logging.ERROR)
    command: Train | Report = tyro.cli(Train | Report, description=__doc__)
    command()


if __name__ == "__main__":
    run(main)
