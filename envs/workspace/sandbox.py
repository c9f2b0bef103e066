"""Runs code that isn't trusted in a process of its own, cut off from the rest of the machine as far as it allows.

    Sandbox().run("tests", {"files": {...}, "tests": [...], "name": ""})

There are three kinds; the first that works here is taken, after a look from inside of it (`describe` says which):

- `bubblewrap`: the `bwrap` program where it is installed: no network, no other process, no file but Python's library;
- `namespaces`: the same by Linux namespaces, without another program;
- `limits`: no walls: what it can read is what this user can read.

In each of them memory, time, output and processes are limited, and on Linux on x86-64 a filter of system calls
refuses to write files, start processes, send signals and connect. Left out: what is given up inside (`confine.py`).
"""

import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tools import InfrastructureFault

HERE = Path(__file__).parent
STARTUP_SECONDS = 20.0
ENVIRONMENT = {"PYTHONHASHSEED": "0", "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
"""All that the code's process gets to know of ours. The hash seed keeps the order of sets the same in every run."""


class Kind(StrEnum):
    """What keeps code in."""

    BUBBLEWRAP = "bubblewrap"
    NAMESPACES = "namespaces"
    LIMITS = "limits"


WALLS: Mapping[Kind, str] = {
    Kind.BUBBLEWRAP: "bubblewrap: no network, no other process in sight, no file but Python's library",
    Kind.NAMESPACES: "Linux namespaces: no network, no other process in sight, no file but Python's library",
    Kind.LIMITS: "process limits only: code can read the files that this user can read",
}


class CutOff(Exception):
    """The code was ended, or ended itself, before it was done: its own doing. The text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much code gets: seconds by the clock and of the processor, memory, processes, characters of output.

    `filter` says whether system calls are filtered, where that is possible.
    """

    seconds: int = 10
    memory_mb: int = 512
    processes: int = 32
    output: int = 1_000_000
    filter: bool = True


class Sandbox:
    """A place to run the programs of `inside.py`: of the given kind, or of the best that works here.

    Raises InfrastructureFault where none does, or the one that is asked for doesn't.
    """

    def __init__(self, kind: Kind | None = None, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.kind = kind or best_kind()
        self.seen = look(self.kind, self.limits.filter)

    def describe(self) -> str:
        """What keeps code in here, in a sentence; with what doesn't, where something is missing."""
        missing = [
            text
            for key, text in (("network", "the network"), ("fork", "other programs"), ("files", "this user's files"))
            if self.seen[key]
        ]
        within = f"{self.limits.seconds} s, {self.limits.memory_mb} MB"
        return f"{WALLS[self.kind]}; {within}; " + (
            f"within reach: {', '.join(missing)}" if missing else "no gap known"
        )

    def run(self, program: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """The report of a program. Raises CutOff where the code prevented one."""
        with Session(self.kind, self.limits, program, request) as session:
            report = session.receive()
        if not isinstance(report, dict):
            raise CutOff("it said something else than a report")
        if report.get("cut"):
            raise CutOff(str(report["cut"]))
        return report

    def session(self, program: str, request: Mapping[str, Any]) -> "Session":
        """A running program to talk with."""
        return Session(self.kind, self.limits, program, request)


class Session:
    """A program in a sandbox: requests and answers are lines of JSON. It is ended when its block is left."""

    def __init__(self, kind: Kind, limits: Limits, program: str, request: Mapping[str, Any]) -> None:
        self.limits = limits
        self.buffer = bytearray()
        self.received = 0
        try:
            self.process = subprocess.Popen(
                command(kind, limits, program),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=ENVIRONMENT,
                cwd="/",
                start_new_session=True,
                bufsize=0,
            )
        except OSError as error:
            raise InfrastructureFault(f"the sandbox ({kind}) could not start: {error}") from error
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.stdin, self.stdout = self.process.stdin.fileno(), self.process.stdout.fileno()
        os.set_blocking(self.stdin, False)
        os.set_blocking(self.stdout, False)
        try:
            self.deadline = time.monotonic() + STARTUP_SECONDS
            self._wait_until_ready(kind)
            self.deadline = time.monotonic() + limits.seconds
            self.send(request)
        except BaseException:
            self.close()
            raise

    def _wait_until_ready(self, kind: Kind) -> None:
        try:
            said = self._line().decode("utf-8", "replace")
        except CutOff as error:
            said = str(error)
        if said != "ready":
            raise InfrastructureFault(f"the sandbox ({kind}) could not start: {said.removeprefix('fault ')}")

    def send(self, request: Any) -> None:
        """Raises CutOff if the program is gone or reads nothing before the time is up."""
        data = memoryview(json.dumps(request).encode() + b"\n")
        while data:
            self._until(self.stdin, selectors.EVENT_WRITE)
            try:
                data = data[os.write(self.stdin, data) :]
            except BrokenPipeError:
                raise self._ended() from None

    def receive(self) -> Any:
        """The next line as JSON. Raises CutOff if there is none, it is none, or it comes too late."""
        try:
            return json.loads(self._line())
        except (ValueError, RecursionError):
            raise CutOff("it said something else than a report") from None

    def _line(self) -> bytes:
        searched = 0
        while (end := self.buffer.find(b"\n", searched)) < 0:
            searched = len(self.buffer)
            self._until(self.stdout, selectors.EVENT_READ)
            part = os.read(self.stdout, 1 << 16)
            if not part:
                raise self._ended()
            self.received += len(part)
            if self.received > self.limits.output:
                raise CutOff(f"it said more than {self.limits.output} characters")
            self.buffer += part
        line = bytes(self.buffer[:end])
        del self.buffer[: end + 1]
        return line

    def _until(self, pipe: int, event: int) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, event)
            if not selector.select(max(0.0, self.deadline - time.monotonic())):
                raise self._too_late()

    def _too_late(self) -> CutOff:
        return CutOff(f"it was not done after {self.limits.seconds} seconds")

    def _ended(self) -> CutOff:
        """Why the program is gone. The limit on the processor's time ends it at about the time that the clock does."""
        with suppress(subprocess.TimeoutExpired):
            code = self.process.wait(timeout=1)
            if code in (-signal.SIGXCPU, -signal.SIGKILL, 128 + signal.SIGXCPU, 128 + signal.SIGKILL):
                return self._too_late()
        return CutOff("it ended before it was done")

    def close(self) -> None:
        """End the process and all that it has started."""
        # A namespace's outer process ends what is in it; a signal to the group does not reach who has left the group.
        if self.process.poll() is None:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=0.5)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):
                pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def command(kind: Kind, limits: Limits, program: str) -> list[str]:
    """The command line that starts a program of `inside.py`, confined."""
    python = [os.path.realpath(sys.executable), "-P", "-s", "-S", "-B", "-X", "utf8"]
    if kind is not Kind.BUBBLEWRAP:
        scripts = [str(HERE / "confine.py"), kind.value, json.dumps(asdict(limits)), str(HERE / "inside.py")]
        return [*python, *scripts, program]
    scripts = ["/sandbox/confine.py", Kind.LIMITS.value, json.dumps(asdict(limits)), "/sandbox/inside.py"]
    return [*bubblewrap(), *python, *scripts, program]


def bubblewrap() -> list[str]:
    library = os.path.realpath(os.path.dirname(os.__file__))
    seen = ["/usr", "/lib", "/lib64", "/bin", os.path.dirname(library), os.path.realpath(sys.executable)]
    walls = ["--unshare-all", "--unshare-user", "--die-with-parent", "--uid", "65534", "--gid", "65534"]
    for path in seen:
        if os.path.islink(path):
            walls += ["--symlink", os.readlink(path), path]
        elif os.path.exists(path):
            walls += ["--ro-bind", path, path]
    for name in ("confine.py", "inside.py"):
        walls += ["--ro-bind", str(HERE / name), f"/sandbox/{name}"]
    return [shutil.which("bwrap") or "bwrap", *walls, "--remount-ro", "/", "--chdir", "/", "--"]


@lru_cache(maxsize=16)
def look(kind: Kind, filtered: bool) -> Mapping[str, bool]:
    """What code can see and do in a sandbox of this kind, found out from inside. Raises InfrastructureFault where the
    kind doesn't work, or doesn't keep in what it should."""
    if kind is Kind.BUBBLEWRAP and shutil.which("bwrap") is None:
        raise InfrastructureFault("bwrap is not installed")
    limits = Limits(filter=filtered)
    try:
        with Session(kind, limits, "look", {}) as session:
            seen = session.receive()
    except CutOff as error:
        raise InfrastructureFault(f"the sandbox ({kind}) does not work: {error}") from error
    if not seen["libraries"]:
        raise InfrastructureFault(f"the sandbox ({kind}) can't read Python's library")
    if kind is not Kind.LIMITS and (seen["files"] or seen["network"]):
        raise InfrastructureFault(f"the sandbox ({kind}) lets through what it should keep in: {seen}")
    return dict(seen)


@lru_cache(maxsize=1)
def best_kind() -> Kind:
    """The first kind that works here."""
    reasons = []
    for kind in Kind:
        try:
            look(kind, True)
        except InfrastructureFault as fault:
            reasons.append(str(fault))
        else:
            return kind
    raise InfrastructureFault(f"no sandbox works here: {'; '.join(reasons)}")
