"""How fast `eval` is, on files that are made for it: `python -m eval bench`.

The files hold trajectories that are written again and again under other names: those of `--of`, or else rollouts of the
scripted policies, which have no token ids and so are shorter than a model's. Each figure is taken in a
process of its own, with Python's start and all imports: what a person waits for. Seconds are CPU seconds, so that other
work on the machine counts little.

Left out: what compare, report and export take, and what rolling out takes (`python -m envs bench`).
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from time import process_time
from typing import Annotated, Any

import tyro

from tools.command import InputError

ENV, SEEDS = "store-v1", 100
LINES_TO_GO = 20_000
"""How far a replay goes at most."""
_MARK = b"@number@"


@dataclass(frozen=True, slots=True)
class Bench:
    """Measure a leaderboard, the help, and a replay's first screen and its way to a far trajectory, in CPU seconds."""

    trajectories: Annotated[int, tyro.conf.arg(metavar="N")] = 10_000
    """How many the leaderboard is over."""
    gigabytes: float = 0.1
    """The size of the file that is replayed."""
    of: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Trajectories to make the files of; else the scripted policies' in store-v1."""
    json: bool = False
    """Print the figures as JSON."""

    def __call__(self) -> None:
        if self.trajectories < 1 or not self.gigabytes > 0:
            raise InputError("expected at least 1 trajectory and more than 0 gigabytes")
        with tempfile.TemporaryDirectory() as folder:
            size = round(self.gigabytes * 1e9)
            speed = measured(Path(folder), trajectories=self.trajectories, size=size, of=self.of)
        print(json.dumps(asdict(speed), indent=2) if self.json else speed.table())


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """What was measured. `far_s` and `far_mb` are the time and memory that it takes more to go to trajectory `far`."""

    trajectories: int
    leaderboard_mb: float
    leaderboard_s: float
    leaderboard_peak_mb: float
    help_s: float
    replay_gb: float
    first_screen_s: float
    first_screen_peak_mb: float
    far: int
    far_s: float
    far_mb: float

    def table(self) -> str:
        board = f"leaderboard over {self.trajectories:,} trajectories, {self.leaderboard_mb:,.0f} MB"
        lines = [
            (board, self.leaderboard_s, f"{self.leaderboard_peak_mb:.0f} MB at most"),
            ("--help", self.help_s, ""),
            (
                f"replay's first screen, {self.replay_gb:g} GB",
                self.first_screen_s,
                f"{self.first_screen_peak_mb:.0f} MB",
            ),
            (f"from there to trajectory {self.far:,}", self.far_s, f"{self.far_mb:.0f} MB more"),
        ]
        wide = max(len(label) for label, _, _ in lines)
        said = [f"{label:<{wide}}  {seconds:>6.2f}  {memory}".rstrip() for label, seconds, memory in lines]
        return "\n".join([f"{'':<{wide}}  CPU seconds", *said])


def measured(folder: Path, *, trajectories: int, size: int, of: Path | None = None) -> Speed:
    """All figures, on files of so many trajectories and so many bytes, which are written to a folder.

    Raises InputError for a file `of` that has no trajectories of ours.
    """
    many, big = folder / "many.jsonl", folder / "big.jsonl"
    if of and not lines_of(of):
        raise InputError(f"{of} has no trajectories to make a file of")
    asked = (str(many), trajectories, str(big), size, str(of.resolve()) if of else "")
    lines = int(_run("-c", f"from eval.bench import make; make(*{asked!r})")[2])
    board_s, board_mb, _ = _run("-m", "eval", str(many), "--json")
    help_s = min(_run("-m", "eval", "--help")[0] for _ in range(3))
    far = min(LINES_TO_GO, lines)
    look = f"from pathlib import Path; from eval.bench import look; look(Path({str(big)!r}), {far})"
    screens = json.loads(_run("-c", look)[2])
    return Speed(
        trajectories=trajectories,
        leaderboard_mb=round(many.stat().st_size / 1e6, 1),
        leaderboard_s=round(board_s, 2),
        leaderboard_peak_mb=round(board_mb, 1),
        help_s=round(help_s, 2),
        replay_gb=round(big.stat().st_size / 1e9, 3),
        far=far,
        **screens,
    )


def make(many: str, trajectories: int, big: str, size: int, of: str) -> None:
    """Write both files, and print how many lines the second one has.

    In a process of its own too: the peak that the system tells of a process is at least what its parent had.
    """
    texts = lines_of(Path(of)) if of else rollouts()
    write(Path(many), texts, lines=trajectories)
    print(write(Path(big), texts, size=size))


def rollouts() -> list[bytes]:
    """What the scripted policies do, as `lines_of` gives it."""
    from envs.policies import ExpertPolicy
    from envs.policies.scripted import HabitualPolicy
    from envs.rollout import rollout

    policies = ExpertPolicy(), HabitualPolicy()
    return [_marked(part.to_json()) for policy in policies for part in rollout(policy, ENV, range(SEEDS))]


def lines_of(path: Path) -> list[bytes]:
    """The lines of a file of trajectories, with a mark where each has its number."""
    from envs.archive import read_trajectories

    return [_marked(part.to_json()) for part in read_trajectories(path)]


def _marked(record: Mapping[str, Any]) -> bytes:
    mark = _MARK.decode()
    numbered = {**record, "id": f"{record['id']}{mark}", "task": {**record["task"], "seed": mark}}
    line = json.dumps(numbered, separators=(",", ":")).encode() + b"\n"
    return line.replace(b'"' + _MARK + b'"', _MARK)  # a seed is a number


def write(path: Path, texts: Sequence[bytes], *, lines: int | None = None, size: int | None = None) -> int:
    """Write the texts again and again, each line with another number, until there are so many lines or bytes.

    Gives how many lines there are.
    """
    written = 0
    with path.open("wb") as file:
        for number in count():
            if number == lines or (size is not None and written >= size):
                return number
            task = number // len(texts) * SEEDS + number % SEEDS
            written += file.write(texts[number % len(texts)].replace(_MARK, b"%d" % task))
    raise AssertionError("unreachable")


def look(path: Path, far: int) -> None:
    """What a replay takes to show its first screen, from Python's start on, and to go to a far trajectory; as JSON."""
    from rich.console import Console

    from eval.film import Film
    from eval.player import Player
    from eval.replay import Window

    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        console = Console(file=nowhere, width=80, height=24, force_terminal=True)
        player = Player(Film(path))
        console.print(Window(player), end="")
        first_s, first_mb = process_time(), _peak_mb(resource.RUSAGE_SELF)
        for key in ("g", *f"{far}:", "enter"):
            player.press(key)
        console.print(Window(player), end="")
    figures = {
        "first_screen_s": first_s,
        "first_screen_peak_mb": first_mb,
        "far_s": process_time() - first_s,
        "far_mb": _peak_mb(resource.RUSAGE_SELF) - first_mb,
    }
    print(json.dumps({name: round(figure, 2) for name, figure in figures.items()}))


def _run(*arguments: str) -> tuple[float, float, str]:
    """A Python of its own: its CPU seconds, its peak memory in MB, and what it prints."""
    one_core = os.environ | {"OMP_NUM_THREADS": "1"}
    root = Path(__file__).parents[1]
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen([sys.executable, *arguments], stdout=said, env=one_core, cwd=root)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"python {' '.join(arguments)} ended with {process.returncode}")
        said.seek(0)
        return used.ru_utime + used.ru_stime, _mb(used.ru_maxrss), said.read()


def _peak_mb(who: int) -> float:
    return _mb(resource.getrusage(who).ru_maxrss)


def _mb(maxrss: int) -> float:
    """The kernel's peak memory is in bytes on macOS, in kilobytes elsewhere."""
    return maxrss / (1e6 if sys.platform == "darwin" else 1e3)
