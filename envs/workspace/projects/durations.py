"""Durations like 1h30m, in seconds."""

import re

SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}


def parse_duration(text: str) -> int:
    """The seconds of a duration like `2d`, `1h 30m` or `45s`; ValueError for anything else."""
    parts = re.findall(r"(\d+)([dhms])", text)
    if not parts or re.sub(r"\d+[dhms]|\s", "", text):
        raise ValueError(f"{text!r} is no duration")
    return sum(int(number) * SECONDS[unit] for number, unit in parts)


def format_duration(seconds: int) -> str:
    """A duration in as large units as it goes; units of which there are none are left out."""
    if seconds < 0:
        raise ValueError("a duration is not negative")
    parts = []
    for unit, size in SECONDS.items():
        number, seconds = divmod(seconds, size)
        if number:
            parts.append(f"{number}{unit}")
    return " ".join(parts) or "0s"


def clock_time(minutes: int) -> str:
    """Minutes after midnight as a time like 09:05; it begins again after a day."""
    hours, rest = divmod(minutes % (24 * 60), 60)
    return f"{hours:02}:{rest:02}"


def minutes_of(time: str) -> int:
    """A time like 09:05 as minutes after midnight; ValueError for one that no clock shows."""
    hours, _, minutes = time.partition(":")
    if not (hours.isdigit() and minutes.isdigit() and int(hours) < 24 and int(minutes) < 60):
        raise ValueError(f"no clock shows {time!r}")
    return int(hours) * 60 + int(minutes)
