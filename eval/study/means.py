"""Means over seeds, with the interval that so few of them allow."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev
from typing import Any

T95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}
"""The 97.5% point of Student's t distribution, by the number of seeds."""


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean with its 95% interval (Student's t over the seeds); of one seed there is none."""

    mean: float
    low: float | None
    high: float | None

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.mean:.1f}"
        return f"{self.mean:.1f} {self.low:.1f}..{self.high:.1f}"

    @property
    def percent(self) -> str:
        ends = "" if self.low is None or self.high is None else f" {max(0, self.low):.0%}..{min(1, self.high):.0%}"
        return f"{self.mean:.0%}{ends}"


def mean_of(seeds: Sequence[Any], figure: Callable[[Any], float]) -> Mean:
    values = [figure(seed) for seed in seeds]
    if len(values) < 2:
        return Mean(values[0], None, None)
    half = T95.get(len(values), 1.96) * stdev(values) / sqrt(len(values))
    return Mean(fmean(values), fmean(values) - half, fmean(values) + half)
