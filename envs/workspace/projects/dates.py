"""Reckoning with days and months."""

from calendar import monthrange
from collections.abc import Iterator
from datetime import date, timedelta

SATURDAY = 5


def date_range(first: date, last: date, step: int = 1) -> Iterator[date]:
    """Every `step`-th day from the first to the last, both included."""
    if step < 1:
        raise ValueError("a step is at least one day")
    day = first
    while day <= last:
        yield day
        day += timedelta(days=step)


def add_months(day: date, months: int) -> date:
    """The same day of a later (or earlier) month; its last day where the month is too short."""
    count = day.year * 12 + day.month - 1 + months
    year, month = divmod(count, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


def count_workdays(first: date, last: date) -> int:
    """How many of the days from the first to the last, both included, are no Saturday and no Sunday."""
    return sum(day.weekday() < SATURDAY for day in date_range(first, last))


def quarter_of(day: date) -> int:
    """The quarter of the year, from 1 to 4."""
    return (day.month - 1) // 3 + 1


def last_of_month(day: date) -> date:
    """The last day of the month."""
    return day.replace(day=monthrange(day.year, day.month)[1])
