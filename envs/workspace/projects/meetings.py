"""Finding a time to meet. Times are minutes after midnight."""

from envs.workspace.projects.durations import clock_time
from envs.workspace.projects.intervals import find_gaps, merge_intervals

OPENING, CLOSING = 540, 1020
"""From 09:00 to 17:00."""

Slot = tuple[int, int]


def free_slots(booked: list[Slot], minutes: int) -> list[Slot]:
    """The free times between OPENING and CLOSING that are long enough."""
    gaps = find_gaps(booked, (OPENING, CLOSING))
    return [(start, end) for start, end in gaps if end - start >= minutes]


def first_slot(booked: list[Slot], minutes: int) -> str | None:
    """When a meeting of so many minutes can begin at the earliest, like 09:30; None where it can't."""
    slots = free_slots(booked, minutes)
    return clock_time(slots[0][0]) if slots else None


def busiest(calendars: dict[str, list[Slot]]) -> str:
    """Who has the most minutes booked; the first by the alphabet where several have."""
    return min(calendars, key=lambda name: (-_booked_minutes(calendars[name]), name))


def _booked_minutes(booked: list[Slot]) -> int:
    return sum(end - start for start, end in merge_intervals(booked))


def common_slots(calendars: dict[str, list[Slot]], minutes: int) -> list[Slot]:
    """The times at which nobody has anything."""
    everything = [slot for booked in calendars.values() for slot in booked]
    return free_slots(everything, minutes)
