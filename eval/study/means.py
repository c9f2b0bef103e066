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
    """A mean, and how far its 95% interval goes to either side (Student's t over the seeds); of one seed there is
    none."""

    mean: float
    margin: float | None

    def said(self, form: str = ".1f") -> str:
        """Both in the given format."""
        return f"{self.mean:{form}}" + (f" ±{self.margin:{form}}" if self.margin is not None else "")


def mean_of(seeds: Sequence[Any], figure: Callable[[Any], float]) -> Mean:
    values = [figure(seed) for seed in seeds]
    if len(values) < 2:
        return Mean(values[0], None)
    return Mean(fmean(values), T95.get(len(values), 1.96) * stdev(values) / sqrt(len(values)))
