"""How often which error happens: counts, rates per 100 calls with 95% intervals, and drops.

`distill` and `eval` count with this too, so that a rate means the same everywhere. A subset is the caller's: `measure`
takes any trajectories. The intervals take calls as independent; those of one trajectory are not quite, so that true
intervals are somewhat wider. Left out: what is an error (`critics.rules`) and what rates are compared with (`eval`).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import exp, inf, isinf, log, sqrt
from typing import Any

from critics.finding import WARNING, Criticized, Finding
from envs import StopReason, Trajectory, calls_of
from tools import INVALID_CALL_CODES, ErrorCode

Part = tuple[int, int]
"""A count, and the total that it is a part of."""

Amount = tuple[float, float]
"""A sum, and the total that it is taken over."""

Z95 = 1.959963984540054
"""The 97.5% point of the standard normal distribution."""


def wilson(share: float, n: float) -> tuple[float, float]:
    """Wilson's 95% score interval of a share of `n`, which need not be whole.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
    """
    z2 = Z95 * Z95
    center = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return center - half, center + half


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """`count` of `total`, as a rate with its 95% interval. Of nothing, the rate is 0 and the interval says nothing."""

    rate: float
    low: float
    high: float
    count: int
    total: int

    @classmethod
    def share(cls, count: int, total: int, *, per: float = 1.0) -> "Rate":
        """The part of `total` that `count` is, per `per`, with the interval of `wilson`.

        Raises ValueError unless 0 <= count <= total.
        """
        if not 0 <= count <= total:
            raise ValueError(f"expected a count from 0 to {total}, came {count}")
        if total == 0:
            return cls(rate=0.0, low=0.0, high=per, count=0, total=0)
        share = count / total
        ends = wilson(share, total)
        # At the ends the interval touches 0 and 1 exactly, which rounding would miss.
        low = 0.0 if count == 0 else ends[0]
        high = 1.0 if count == total else ends[1]
        return cls(rate=share * per, low=low * per, high=high * per, count=count, total=total)

    @classmethod
    def events(cls, count: int, total: int, *, per: float = 1.0) -> "Rate":
        """`count` events in `total`, which may be fewer, per `per`, with Byar's approximation of Poisson's interval.

        Source: N. E. Breslow and N. E. Day, "Statistical methods in cancer research" II (1987), chapter 2.
        """
        if total == 0:
            return cls(rate=0.0, low=0.0, high=per, count=count, total=0)
        above = count + 1
        low = count * (1 - 1 / (9 * count) - Z95 / (3 * sqrt(count))) ** 3 if count else 0.0
        high = above * (1 - 1 / (9 * above) + Z95 / (3 * sqrt(above))) ** 3
        scale = per / total
        return cls(rate=count * scale, low=max(0.0, low) * scale, high=high * scale, count=count, total=total)

    def to_json(self) -> dict[str, float]:
        return {"rate": self.rate, "low": self.low, "high": self.high}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """A ratio of two rates with its 95% interval; `high` may be infinite, which JSON has as null."""

    ratio: float
    low: float
    high: float

    def to_json(self) -> dict[str, float | None]:
        return {"ratio": self.ratio, "low": self.low, "high": None if isinf(self.high) else self.high}


def drop(before: Rate, after: Rate) -> Ratio:
    """How many times smaller a share has become: before over after, with the delta method's interval on its logarithm.

    Where a count is 0, half an event is added to both counts and both totals, so that the ratio is finite: 10 of 100
    against 0 of 100 is a drop of 21. Where both are all, half an event is taken off both. Where either has no calls,
    nothing is known: 1, from 0 to infinity.
    Sources: D. Katz et al., "Obtaining confidence intervals for the risk ratio in cohort studies", Biometrics 34
    (1978); for the half events S. D. Walter, "The distribution of Levin's measure of attributable risk", Biometrika 62
    (1975).
    """
    if before.total == 0 or after.total == 0:
        return Ratio(ratio=1.0, low=0.0, high=inf)
    none = 0.5 if 0 in (before.count, after.count) else 0.0
    all_of_both = 0.5 if before.count == before.total and after.count == after.total else 0.0
    hits, of = before.count + none - all_of_both, before.total + none
    hits_after, of_after = after.count + none - all_of_both, after.total + none
    center = log(hits / of) - log(hits_after / of_after)
    half = Z95 * sqrt(1 / hits - 1 / of + 1 / hits_after - 1 / of_after)
    return Ratio(ratio=exp(center), low=exp(center - half), high=exp(center + half))


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """After minus before, with its 95% interval."""

    difference: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        return asdict(self)


def difference(before: Mapping[str, Amount], after: Mapping[str, Amount], *, per: float = 1.0) -> Difference:
    """By how much a share has changed over the same tasks: after minus before, per `per`.

    Both give (count, total) by task; tasks that only one of them has are left out. Tasks are what is independent here,
    not calls, and a task before and after belong together: so the variance is that of the linearized difference of
    the two ratios, over the tasks. Of fewer than two tasks nothing is known: 0, from -`per` to `per`.
    Source: W. G. Cochran, "Sampling techniques" (1977), 2.11 and 6.4.
    """
    tasks = [task for task in before if task in after]
    totals = [sum(part[task][1] for task in tasks) for part in (before, after)]
    if len(tasks) < 2 or 0 in totals:
        return Difference(difference=0.0, low=-per, high=per)
    residuals = [0.0] * len(tasks)
    ratios: list[float] = []
    for part, total, sign in zip((before, after), totals, (-1, 1), strict=True):
        ratio = sum(part[task][0] for task in tasks) / total
        ratios.append(ratio)
        for place, task in enumerate(tasks):
            count, of = part[task]
            residuals[place] += sign * (count - ratio * of) * len(tasks) / total
    variance = sum(residual * residual for residual in residuals) / (len(tasks) - 1) / len(tasks)
    change, half = ratios[1] - ratios[0], Z95 * sqrt(variance)
    return Difference(difference=change * per, low=(change - half) * per, high=(change + half) * per)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The figures of some trajectories. Those with an infrastructure fault are counted in `faults` and nowhere else.

    `invalid_per_100` and `codes` are per 100 calls: calls that have the code, or turns for a code of whole turns.
    `success` is the share of trajectories whose world is known; `warnings` are guesses, counted as `codes` are.
    """

    tasks: int
    calls: int
    invalid_calls: int
    invalid_per_100: Rate
    codes: Mapping[ErrorCode, Rate]
    warnings: Mapping[ErrorCode, Rate]
    success: Rate
    valid_calls_per_task: float
    faults: int

    @property
    def invalid(self) -> Part:
        return self.invalid_calls, self.calls

    @property
    def solved(self) -> Part:
        return self.success.count, self.success.total

    def of(self, code: ErrorCode) -> Part:
        """How often a code was found, of all calls."""
        rate = self.codes.get(code)
        return rate.count if rate else 0, self.calls

    def to_json(self) -> dict[str, Any]:
        return {
            "tasks": self.tasks,
            "calls": self.calls,
            "invalid_per_100": self.invalid_per_100.to_json(),
            "codes": {str(code): rate.to_json() for code, rate in self.codes.items()},
            "warnings": {str(code): rate.to_json() for code, rate in self.warnings.items()},
            "success": self.success.to_json(),
            "valid_calls_per_task": self.valid_calls_per_task,
            "faults": self.faults,
        }


class _Tally:
    """Counts of one code: the calls and the turns that have it."""

    def __init__(self) -> None:
        self.calls: Counter[ErrorCode] = Counter()
        self.turns: Counter[ErrorCode] = Counter()

    def add(self, findings: Iterable[Finding]) -> None:
        for code, _, call_index in {(part.code, part.message_index, part.call_index) for part in findings}:
            as_call = call_index is not None or code is ErrorCode.MALFORMED_CALL
            (self.calls if as_call else self.turns)[code] += 1

    def rates(self, calls: int) -> dict[ErrorCode, Rate]:
        return {code: self._rate(code, calls) for code in ErrorCode if self.calls[code] or self.turns[code]}

    def _rate(self, code: ErrorCode, calls: int) -> Rate:
        if self.turns[code]:  # there may be more turns than calls, so this is no share
            return Rate.events(self.turns[code] + self.calls[code], calls, per=100)
        return Rate.share(self.calls[code], calls, per=100)


class Count:
    """The errors of trajectories, counted one by one; `measured` gives the figures of those added so far."""

    def __init__(self) -> None:
        self.certain, self.warnings = _Tally(), _Tally()
        self.tasks = self.calls = self.invalid_calls = self.known = self.solved = self.faults = 0

    def add(self, trajectory: Trajectory, findings: Sequence[Finding]) -> None:
        if trajectory.stop_reason == StopReason.INFRASTRUCTURE_FAULT:
            self.faults += 1
            return
        wrong = [finding for finding in findings if finding.confidence != WARNING]
        self.certain.add(wrong)
        self.warnings.add(finding for finding in findings if finding.confidence == WARNING)
        self.tasks += 1
        self.calls += calls_in(trajectory, findings)
        invalid = (part for part in wrong if part.code in INVALID_CALL_CODES)
        self.invalid_calls += len({(part.message_index, part.call_index) for part in invalid})
        self.known += bool(trajectory.env)
        self.solved += bool(trajectory.env) and trajectory.success

    def measured(self) -> Measured:
        return Measured(
            tasks=self.tasks,
            calls=self.calls,
            invalid_calls=self.invalid_calls,
            invalid_per_100=Rate.share(self.invalid_calls, self.calls, per=100),
            codes=self.certain.rates(self.calls),
            warnings=self.warnings.rates(self.calls),
            success=Rate.share(self.solved, self.known),
            valid_calls_per_task=(self.calls - self.invalid_calls) / self.tasks if self.tasks else 0.0,
            faults=self.faults,
        )


def measure(criticized: Iterable[Criticized]) -> Measured:
    """The figures of trajectories with their findings, in one pass."""
    count = Count()
    for trajectory, findings in criticized:
        count.add(trajectory, findings)
    return count.measured()


def by_task(criticized: Iterable[Criticized]) -> dict[str, Measured]:
    """The figures of each trajectory alone, by its id, for `difference`; without those with an infrastructure fault."""
    alone = {trajectory.id: measure([(trajectory, findings)]) for trajectory, findings in criticized}
    return {task: measured for task, measured in alone.items() if not measured.faults}


def calls_in(trajectory: Trajectory, findings: Iterable[Finding]) -> int:
    """The calls of a trajectory. A turn with a call that no parser took for one counts as one call."""
    unread = {
        finding.message_index
        for finding in findings
        if finding.code is ErrorCode.MALFORMED_CALL and finding.call_index is None
    }
    return len(unread) + sum(len(calls_of(message)) for message in trajectory.messages)
