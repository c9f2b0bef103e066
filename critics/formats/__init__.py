"""Logs of agents in the forms that people have, read as trajectories.

A file's form is told from its first record that has one; from then on every record goes straight to that form's reader.
What can't be read is handed on with its line and the reason, and the rest is read. A new form is a file beside this one
and an entry in `FORMS`. Left out: what is wrong with a trajectory (`critics.rules`).
"""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from msgspec import Struct

from critics.formats.anthropic_blocks import ANTHROPIC
from critics.formats.bfcl_results import BFCL
from critics.formats.form import Form, Refused
from critics.formats.openai_chat import HINTSIGHT, OPENAI
from critics.formats.records import Broken, Line, Record, records
from critics.formats.tau2_results import TAU2
from critics.formats.tau_bench_results import TAU
from critics.formats.verifiers_traces import VERIFIERS
from envs import Trajectory
from envs.archive import BUFFER
from tools.command import InputError, did_you_mean

__all__ = [
    "FORMS",
    "NOT_OF_THE_FORM",
    "Form",
    "Place",
    "Unreadable",
    "form_named",
    "read_logs",
    "readable",
    "reason_of",
]

FORMS: Mapping[str, Form] = {form.name: form for form in (HINTSIGHT, TAU2, TAU, VERIFIERS, BFCL, ANTHROPIC, OPENAI)}
"""The forms by name, in the order in which a record is tried: the one that asks least comes last."""

STDIN = "-"


class Place(Struct, frozen=True):
    """Where in which file something stands."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A place that no trajectory could be read from, and why. One that is `cut_off` may only not be written yet."""

    place: Place
    reason: str
    cut_off: bool = False


def form_named(name: str) -> Form:
    """The form of a name. Raises InputError for a name that none has."""
    if name not in FORMS:
        raise InputError(f"{name!r} is no form of logs: {did_you_mean(name, list(FORMS))}")
    return FORMS[name]


def read_logs(
    path: Path, form: Form | None = None, tools: Sequence[Mapping[str, Any]] = ()
) -> Iterator[tuple[Place, Trajectory] | Unreadable]:
    """The trajectories of a file (`-` is standard input) in its order, each with its place.

    `form` is told from the content unless it is given. `tools` are offered where the log doesn't say which were.
    Raises InputError for a file that can't be opened.
    """
    lists = frozenset[str]().union(*(known.lists for known in FORMS.values()))
    name = str(path)
    with _opened(path) as stream:
        for record in records(stream, lists):
            place = Place(name, record.line)
            quick = form.quickly(record) if form is not None and isinstance(record, Line) else None
            if form is not None and quick is not None:
                try:
                    yield place, _made(quick, tools)
                except NOT_OF_THE_FORM as error:
                    yield _unread(form, place, error)
                continue
            part = record.read() if isinstance(record, Line) else record
            if isinstance(part, Broken):
                yield Unreadable(place=place, reason=part.reason, cut_off=part.cut_off)
                continue
            form = form or _form_of(part)
            if form is None:
                yield Unreadable(place=place, reason=_unknown(part.value))
            else:
                yield from _trajectories(form, place, part, tools)


def _trajectories(
    form: Form, place: Place, record: Record, tools: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[Place, Trajectory] | Unreadable]:
    """The trajectories of a record."""
    try:
        for part in form.read(record):
            if isinstance(part, Refused):
                yield Unreadable(place=place, reason=part.reason)
            else:
                yield place, _made(part, tools)
    except NOT_OF_THE_FORM as error:
        yield _unread(form, place, error)


def _made(part: Mapping[str, Any], tools: Sequence[Mapping[str, Any]]) -> Trajectory:
    return Trajectory.from_json({**part, "tools": tools} if tools and not part.get("tools") else part)


NOT_OF_THE_FORM = (ValueError, TypeError, KeyError, AttributeError, RecursionError)
"""What is raised for a record that is not of the form it is read or criticized as."""


def _unread(form: Form, place: Place, error: Exception) -> Unreadable:
    return Unreadable(place=place, reason=f"no {form.title}: {reason_of(error)}")


def _opened(path: Path) -> AbstractContextManager[IO[bytes]]:
    if str(path) == STDIN:
        return nullcontext(sys.stdin.buffer)
    try:
        return path.open("rb", buffering=BUFFER)
    except OSError as error:
        raise InputError(f"{path} is no file that can be read ({error.strerror}): give the path of a log") from error


def _form_of(record: Record) -> Form | None:
    return next((form for form in FORMS.values() if form.looks_like(record)), None)


def _unknown(value: Any) -> str:
    members = ", ".join(map(str, value)) if isinstance(value, dict) else ""
    came = f"an object with {members or 'nothing in it'}" if isinstance(value, dict) else type(value).__name__
    return f"no form that is known, came {came[:200]}: name it with --format ({', '.join(FORMS)})"


def reason_of(error: Exception) -> str:
    """What an error says, on a line that isn't too long."""
    text = f"{error} is missing" if isinstance(error, KeyError) else str(error)
    return text if len(text) <= 300 else f"{text[:300]}..."


def readable(paths: Iterable[Path]) -> None:
    """Raise InputError for the first of some files that isn't there, before any work."""
    for path in paths:
        if str(path) != STDIN and not path.is_file():
            raise InputError(f"{path} is no file: give the path of a log, or - for standard input")
