"""Error rates of policies beside each other: a leaderboard for each set of tasks, from files of trajectories.

Files are streamed, trajectory by trajectory: counts by task are all that is kept.
The findings are the critics' of today, whatever was found when the files were written.
Left out: how it looks (`eval.ranking`), trajectories that stand in two files, two policies task by task
(`eval.compare`).
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from critics.finding import Finding
from critics.formats import Unreadable, read_logs
from critics.rates import Measured, Rate
from critics.rules import criticize
from envs.trajectory import Trajectory
from eval.spending import Spending, spending
from eval.standing import Figures, Standing
from tools import ErrorCode
from tools.command import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Whose trajectories a row counts. `env` and `split` are empty for trajectories that don't say them."""

    env: str
    split: str
    policy: str

    @classmethod
    def of(cls, trajectory: Trajectory, path: Path) -> "Group":
        """The group of a trajectory of a file; where it names no policy, the file's name stands for it."""
        split = str(trajectory.task.get("split") or "")
        return cls(env=trajectory.env, split=split, policy=trajectory.policy or path.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The figures of one policy. `files` are what they come from, with the number of trajectories in each; `spent` is
    what a server's answers took, where that is known."""

    policy: str
    figures: Figures
    files: Mapping[Path, int]
    spent: Spending | None = None

    @property
    def tokens_per_task(self) -> float | None:
        """Sampled tokens, from the turns where they have them, else as the server counted them."""
        counted = self.spent.completion_tokens_per_task if self.spent else None
        return counted if self.figures.tokens_per_task is None else self.figures.tokens_per_task

    @property
    def cost_per_task(self) -> float | None:
        return self.spent.cost_per_task if self.spent else None

    @property
    def measured(self) -> Measured:
        return self.figures.measured

    def rate(self, code: ErrorCode, *, guess: bool = False) -> Rate:
        """How often a code was found, or guessed, per 100 calls; where it never was, none of the calls, with how little
        that says of few."""
        found = (self.measured.warnings if guess else self.measured.codes).get(code)
        return found or Rate.share(0, self.measured.calls, per=100)

    @property
    def rank(self) -> tuple[bool, float, float, str]:
        """By invalid calls, then by success; who made no call at all has no rate and comes last."""
        measured = self.measured
        return measured.calls == 0, measured.invalid_per_100.rate, -measured.success.rate, self.policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaderboard:
    """The policies that acted on one set of tasks, the lowest rate of invalid calls first."""

    env: str
    split: str
    rows: Sequence[Row]

    @property
    def best(self) -> Row | None:
        """The first row, if its 95% interval lies below every other one's; None where that can't be said."""
        rows = [row for row in self.rows if row.measured.calls]
        lows = [row.measured.invalid_per_100.low for row in rows[1:]]
        return rows[0] if lows and rows[0].measured.invalid_per_100.high < min(lows) else None

    @property
    def codes(self) -> list[tuple[ErrorCode, bool]]:
        """The codes that any policy has, and whether they are guesses: errors first, then guesses."""
        errors = [(code, False) for code in ErrorCode if any(code in row.measured.codes for row in self.rows)]
        guesses = [(code, True) for code in ErrorCode if any(code in row.measured.warnings for row in self.rows)]
        return errors + guesses

    @property
    def files(self) -> dict[Path, int]:
        """The files with trajectories of this leaderboard, and how many each has."""
        counts: dict[Path, int] = {}
        for row in self.rows:
            for path, count in row.files.items():
                counts[path] = counts.get(path, 0) + count
        return counts

    def to_json(self) -> dict[str, Any]:
        rows = [
            {
                "policy": row.policy,
                "best": row is self.best,
                **row.figures.to_json(),
                "tokens_per_task": row.tokens_per_task,
                "cost_per_task": row.cost_per_task,
                "spent": row.spent.to_json() if row.spent else None,
                "files": {str(path): count for path, count in row.files.items()},
            }
            for row in self.rows
        ]
        return {"env": self.env, "split": self.split, "rows": rows}


def leaderboards(paths: Sequence[Path], only: Mapping[Path, Collection[str]] | None = None) -> list[Leaderboard]:
    """A leaderboard for each (env, split) of the files, in the order in which they are met.

    Of a file that is in `only`, the trajectories with these ids count.
    Raises InputError for a file that can't be read, has no trajectories or is given twice.
    """
    standings: dict[Group, Standing] = {}
    files: dict[Group, dict[Path, int]] = {}
    for path in _once(paths):
        for trajectory, findings in criticized_in(path, (only or {}).get(path)):
            group = Group.of(trajectory, path)
            standings.setdefault(group, Standing()).add(trajectory, findings)
            of_group = files.setdefault(group, {})
            of_group[path] = of_group.get(path, 0) + 1
    boards: dict[tuple[str, str], list[Row]] = {}
    for group, standing in standings.items():
        spent = spending(files[group], env=group.env, split=group.split, policy=group.policy)
        row = Row(policy=group.policy, figures=standing.figures(), files=files[group], spent=spent)
        boards.setdefault((group.env, group.split), []).append(row)
    return [
        Leaderboard(env=env, split=split, rows=sorted(rows, key=lambda row: row.rank))
        for (env, split), rows in boards.items()
    ]


def criticized(trajectory: Trajectory, where: str) -> list[Finding]:
    """The findings of a trajectory. Raises InputError, which says `where`, if it isn't in OpenAI's form."""
    try:
        return criticize(trajectory)
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{where}: {error}") from error


def _once(paths: Sequence[Path]) -> Iterator[Path]:
    seen = set()
    for path in paths:
        if path.resolve() in seen:
            raise InputError(f"{path} is given twice: its calls would count twice")
        seen.add(path.resolve())
        yield path


def criticized_in(path: Path, only: Collection[str] | None = None) -> Iterator[tuple[Trajectory, list[Finding]]]:
    """The trajectories of a file, in any form that `critics.formats` knows, with their findings; those with ids in
    `only`, where that is given.

    Without a last line that is being written. Raises InputError for what can't be read, with its line, and for a file
    without any trajectory: rates of a part of it would be taken for those of the whole.
    """
    empty = True
    for part in read_logs(path):
        if not isinstance(part, Unreadable):
            place, trajectory = part
            if only is None or trajectory.id in only:
                yield trajectory, criticized(trajectory, str(place))
        elif not part.cut_off:
            raise InputError(f"{part.place}: {part.reason}: repair or remove it (python -m critics reads the rest)")
        empty = False
    if empty:
        raise InputError(f"{path} has no trajectories: give a JSONL file with one in each line")
