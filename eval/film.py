"""A file of trajectories as something to look at: by number, each read and criticized only when it is asked for.

Beside a run's `trajectories.jsonl` its `corrections.jsonl` is read too.
Left out: findings that stand in files; the critics find them again.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path

from critics.finding import Finding
from envs.trajectory import Message, Trajectory
from eval.leaderboard import criticized
from eval.lines import Lines, json_object
from eval.scored import Corrections, Scored
from tools import ErrorCode
from tools.command import InputError, did_you_mean

_ID = re.compile(rb'\{"id":("(?:[^"\\]|\\.)*")')
"""How a trajectory begins in our own files; finding one by its id then needs no more of the line."""


@dataclass(frozen=True, kw_only=True)
class Review:
    """A trajectory with what the critics found; `number` is its place in the file, from 0."""

    number: int
    trajectory: Trajectory
    findings: Sequence[Finding]
    scored: Mapping[int, Scored]

    @cached_property
    def turns(self) -> list[int]:
        """The indices of the messages that are turns."""
        messages = enumerate(self.trajectory.messages)
        return [index for index, message in messages if message.get("role") == "assistant"]

    def found(self, message_index: int) -> list[Finding]:
        return [finding for finding in self.findings if finding.message_index == message_index]

    def heard(self, turn: int) -> Sequence[Message]:
        """What came after a turn, up to the next one."""
        messages, later = self.trajectory.messages, self.turns[turn + 1 :]
        return messages[self.turns[turn] + 1 : later[0] if later else len(messages)]

    def says(self, turn: int, text: str) -> bool:
        """Whether a turn, or what came right before or after it, has a text in it, however it is spelt."""
        first = self.turns[turn - 1] + 1 if turn else 0
        messages = [*self.trajectory.messages[first : self.turns[turn] + 1], *self.heard(turn)]
        return text.casefold() in json.dumps(messages, ensure_ascii=False).casefold()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which trajectories to show; of those, every one of an empty `Wanted`. `code` and `errors` are about findings."""

    errors: bool = False
    code: str | None = None
    id: str | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        codes = [str(code) for code in ErrorCode]
        if self.code is not None and self.code not in codes:
            raise InputError(f"no error code {self.code!r}: {did_you_mean(self.code, codes)}")

    def is_task(self, trajectory: Trajectory) -> bool:
        return self.id in (None, trajectory.id) and self.seed in (None, trajectory.task.get("seed"))

    def is_error(self, finding: Finding) -> bool:
        return self.code in (None, finding.code)

    def __str__(self) -> str:
        parts = ("with id " + repr(self.id)) * (self.id is not None), f"of seed {self.seed}" * (self.seed is not None)
        of_findings = f"with {self.code}" if self.code else "with an error" * self.errors
        return " ".join(part for part in (*parts, of_findings) if part)


class Film:
    """The trajectories of a file, or of a run folder's training, of which some are wanted."""

    def __init__(self, source: Path, wanted: Wanted | None = None) -> None:
        self.path, self.wanted = _trajectories_of(source), wanted or Wanted()
        self.lines = Lines(self.path)
        beside = self.path.with_name("corrections.jsonl")
        self.corrections = Corrections(beside if self.path.name == "trajectories.jsonl" else None)
        self.ids: dict[str, int] = {}
        if self.lines.at(0) is None:
            raise InputError(f"{self.path} has no trajectories: give a JSONL file with one in each line")

    def review(self, number: int) -> Review | None:
        """The trajectory of a number, wanted or not; None past the end. Raises InputError for a line that is none."""
        trajectory = self._trajectory(number)
        return None if trajectory is None else self._reviewed(number, trajectory)

    def onwards(self, number: int, step: int = 1) -> Iterator[Review]:
        """The wanted trajectories from a number on, or from it back to the first one (`step` -1)."""
        for at in count(number) if step > 0 else range(number, -1, -1):
            trajectory = self._trajectory(at)
            if trajectory is None:
                return
            if self.wanted.is_task(trajectory):
                review = self._reviewed(at, trajectory)
                found = any(map(self.wanted.is_error, review.findings))
                if found or not (self.wanted.errors or self.wanted.code):
                    yield review

    def named(self, trajectory_id: str) -> Review | None:
        """The trajectory of an id, wanted or not; None where there is none."""
        while trajectory_id not in self.ids:
            number = len(self.ids)
            line = self.lines.at(number)
            if line is None:
                return None
            start = _ID.match(line[1])
            # A second one of this id is counted under a name that no id has.
            found = json.loads(start[1]) if start else str(json_object(line[1], str(self.path)).get("id"))
            self.ids[found if found not in self.ids else f"{number}\0{found}"] = number
        return self.review(self.ids[trajectory_id])

    def share(self, number: int) -> float:
        """How far into the file a trajectory begins."""
        return self.lines.places[number][1] / max(1, self.path.stat().st_size)

    def _trajectory(self, number: int) -> Trajectory | None:
        line = self.lines.at(number)
        if line is None:
            return None
        where = f"{self.path}:{line[0]}"
        record = json_object(line[1], where)
        try:
            trajectory = Trajectory.from_json(record)
        except (ValueError, TypeError) as error:
            raise InputError(f"{where}: {error}") from error
        if not isinstance(trajectory.task, Mapping):
            raise InputError(f"{where}: expected task to be an object, came {trajectory.task!r:.80}")
        return trajectory

    def _reviewed(self, number: int, trajectory: Trajectory) -> Review:
        findings = criticized(trajectory, f"{self.path}:{self.lines.places[number][0]}")
        at = {finding.message_index: self.corrections.of(trajectory.id, finding.message_index) for finding in findings}
        scored = {index: correction for index, correction in at.items() if correction}
        return Review(number=number, trajectory=trajectory, findings=findings, scored=scored)


def evaluations(source: Path, wanted: Wanted | None = None) -> tuple[Film, Film]:
    """What a run's policy did before and after on the same tasks. Raises InputError for a folder without both."""
    before, after = (source / "evaluation" / f"{when}-test.jsonl" for when in ("before", "after"))
    if not before.is_file():
        raise InputError(f"{source} has no evaluation: give a run folder, or a file and another one with --after")
    if not after.is_file():
        raise InputError(f"{source} has no evaluation after training: its run is still going on, or was a dry run")
    return Film(before, wanted), Film(after)


def _trajectories_of(source: Path) -> Path:
    if not source.is_dir():
        return source
    path = source / "trajectories.jsonl"
    if path.is_file():
        return path
    if (source / "manifest.json").is_file():
        first = source / "evaluation" / "before-test.jsonl"
        so_far = f"; so far there is: python -m eval replay {first}" if first.is_file() else ""
        raise InputError(f"{source} has no trajectories.jsonl yet: its run is still at its first evaluation{so_far}")
    raise InputError(f"{source} is no run folder: give a folder that python -m distill wrote, or a JSONL file")
