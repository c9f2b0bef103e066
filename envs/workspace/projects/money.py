"""Amounts of money in cents."""

import re

SIGN = "$"


def parse_amount(text: str) -> int:
    """Cents of an amount like `1,234.50`, `-3` or `$7.5`; ValueError for anything else."""
    match = re.fullmatch(r"(-?)\$?(\d{1,3}(?:,\d{3})+|\d+)(?:\.(\d{1,2}))?", text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no amount")
    minus, whole, part = match.groups()
    cents = int(whole.replace(",", "")) * 100 + int((part or "0").ljust(2, "0"))
    return -cents if minus else cents


def format_amount(cents: int) -> str:
    """An amount with the currency's sign, two digits for the cents and commas between the thousands."""
    minus = "-" if cents < 0 else ""
    whole, part = divmod(abs(cents), 100)
    return f"{minus}{SIGN}{whole:,}.{part:02}"


def split_evenly(cents: int, people: int) -> list[int]:
    """Shares that add up to the amount and differ by a cent at most, the larger ones first."""
    if people < 1:
        raise ValueError("somebody has to pay")
    share, rest = divmod(cents, people)
    return [share + 1] * rest + [share] * (people - rest)


def add_tax(cents: int, percent: int) -> int:
    """The amount with a tax on it, rounded to the nearest cent, half a cent upwards."""
    return cents + (cents * percent + 50) // 100
