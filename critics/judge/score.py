"""How good the critics are on planted errors: precision, recall, and how often they mark exactly what was planted.

`found` means the right code at the right turn and call; `exact` also the right span. Precision counts every finding of
a code, in all of the trajectories, those with another error and those without one too. Rules and judge are told apart
by the codes, since each has its own.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from critics.finding import CERTAIN, Criticized, Finding
from critics.judge.codes import JUDGE_CODES
from critics.judge.critic import Critic
from critics.judge.planting import READ_CODES, Planted, planted
from critics.rates import Rate
from critics.reading import read
from critics.rules import criticize
from envs import Trajectory
from envs.policies.mistakes import MISTAKES
from tools import INVALID_CALL_CODES, ErrorCode

CODES: Sequence[ErrorCode] = (*MISTAKES, *READ_CODES)
"""What is planted, in the order of the table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """The figures of one code: of the findings the right ones, of the planted errors those found, and found exactly."""

    code: ErrorCode
    precision: Rate
    recall: Rate
    exact: Rate

    def to_json(self) -> dict[str, Any]:
        rates = {name: getattr(self, name) for name in ("precision", "recall", "exact")}
        return {
            "planted": self.recall.total,
            "findings": self.precision.total,
            **{name: rate.to_json() for name, rate in rates.items()},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """All codes, and the findings in `clean` trajectories, which are all false. `judged`: a judge was asked."""

    world: str
    codes: Sequence[Score]
    clean: int
    false_alarms: int
    judged: bool

    def to_json(self) -> dict[str, Any]:
        return {
            "world": self.world,
            "codes": {str(score.code): score.to_json() for score in self.codes},
            "clean": {"trajectories": self.clean, "findings": self.false_alarms},
        }

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        table.add_column("planted error", no_wrap=True)
        table.add_column("by", no_wrap=True)
        for name in ("planted", "precision", "recall", "exact", "95% interval"):
            table.add_column(name, justify="right", no_wrap=True)
        for score in self.codes:
            by = "judge" if score.code in JUDGE_CODES else "rules"
            table.add_row(str(score.code), by, str(score.recall.total), *self._cells(score))
        yield table
        yield Text(f"{self.clean} trajectories without an error: {self.false_alarms} findings in them")
        if not self.judged:
            yield Text("no judge was asked: add --judge openai:MODEL@BASE_URL", style="dim")

    def _cells(self, score: Score) -> Iterator[str]:
        if score.code in JUDGE_CODES and not self.judged:
            return
        for rate in (score.precision, score.recall, score.exact):
            yield f"{rate.rate:.3f}" if rate.total else "-"
        yield f"{score.exact.low:.3f} to {score.exact.high:.3f}" if score.exact.total else "-"


def scores(critic: Critic, world: str, count: int, *, split: str = "test", seed: int = 0) -> Scores:
    """Plant errors of every code in the tasks of `count` seeds each, let the critic read all, and count."""
    cases: list[tuple[Trajectory, Planted | None]] = []
    for number, code in enumerate([None, *CODES]):
        first = seed + number * count  # no two codes share a task, so none is read twice
        cases += planted(world, code, range(first, first + count), split=split)
    read_out = critic.read((trajectory, criticize(trajectory)) for trajectory, _ in cases)
    criticized = [(trajectory, _certain(findings)) for trajectory, findings in read_out]
    errors = [error for _, error in cases]
    clean = [findings for (_, findings), error in zip(criticized, errors, strict=True) if error is None]
    return Scores(
        world=world,
        codes=counted(criticized, errors),
        clean=len(clean),
        false_alarms=sum(len(findings) for findings in clean),
        judged=critic.judge is not None,
    )


def _certain(findings: Iterable[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.confidence == CERTAIN]


def counted(criticized: Sequence[Criticized], errors: Sequence[Planted | None]) -> list[Score]:
    """The score of each code that was planted."""
    total: Counter[ErrorCode] = Counter(error.code for error in errors if error is not None)
    found: Counter[ErrorCode] = Counter()
    exact: Counter[ErrorCode] = Counter()
    said: Counter[ErrorCode] = Counter()
    for (trajectory, findings), error in zip(criticized, errors, strict=True):
        said.update(finding.code for finding in findings if error is None or not _beside(finding, error))
        if error is None:
            continue
        place = error.code, error.message_index, error.call_index
        here = [finding for finding in findings if (finding.code, finding.message_index, finding.call_index) == place]
        found[error.code] += bool(here)
        span = error.span(read(trajectory))
        exact[error.code] += any(finding.span == span for finding in here)
    return [
        Score(
            code=code,
            precision=Rate.share(found[code], said[code]),
            recall=Rate.share(found[code], total[code]),
            exact=Rate.share(exact[code], total[code]),
        )
        for code in CODES
    ]


def _beside(finding: Finding, error: Planted) -> bool:
    """Whether a finding is another rule that the planted call breaks too, which is as true as the planted one."""
    place = finding.message_index, finding.call_index
    broken = {finding.code, error.code} <= INVALID_CALL_CODES
    return broken and finding.code is not error.code and place == (error.message_index, error.call_index)
