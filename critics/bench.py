"""How fast the linter is: `python -m critics bench FILE`, or `--make MB` for a file of trajectories made here.

All rules run over the file, reading included, as they do for `python -m critics FILE`. Beside it, in the same
process, a plain loop reads each line with `json` and asks `jsonschema` validators that are compiled once per tool
whether the arguments fit. Of a form that it can't read so (anything but OpenAI's messages in JSONL without a fault),
it gets what the linter's own reader makes of it: `reference_reader` says which. Both are measured in CPU seconds.
`peak_mb` is the process's memory after the linter's pass.

Left out: what a report or a findings file takes.
"""

import json
import resource
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path
from time import process_time
from typing import Annotated, Any

import tyro
from jsonschema import Draft202012Validator

from critics.formats import NOT_OF_THE_FORM, Unreadable, read_logs
from critics.rules import criticize
from envs import Archive
from envs.policies.scripted import HabitualPolicy
from envs.rollout import rollout
from tools.command import InputError

MADE_OF = ("store-v1", "analyst-v0", "store-v0")
SEEDS, MISTAKES = 100, 0.05


@dataclass(frozen=True, slots=True)
class Config:
    """Measure the linter against a plain loop over jsonschema."""

    file: Annotated[tyro.conf.Positional[Path | None], tyro.conf.arg(metavar="FILE")] = None
    """Trajectories in JSONL; without one, some are made."""
    make: int = 20
    """Without a FILE: the size of the file that is made, in MB."""
    json: bool = False
    """Print the figures as JSON."""

    def __call__(self) -> None:
        if self.file is not None:
            self._show(measured(self.file))
            return
        if self.make < 1:
            raise InputError(f"expected a size of at least 1 MB, came {self.make}")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "made.jsonl"
            write_worlds(path, self.make * 1_000_000)
            self._show(measured(path))

    def _show(self, speed: "Speed") -> None:
        if self.json:
            print(json.dumps(asdict(speed), indent=2))
        else:
            print(
                f"{speed.mb:.0f} MB, {speed.trajectories} trajectories, {speed.calls} calls, "
                f"{speed.findings} findings\n"
                f"all rules    {speed.calls_per_cpu_s:>9,.0f} calls per CPU second\n"
                f"jsonschema   {speed.reference_calls_per_cpu_s:>9,.0f}  (read by {speed.reference_reader})\n"
                f"ratio        {speed.ratio:>9.2f}\n"
                f"peak memory  {speed.peak_mb:>9,.0f} MB"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """What was measured on a file."""

    mb: float
    trajectories: int
    calls: int
    findings: int
    calls_per_cpu_s: float
    reference_calls_per_cpu_s: float
    reference_reader: str
    ratio: float
    peak_mb: float


def measured(path: Path) -> Speed:
    """Both passes over a file. Raises InputError for a file without calls."""
    (trajectories, findings), took = _timed(lambda: _lint(path))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    reader, calls, reference_took = _reference(path)
    if not calls:
        raise InputError(f"{path} has no calls: nothing can be measured on it")
    return Speed(
        mb=round(path.stat().st_size / 1e6, 1),
        trajectories=trajectories,
        calls=calls,
        findings=findings,
        calls_per_cpu_s=round(calls / took, 1),
        reference_calls_per_cpu_s=round(calls / reference_took, 1),
        reference_reader=reader,
        ratio=round(reference_took / took, 2),
        peak_mb=round(peak / (1e6 if sys.platform == "darwin" else 1024), 1),
    )


def _timed(work: Callable[[], tuple[int, int]]) -> tuple[tuple[int, int], float]:
    began = process_time()
    return work(), max(process_time() - began, 1e-9)


def _reference(path: Path) -> tuple[str, int, float]:
    """Who read for the plain loop, the calls that it saw, and the seconds that it took."""
    try:
        (calls, _), took = _timed(lambda: plain_loop(_by_json(path)))
    except (ValueError, LookupError, TypeError, AttributeError):
        calls = 0
    if calls:
        return "json", calls, took
    (calls, _), took = _timed(lambda: plain_loop(_by_ours(path)))
    return "ours", calls, took


def _lint(path: Path) -> tuple[int, int]:
    trajectories = findings = 0
    for part in read_logs(path):
        if isinstance(part, Unreadable):
            continue
        try:
            findings += len(criticize(part[1]))
        except NOT_OF_THE_FORM:
            continue
        trajectories += 1
    return trajectories, findings


Log = tuple[Sequence[Any], Sequence[Any]]
"""The tools and the messages of a trajectory."""


def _by_json(path: Path) -> Iterator[Log]:
    with path.open(encoding="utf-8", errors="surrogateescape") as lines:
        for line in filter(str.strip, lines):
            record = json.loads(line)
            yield record.get("tools") or (), record["messages"]


def _by_ours(path: Path) -> Iterator[Log]:
    for part in read_logs(path):
        if not isinstance(part, Unreadable):
            yield part[1].tools, part[1].messages


def plain_loop(logs: Iterable[Log]) -> tuple[int, int]:
    """What anybody would write first: the calls of logs, and how many of them jsonschema or the list refuses."""
    calls = refused = 0
    compiled: dict[str, Any] = {}
    for tools, messages in logs:
        known = dict(validators(tools, compiled))
        for message in messages:
            for call in message.get("tool_calls") or ():
                calls += 1
                refused += not fits(call["function"], known)
    return calls, refused


def validators(tools: Sequence[Any], compiled: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """A validator for each tool by name; `compiled` has those of schemas that came before."""
    for tool in tools:
        function = tool.get("function", tool)
        schema = function.get("parameters") or {}
        text = json.dumps(schema)
        if text not in compiled:
            compiled[text] = Draft202012Validator(schema)
        yield function["name"], compiled[text]


def fits(function: Mapping[str, Any], known: Mapping[str, Any]) -> bool:
    validator = known.get(function["name"])
    if validator is None:
        return False
    try:
        arguments = function["arguments"]
        value = json.loads(arguments) if isinstance(arguments, str) else arguments
        return next(validator.iter_errors(value), None) is None
    except Exception:  # no JSON, or a schema that jsonschema can't read
        return False


def write_worlds(path: Path, size: int, seeds: int = SEEDS) -> None:
    """A file of about so many bytes: habitual rollouts of the worlds here, over and over under other ids."""
    records = [
        trajectory.to_json()
        for world in MADE_OF
        for trajectory in rollout(HabitualPolicy(MISTAKES), world, range(seeds))
    ]
    with Archive(path) as archive:
        for number, record in enumerate(cycle(records)):
            archive.write({**record, "id": f"{record['id']}/{number}"})
            if path.stat().st_size >= size:
                return


def main(arguments: Sequence[str]) -> None:
    tyro.cli(
        Config,
        prog="python -m critics bench",
        description="Calls checked per CPU second, with all rules, beside a plain loop over jsonschema.",
        args=arguments,
        config=(tyro.conf.FlagCreatePairsOff,),
    )()
