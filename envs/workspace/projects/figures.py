"""Figures about lists of numbers."""

from collections import Counter
from collections.abc import Sequence


def mean_of(numbers: Sequence[float]) -> float:
    """The average; ValueError for no numbers."""
    if not numbers:
        raise ValueError("no numbers have no average")
    return sum(numbers) / len(numbers)


def median_of(numbers: Sequence[float]) -> float:
    """The number in the middle; halfway between the two where there are two."""
    if not numbers:
        raise ValueError("no numbers have no middle")
    ordered = sorted(numbers)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) / 2


def most_common(numbers: Sequence[int]) -> list[int]:
    """The numbers that come most often, in order; all of them where they come equally often."""
    counts = Counter(numbers)
    highest = max(counts.values(), default=0)
    return sorted(number for number, count in counts.items() if count == highest)


def variance_of(numbers: Sequence[float]) -> float:
    """The average of the squares of how far the numbers are from their average."""
    center = mean_of(numbers)
    return sum((number - center) ** 2 for number in numbers) / len(numbers)


def running_mean(numbers: Sequence[float], width: int) -> list[float]:
    """The averages of each `width` numbers that follow each other."""
    return [mean_of(numbers[start : start + width]) for start in range(len(numbers) - width + 1)]
