"""Going on with a file of trajectories: what it holds already, and whether it may take more.

A file is JSONL with one trajectory an id. Where an infrastructure fault ended one, its record stays until it is tried
again; then it is taken out first, in one step, so that no reader ever counts it beside the one that takes its place.
"""

import json
import os
from collections.abc import Collection
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from envs.archive import Archive, read_trajectories
from envs.trajectory import StopReason, Trajectory
from tools.command import InputError


def resume(path: Path, *, env: str = "", policy: str = "") -> tuple[Archive, set[str]]:
    """Open a file to append to; also the ids of the trajectories that it holds.

    With `env` and `policy`, all of these must be of that environment and policy.
    Raises InputError for a file that can't be written or holds something else.
    """
    try:
        if path.exists():
            # A look at the first line before the archive, which may cut off the last one, touches the file.
            for trajectory in islice(read_trajectories(path), 1):
                _check(path, trajectory, env, policy)
        archive = Archive(path)
    except OSError as error:
        raise _unwritable(path, error) from error
    ids = set()
    try:
        for trajectory in read_trajectories(path):
            _check(path, trajectory, env, policy)
            ids.add(trajectory.id)
    except InputError:
        archive.close()
        raise
    return archive, ids


class RolloutFile:
    """A file that a rollout writes to, alone, and goes on with. `finished` are the ids that need no rollout any more.

    Raises InputError as `resume` does, and while another rollout writes to the file.
    """

    def __init__(self, path: Path, *, env: str, policy: str, wanted: Collection[str]) -> None:
        self.path = path
        self._open = ExitStack()
        try:
            self._lock()
            faulted, self.finished = self._held(env, policy)
            if again := faulted & set(wanted):
                self._take_out(again)
            self.faulted = again
            self.archive = self._open.enter_context(Archive(path))
        except BaseException as error:
            self._open.close()
            if isinstance(error, OSError):
                raise _unwritable(path, error) from error
            raise

    def write(self, trajectory: Trajectory) -> None:
        """Append a trajectory; when this returns, it counts."""
        self.archive.write(trajectory.to_json())

    def __enter__(self) -> "RolloutFile":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._open.close()

    def _lock(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = self._open.enter_context(self.path.open("ab"))
        # Another one may have put a new file in its place between the opening and the lock.
        if not _locked(file) or not os.path.samestat(os.fstat(file.fileno()), self.path.stat()):
            raise InputError(f"{self.path} is being written to by another rollout: wait for it, or choose another file")

    def _held(self, env: str, policy: str) -> tuple[set[str], set[str]]:
        """The ids of the trajectories that ended with a fault, and of the others."""
        faulted: set[str] = set()
        finished: set[str] = set()
        for trajectory in read_trajectories(self.path):
            _check(self.path, trajectory, env, policy)
            ids = faulted if trajectory.stop_reason == StopReason.INFRASTRUCTURE_FAULT else finished
            ids.add(trajectory.id)
        return faulted, finished

    def _take_out(self, ids: Collection[str]) -> None:
        """Remove the faulted trajectories of these ids. The file is the old one or the new one, at any moment."""
        Archive(self.path).close()  # ends the last line
        unfinished = self.path.with_name(f"{self.path.name}.unfinished")
        new = self._open.enter_context(unfinished.open("wb"))
        _locked(new)
        with self.path.open("rb") as lines:
            new.writelines(line for line in lines if not _is_fault(line, ids))
        new.flush()
        os.fsync(new.fileno())
        os.replace(unfinished, self.path)


def _is_fault(line: bytes, ids: Collection[str]) -> bool:
    record = json.loads(line) if line.strip() else {}
    return record.get("stop_reason") == StopReason.INFRASTRUCTURE_FAULT and str(record.get("id")) in ids


def _locked(file: BinaryIO) -> bool:
    """Take the file for this process, until it is closed; False where another has it. Windows can't tell."""
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _unwritable(path: Path, error: OSError) -> InputError:
    return InputError(f"{path} can't be written to ({error.strerror}): choose another file")


def _check(path: Path, trajectory: Trajectory, env: str, policy: str) -> None:
    for what, came, wanted in (("environment", trajectory.env, env), ("policy", trajectory.policy, policy)):
        if wanted and came != wanted:
            raise InputError(f"{path} has trajectories of {what} {came!r}, not {wanted!r}: choose another file")
