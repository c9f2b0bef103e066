"""Intervals of whole numbers: pairs of a start and an end, the end not included."""

from collections.abc import Iterable

Interval = tuple[int, int]


def merge_intervals(intervals: Iterable[Interval]) -> list[Interval]:
    """The same ground in as few intervals as it takes, in order. Those that touch become one; empty ones go."""
    merged: list[Interval] = []
    for start, end in sorted(intervals):
        if start >= end:
            continue
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def total_length(intervals: Iterable[Interval]) -> int:
    """How much is covered; what is covered twice counts once."""
    return sum(end - start for start, end in merge_intervals(intervals))


def find_gaps(intervals: Iterable[Interval], within: Interval) -> list[Interval]:
    """What the intervals leave free of another one."""
    gaps = []
    position, stop = within
    for start, end in merge_intervals(intervals):
        if start > position:
            gaps.append((position, min(start, stop)))
        position = max(position, end)
        if position >= stop:
            return gaps
    gaps.append((position, stop))
    return gaps


def overlaps(first: Interval, second: Interval) -> bool:
    """Whether two intervals have a number in common."""
    return first[0] < second[1] and second[0] < first[1]
