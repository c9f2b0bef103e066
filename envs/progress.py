"""How a rollout is going: counts, shown as a bar at a terminal and as a plain line now and then elsewhere.

The error rate is what the world answered with an error, rejections included, per 100 calls: a first look while it runs.
Left out: which errors, and how sure a rate is; critics and eval say that.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from envs.trajectory import Trajectory

SECONDS_BETWEEN_LINES = 10.0


@dataclass(slots=True, kw_only=True)
class Tally:
    """What the trajectories so far add up to. `calls` counts the calls that were answered."""

    tasks: int = 0
    solved: int = 0
    calls: int = 0
    errors: int = 0
    began: float = field(default_factory=time.monotonic)

    def add(self, trajectory: Trajectory) -> None:
        results = [message for message in trajectory.messages if message.get("role") == "tool"]
        self.tasks += 1
        self.solved += trajectory.success
        self.calls += len(results)
        self.errors += sum(bool(result.get("is_error")) for result in results)

    @property
    def rate(self) -> float:
        """Tasks per second."""
        return self.tasks / max(1e-3, time.monotonic() - self.began)

    def line(self) -> str:
        """Rates so far. Without a task or a call there is nothing to take a rate of."""
        solved = f"{100 * self.solved / self.tasks:.0f}% solved" if self.tasks else "no task ended"
        errors = f"{100 * self.errors / self.calls:.1f} errors/100 calls" if self.calls else "no calls"
        return f"{self.rate:.1f}/s, {solved}, {errors}"


def watched(trajectories: Iterable[Trajectory], total: int, tally: Tally, console: Console) -> Iterator[Trajectory]:
    """Pass trajectories on, counted into `tally` and shown on `console`."""
    show = _with_bar if console.is_terminal else _with_lines
    return show(trajectories, total, tally, console)


def _with_bar(trajectories: Iterable[Trajectory], total: int, tally: Tally, console: Console) -> Iterator[Trajectory]:
    # Trajectories end in bursts, a batch at a time, so the time that is left comes from the mean rate.
    columns = (BarColumn(bar_width=16), MofNCompleteColumn(), TextColumn("{task.fields[rates]}"))
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=total, rates="")
        for trajectory in trajectories:
            tally.add(trajectory)
            left = timedelta(seconds=round((total - tally.tasks) / tally.rate))
            progress.update(task, completed=tally.tasks, rates=f"{tally.line()}, {left} left")
            yield trajectory


def _with_lines(trajectories: Iterable[Trajectory], total: int, tally: Tally, console: Console) -> Iterator[Trajectory]:
    last = tally.began
    for trajectory in trajectories:
        tally.add(trajectory)
        if time.monotonic() - last > SECONDS_BETWEEN_LINES and tally.tasks < total:
            last = time.monotonic()
            console.print(f"{tally.tasks} of {total} tasks, {tally.line()}", soft_wrap=True)
        yield trajectory
