"""How good the rules are on logs of real agents, by their environments' own words: `python -m critics score FILE`.

A log is OpenAI's chat messages in JSONL, each line with what somebody has gathered of the environment's answers:

    "env_error_calls": [[message, call, category, words], ...]   the calls that it answered with an error
    "skip_calls": [[message, call], ...]                         calls that don't count; may miss

An error of category `env_state` or `env_infra` is about the world or the machine; one of any other category rejects
the call for its form. *Recall* is the share of rejected calls that a checker calls invalid, *precision* the share of
the calls that it calls invalid which the environment answered with an error of any category. The checkers are the rules
(certain findings, and with warnings) and the plain loop over jsonschema of `critics.bench`. A call that has neither an
answer nor an entry is left out. How true the figures are depends on who gathered the errors, and how.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.table import Table

from critics.bench import fits, validators
from critics.finding import CERTAIN
from critics.formats import readable, reason_of
from critics.rates import Rate
from critics.rules import criticize
from envs import Trajectory, calls_of
from tools import INVALID_CALL_CODES
from tools.command import InputError

NOT_FORM = frozenset({"env_state", "env_infra"})
COUNTED = ("calls", "errors", "rejected")
CHECKERS = ("rules", "with warnings", "jsonschema")

Place = tuple[int, int]
"""The message and the call in it."""


@dataclass(frozen=True, slots=True)
class Config:
    """How many of the calls that environments rejected are found, and how many that are found were rejected."""

    files: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="FILE...")]
    """OpenAI's chat messages in JSONL with `env_error_calls`."""
    json: bool = False
    """Print the figures as JSON."""

    def __call__(self) -> None:
        if not self.files:
            raise InputError("no file given: give chat messages with env_error_calls")
        scores = {str(file): scored(file) for file in self.files}
        if self.json:
            print(json.dumps({name: figures(score) for name, score in scores.items()}, indent=2))
        else:
            Console(highlight=False, markup=False, emoji=False).print(_table(scores))


def scored(file: Path) -> Counter[str]:
    """The counts of a file. Raises InputError for a line that is not of the form."""
    counts: Counter[str] = Counter()
    compiled: dict[str, Any] = {}
    readable((file,))
    with file.open(encoding="utf-8", errors="surrogateescape") as lines:
        for number, line in enumerate(lines, 1):
            try:
                counts.update(_scored(json.loads(line), compiled) if line.strip() else ())
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
                raise InputError(f"{file}:{number}: no messages with env_error_calls: {reason_of(error)}") from error
    return counts


def _scored(record: Mapping[str, Any], compiled: dict[str, Any]) -> Iterator[str]:
    """What there is to count of a trajectory: of each call its kinds, and the same of those that a checker finds."""
    trajectory = Trajectory.from_json(record)
    errors = {(message, call): category for message, call, category, *_ in record["env_error_calls"]}
    skipped = {(message, call) for message, call in record.get("skip_calls") or ()}
    found = dict(zip(CHECKERS, (*_by_rules(trajectory), _by_jsonschema(trajectory, compiled)), strict=True))
    for place in _answered(trajectory) | errors.keys():
        if place in skipped:
            continue
        kinds = ["calls"]
        if place in errors:
            kinds += ["errors"] if errors[place] in NOT_FORM else ["errors", "rejected"]
        yield from kinds
        yield from (f"{checker}: {kind}" for checker in CHECKERS if place in found[checker] for kind in kinds)


def _answered(trajectory: Trajectory) -> set[Place]:
    ids = {message.get("tool_call_id") for message in trajectory.messages if message.get("role") == "tool"}
    return {place for place, call in _calls(trajectory) if call.get("id") in ids}


def _calls(trajectory: Trajectory) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    for index, message in enumerate(trajectory.messages):
        for number, call in enumerate(calls_of(message)):
            yield (index, number), call


def _by_rules(trajectory: Trajectory) -> tuple[set[Place], set[Place]]:
    """The calls that the rules call invalid: those that are certain, and these with the warnings."""
    found = [part for part in criticize(trajectory) if part.code in INVALID_CALL_CODES and part.call_index is not None]
    certain = {(part.message_index, part.call_index or 0) for part in found if part.confidence == CERTAIN}
    return certain, {(part.message_index, part.call_index or 0) for part in found}


def _by_jsonschema(trajectory: Trajectory, compiled: dict[str, Any]) -> set[Place]:
    known = dict(validators(trajectory.tools, compiled))
    return {place for place, call in _calls(trajectory) if not fits(call["function"], known)}


def figures(counts: Mapping[str, int]) -> dict[str, Any]:
    """The counts as JSON has them, with recall and precision of each checker."""
    return {name: counts[name] for name in COUNTED} | {
        checker: {name: rate.to_json() for name, rate in _rates(counts, checker).items()} for checker in CHECKERS
    }


def _rates(counts: Mapping[str, int], checker: str) -> dict[str, Rate]:
    return {
        "recall": Rate.share(counts[f"{checker}: rejected"], counts["rejected"]),
        "precision": Rate.share(counts[f"{checker}: errors"], counts[f"{checker}: calls"]),
    }


def _table(scores: Mapping[str, Counter[str]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("file", overflow="fold")
    for name in ("calls", "errors", "rejected", "checker", "recall", "precision"):
        table.add_column(name, justify="left" if name == "checker" else "right")
    total: Counter[str] = sum(scores.values(), Counter())
    for name, counts in [*scores.items(), *([("all", total)] if len(scores) > 1 else ())]:
        first = [Path(name).name, *(str(counts[key]) for key in COUNTED)]
        for checker in CHECKERS:
            rates = _rates(counts, checker).values()
            table.add_row(*first, checker, *(f"{rate.rate:.3f}" if rate.total else "-" for rate in rates))
            first = [""] * len(first)
    return table


def main(arguments: Sequence[str]) -> None:
    tyro.cli(
        Config,
        prog="python -m critics score",
        description="How many of the calls that environments rejected are found, by the rules and by plain jsonschema.",
        args=arguments,
        config=(tyro.conf.FlagCreatePairsOff,),
    )()
