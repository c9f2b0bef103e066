"""A suite: what a team evaluates every night, in a TOML file, and the bars that an error rate may not pass.

    env = ["store-v1"]
    policy = ["expert", "runs/demo/checkpoint"]
    tasks = 50
    k = 4
    max_error_rate = { invalid = 0.1, nonexistent_tool = 0.01 }

The names are those of the options; an option on the command line comes on top.
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from critics.rates import Rate
from eval.leaderboard import Leaderboard
from tools import ErrorCode
from tools.command import InputError, did_you_mean

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

INVALID = "invalid"
"""The name of the bar for all invalid calls."""


Options = TypeVar("Options")


def read_suite(path: Path, form: type[Options], known: Sequence[str]) -> Options:
    """The options in a suite's file, as `form`, a dataclass, has them by the names in `known`.

    Raises InputError for a file that is no TOML, a name that isn't known, and a value that doesn't fit.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        options = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} can't be read ({error.strerror}): give a suite's TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no TOML: {error}") from error
    for name in options:
        if name not in known:
            raise InputError(f"{path} has no option {name!r} to give: {did_you_mean(name, list(known))}")
    bars = options.get("max_error_rate")
    if isinstance(bars, Mapping):
        options["max_error_rate"] = [f"{name}={bar}" for name, bar in bars.items()]
    try:
        return TypeAdapter(form).validate_python(options)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{path}, {first['loc'][0]}: {_wish(first)}, came {first['input']!r}") from error


def _wish(problem: "ErrorDetails") -> str:
    """What pydantic would rather have; a TOML file has lists, not tuples."""
    return problem["msg"].replace("Input should be", "expected").replace("valid tuple", "list")


def bars_of(given: Sequence[str]) -> dict[str, float]:
    """Bars by error code, from `CODE=SHARE`. Raises InputError for another form, code or share."""
    known = [INVALID, *map(str, ErrorCode)]
    bars: dict[str, float] = {}
    for text in given:
        name, _, bar = text.partition("=")
        if name not in known:
            raise InputError(f"no error code {name!r} in --max-error-rate {text}: {did_you_mean(name, known)}")
        try:
            bars[name] = float(bar)
        except ValueError as error:
            raise InputError(f"expected CODE=SHARE, as in nonexistent_tool=0.01, came {text!r}") from error
        if not 0 <= bars[name] <= 1:
            raise InputError(f"expected a share of the calls from 0 to 1, came {text!r}: 5 of 100 calls are 0.05")
    return bars


def passed_bars(boards: Sequence[Leaderboard], bars: Mapping[str, float]) -> Iterator[str]:
    """A line for each rate that is above its bar; the rate itself counts, not its interval."""
    for board in boards:
        for row in board.rows:
            who = f"{row.policy} in {board.env or 'a world that is not known'} ({board.split or 'split not known'})"
            if bars and not row.measured.calls:
                yield f"{who}: no calls, so nothing is known of its errors"
            for name, bar in bars.items():
                rate = row.measured.invalid_per_100 if name == INVALID else row.measured.codes.get(ErrorCode(name))
                if rate is not None and rate.rate > 100 * bar:
                    yield f"{who}: {_share(name, rate)}, allowed {bar:g}"


def _share(name: str, rate: Rate) -> str:
    return f"{name} in {rate.rate / 100:.4f} of the calls ({rate.low / 100:.4f} to {rate.high / 100:.4f})"
