"""Trackers: the figures of every round and the loss of every step, for whoever watches from elsewhere.

accelerate's trackers carry them. Left out: files of the run folder, which has all of it without any tracker.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from distill.config import Tracker
from tools.command import InputError

PACKAGES = {"trackio": "trackio", "tensorboard": "tensorboard", "wandb": "wandb"}


class Tracks:
    """The trackers of one run; without any it does nothing. `step` counts steps of the optimizer over all rounds.

    The run goes by its folder's name, and what trackers keep here is kept in the folder, but for trackio's database. A
    resumed run is another one of that name.
    """

    def __init__(self, names: Sequence[Tracker], folder: Path, config: Mapping[str, Any], *, cpu: bool) -> None:
        self.step = 0
        self.accelerator: Any = None
        if names:
            from accelerate import Accelerator
            from accelerate.tracking import get_available_trackers

            missing = sorted(set(names) - {str(kind.value) for kind in get_available_trackers()})
            if missing:
                raise InputError(f"--report-to {missing[0]} needs its package: pip install {PACKAGES[missing[0]]}")
            folder.mkdir(parents=True, exist_ok=True)  # wandb goes elsewhere where it is missing
            self.accelerator = Accelerator(cpu=cpu, log_with=list(names), project_dir=str(folder))
            named = {"trackio": {"name": folder.name}, "wandb": {"name": folder.name, "dir": str(folder)}}
            self.accelerator.init_trackers("hintsight", config=dict(_leaves(config)), init_kwargs=named)

    def report(self, metrics: Mapping[str, Any]) -> None:
        """A line of `metrics.jsonl`: each step's loss, and the round's figures at its last step."""
        for loss in metrics["losses"]:
            self.step += 1
            if self.accelerator:
                self.accelerator.log({"step/loss": loss}, step=self.step)
        if self.accelerator:
            figures = {f"round/{name}": value for name, value in _leaves(metrics) if isinstance(value, int | float)}
            self.accelerator.log(figures, step=self.step)

    def end(self) -> None:
        if self.accelerator:
            self.accelerator.end_training()


def _leaves(record: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str | float]]:
    """Every number and text of a record, by the path to it."""
    for name, value in record.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{before}{name}/")
        elif isinstance(value, int | float | str):
            yield f"{before}{name}", value
