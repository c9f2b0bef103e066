"""How a rollout is going: counts, shown as a bar at a terminal and as a plain line now and then elsewhere.

The error rate is what the world answered with an error, rejections included, per 100 calls: a first look while it runs.
What an infrastructure fault ended is counted apart, and in no rate. Left out: which errors, and how sure a rate is;
critics and eval say that.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from envs.policies.spent import Spent
from envs.trajectory import StopReason, Trajectory

SECONDS_BETWEEN_LINES = 10.0
MOST_FAULTS_SHOWN = 5
"""So many different ones are shown as they come; all are in the file."""


@dataclass(slots=True, kw_only=True)
class Tally:
    """What the trajectories so far add up to. `calls` counts the calls that were answered.

    `spent` is what a policy on a server has used; that of others is counted from the turns' tokens. `notes` are what
    the policy found odd so far.
    """

    tasks: int = 0
    solved: int = 0
    calls: int = 0
    errors: int = 0
    faults: int = 0
    tokens: int = 0
    spent: Spent | None = None
    notes: Sequence[str] = ()
    began: float = field(default_factory=time.monotonic)

    def add(self, trajectory: Trajectory) -> None:
        self.tokens += sum(len(turn.token_ids) for turn in trajectory.turns)
        if trajectory.stop_reason == StopReason.INFRASTRUCTURE_FAULT:
            self.faults += 1
            return
        results = [message for message in trajectory.messages if message.get("role") == "tool"]
        self.tasks += 1
        self.solved += trajectory.success
        self.calls += len(results)
        self.errors += sum(bool(result.get("is_error")) for result in results)

    @property
    def ended(self) -> int:
        """All trajectories so far."""
        return self.tasks + self.faults

    @property
    def seconds(self) -> float:
        return max(1e-3, time.monotonic() - self.began)

    @property
    def rate(self) -> float:
        """Trajectories per second."""
        return self.ended / self.seconds

    def line(self) -> str:
        """Rates so far. Without a task or a call there is nothing to take a rate of."""
        solved = f"{100 * self.solved / self.tasks:.0f}% solved" if self.tasks else "no task ended"
        errors = f"{100 * self.errors / self.calls:.1f} errors/100 calls" if self.calls else "no calls"
        parts = [f"{self.rate:.1f}/s", solved, errors]
        if tokens := self.spent.completion_tokens if self.spent else self.tokens:
            parts.append(f"{tokens / self.seconds:,.0f} tokens/s")
        if self.faults:
            parts.append(f"{self.faults} faults")
        return ", ".join(parts)

    def left(self, total: int) -> timedelta:
        """The time that is left. Trajectories end in bursts, a batch at a time, so it comes from the mean rate."""
        return timedelta(seconds=round((total - self.ended) / max(1e-9, self.rate)))


def watched(trajectories: Iterable[Trajectory], total: int, tally: Tally, console: Console) -> Iterator[Trajectory]:
    """Pass trajectories on, counted into `tally` and shown on `console`, with the policy's notes as they come."""
    show = _with_bar if console.is_terminal else _with_lines
    return show(_noted(trajectories, tally, console), total, tally, console)


def _noted(trajectories: Iterable[Trajectory], tally: Tally, console: Console) -> Iterator[Trajectory]:
    shown = 0
    faults: set[str] = set()
    for trajectory in trajectories:
        for note in tally.notes[shown:]:
            console.print(f"note: {note}", soft_wrap=True, markup=False)
        shown = len(tally.notes)
        if trajectory.fault and trajectory.fault not in faults and len(faults) < MOST_FAULTS_SHOWN:
            faults.add(trajectory.fault)
            console.print(f"infrastructure fault: {trajectory.id}: {trajectory.fault}", soft_wrap=True, markup=False)
        yield trajectory


def _with_bar(trajectories: Iterable[Trajectory], total: int, tally: Tally, console: Console) -> Iterator[Trajectory]:
    columns = (BarColumn(bar_width=16), MofNCompleteColumn(), TextColumn("{task.fields[rates]}", markup=False))
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=total, rates="")
        for trajectory in trajectories:
            tally.add(trajectory)
            progress.update(task, completed=tally.ended, rates=f"{tally.line()}, {tally.left(total)} left")
            yield trajectory


def _with_lines(trajectories: Iterable[Trajectory], total: int, tally: Tally, console: Console) -> Iterator[Trajectory]:
    last = tally.began
    for trajectory in trajectories:
        tally.add(trajectory)
        if time.monotonic() - last > SECONDS_BETWEEN_LINES and tally.ended < total:
            last = time.monotonic()
            line = f"{tally.ended} of {total} tasks, {tally.line()}, {tally.left(total)} left"
            console.print(line, soft_wrap=True)
        yield trajectory
