"""A run folder: what a run writes, and how a run that was cut off finds its place again.

    OUT/manifest.json         config, versions, commit, device, the command
        trajectories.jsonl    what the student did in training
        findings.jsonl        what was wrong in it
        corrections.jsonl     what it was trained on
        metrics.jsonl         a line a round
        judge.jsonl           what a judge answered, where one was asked
        evaluation/           trajectories before and after, and those of the guard after each round
        state/                the student, its optimizer and its teacher after the last round; while the run goes on
        summary.json          the figures that the table is made from
        checkpoint/           the trained model in Hugging Face format

Trajectories are on disk as soon as they are finished. The other lines of a round, and the state, count only together:
what a cut-off round has written of them is written again.
"""

import json
import os
import platform
import shutil
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch

from distill.config import Config
from envs import Archive, Trajectory, read_records, read_trajectories
from envs.manifest import commit
from tools.command import InputError

PER_ROUND = ("findings", "corrections", "metrics")
NO_CONFIG = ("out", "resume")
"""Options that may differ when a run is resumed."""


class State(NamedTuple):
    """A saved state: how many rounds it is after, its folder, and where the run stood."""

    rounds: int
    path: Path
    place: dict[str, Any]


class Folder:
    """One run's folder. It is made, or opened again, only when everything about the config is right."""

    def __init__(self, config: Config, *, ranks: int = 1, writes: bool = True) -> None:
        self.path, self.ranks, self.writes = config.out, ranks, writes
        self.manifest = self.path / "manifest.json"
        if config.resume:
            self._check_same(config)
        elif self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            also = ", add --resume to go on with the run in it," if self.manifest.is_file() else ""
            raise InputError(f"{self.path} is there already: choose another folder for --out{also} or remove it")

    def _check_same(self, config: Config) -> None:
        """Raises InputError unless the folder holds a run of this very config."""
        if not self.manifest.is_file():
            raise InputError(f"{self.path} holds no run to resume: it has no manifest.json; leave out --resume")
        try:
            record = json.loads(self.manifest.read_text(encoding="utf-8"))
            theirs: dict[str, Any] = record["config"]
            began: int = record.get("ranks", 1)
        except (ValueError, KeyError) as error:
            raise InputError(f"{self.manifest} can't be read ({error}): choose another folder for --out") from error
        if began != self.ranks:
            raise InputError(
                f"{self.path} holds a run of {began} processes, and this is one of {self.ranks}: go on with "
                f"torchrun --nproc-per-node (times --nnodes) {began}, or choose another folder"
            )
        # An option that did not exist when the run was begun was at what is its default now.
        ours, theirs = _flat(recorded(config)), {**_flat(recorded(Config(out=Path()))), **_flat(theirs)}
        differ = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
        if differ:
            said = ", ".join(f"{name} was {theirs.get(name)}, is {ours.get(name)}" for name in differ)
            raise InputError(f"{self.path} holds a run of another config: {said}; use its options, or another folder")

    def open(self, config: Config) -> None:
        """Begin the run's folder; of one that is resumed, take back what was written since its last state."""
        if not self.writes:
            return
        self.path.mkdir(parents=True, exist_ok=True)
        if not config.resume:
            self.write_json("manifest.json", {**manifest(config), "ranks": self.ranks})
        elif not (self.path / "summary.json").is_file():
            self._take_back()

    def _take_back(self) -> None:
        last = self.last_state()
        for name in PER_ROUND:
            length = last.place["lengths"][name] if last else 0
            if self._length(name) > length:
                os.truncate(self.path / f"{name}.jsonl", length)

    def archive(self, name: str) -> AbstractContextManager[Archive | None]:
        """The file to append to; none for a process that doesn't write."""
        return Archive(self.path / f"{name}.jsonl") if self.writes else nullcontext()

    def append(self, name: str, records: Iterable[Mapping[str, Any]]) -> None:
        if self.writes:
            with Archive(self.path / f"{name}.jsonl") as archive:
                for record in records:
                    archive.write(record)

    def trajectories(self, name: str) -> list[Trajectory]:
        """What a file of trajectories holds so far."""
        path = self.path / f"{name}.jsonl"
        return list(read_trajectories(path)) if path.is_file() else []

    def write_json(self, name: str, record: Mapping[str, Any]) -> None:
        """Write a file whole or not at all."""
        if not self.writes:
            return
        path = self.path / name
        unfinished = path.with_name(f"{name}.unfinished")
        unfinished.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(unfinished, path)

    def read_json(self, name: str) -> dict[str, Any] | None:
        path = self.path / name
        if not path.is_file():
            return None
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return record

    def metrics(self) -> list[dict[str, Any]]:
        path = self.path / "metrics.jsonl"
        return list(read_records(path)) if path.is_file() else []

    def new_state(self) -> Path:
        """An empty folder to save a state in. It counts once `keep_state` has been told of it."""
        unfinished = self.path / "state" / "unfinished"
        if self.writes:
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
        return unfinished

    def keep_state(self, number: int, place: Mapping[str, Any]) -> None:
        """The new state is that after `number` rounds; `place` says where the run stands. Older states go."""
        if not self.writes:
            return
        unfinished = self.path / "state" / "unfinished"
        lengths = {name: self._length(name) for name in PER_ROUND}
        (unfinished / "place.json").write_text(json.dumps({**place, "lengths": lengths}), encoding="utf-8")
        target = self.state(number)
        os.replace(unfinished, target)
        self._remove_states(other_than=target)

    def last_state(self) -> "State | None":
        numbers = [int(path.name) for path in (self.path / "state").glob("[0-9]*")]
        if not numbers:
            return None
        path = self.state(max(numbers))
        return State(max(numbers), path, json.loads((path / "place.json").read_text(encoding="utf-8")))

    def state(self, number: int) -> Path:
        """The folder of the state after `number` rounds."""
        return self.path / "state" / f"{number:04d}"

    def drop_states(self) -> None:
        """A finished run needs no state."""
        if not self.writes:
            return
        shutil.rmtree(self.path / "state", ignore_errors=True)

    def _remove_states(self, other_than: Path) -> None:
        for path in (self.path / "state").glob("[0-9]*"):
            if path != other_than:
                shutil.rmtree(path)

    def _length(self, name: str) -> int:
        path = self.path / f"{name}.jsonl"
        return path.stat().st_size if path.is_file() else 0


def recorded(config: Config) -> dict[str, Any]:
    """A config as the manifest has it; without what may differ when the run is resumed."""
    record: dict[str, Any] = json.loads(json.dumps(asdict(config), default=str))
    return {name: value for name, value in record.items() if name not in NO_CONFIG}


def _flat(record: Mapping[str, Any]) -> dict[str, Any]:
    """A config's record by the names that its options have on the command line, without their dashes in front."""
    flat: dict[str, Any] = {}
    for name, value in record.items():
        parts = value if isinstance(value, dict) else {name: value}
        prefix = "band." if name == "band" else ""
        flat |= {f"{prefix}{part}".replace("_", "-"): given for part, given in parts.items()}
    return flat


def manifest(config: Config) -> dict[str, Any]:
    """What it takes to do this run again. Seeds of tasks are [start, stop)."""
    packages = ("torch", "transformers", "accelerate", "renderers", "gymnasium", "jsonschema")
    return {
        "schema_version": 1,
        "config": recorded(config),
        "seeds": {
            "training": [config.training_seeds(0).start, config.training_seeds(config.rounds - 1).stop],
            "guard": [config.guard_seeds.start, config.guard_seeds.stop],
            "test": [0, config.tasks],
            "held_out": [0, config.held_out_tasks],
        },
        "command": " ".join(["python -m distill", "--out", str(config.out), *options(config)]),
        "commit": commit(),
        "versions": {"python": platform.python_version(), **{package: version(package) for package in packages}},
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "threads": torch.get_num_threads(),
    }


def options(config: Config) -> Iterable[str]:
    """The options of a command line that differ from their defaults, without the folder."""
    defaults = _flat(recorded(Config(out=Path())))
    for option, given in _flat(recorded(config)).items():
        if given != defaults[option]:
            yield f"--{option}"
            if given is not True:
                yield from map(str, given) if isinstance(given, list) else [str(given)]
