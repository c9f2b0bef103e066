"""Worlds on the command line: look at them, act in them, let a policy act.

python -m envs list
python -m envs tools store-v0 --seed 7
python -m envs play store-v0 --seed 7
python -m envs rollout store-v0 --policy tiny -n 100 --out runs/tiny.jsonl
python -m envs export runs/tiny.jsonl --openai chat.jsonl
python -m envs bench
python -m envs bench-policy --policy tiny
"""

import inspect
import json
from dataclasses import dataclass

import tyro
from rich.console import Console
from rich.table import Table
from rich.text import Text
from tyro.conf import Positional

from envs.bench import import_cpu_s, speed
from envs.env import make, world_ids
from envs.exchange import Export, Import
from envs.game import Game
from envs.play import play, typed_lines
from envs.policies.bench import BenchPolicy
from envs.recording import Rollout
from envs.serve import Serve
from tools import byhand
from tools.command import InputError, run
from tools.screen import said

LISTED = 20
"""So many tasks tell how long a world's are."""


def _console() -> Console:
    return Console(highlight=False, markup=False, emoji=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class List:
    """Show the worlds: what they are, their splits, how long tasks are, and the tools of one."""

    def __call__(self) -> None:
        console = _console()
        for name in world_ids():
            console.print(_world(name))


def _world(env_id: str) -> Table:
    env = make(env_id)
    tasks = [env.reset(seed=seed)[1]["task"] for seed in range(LISTED)]
    calls = [task["plan_length"] for task in tasks if "plan_length" in task]
    env.reset(seed=0)
    about = (inspect.getdoc(type(env)) or "").partition("\n\n")[0].replace("\n", " ")
    table = Table(
        box=None, padding=(0, 2, 0, 0), show_header=False, title=env_id, title_justify="left", title_style="bold"
    )
    for key, text in (
        ("about", about),
        ("splits", ", ".join(env.splits)),
        ("tasks", f"one a seed; an expert takes {min(calls)} to {max(calls)} calls" if calls else "one a seed"),
        ("turns", f"at most {env.max_turns}, {env.max_errors} errors"),
        ("tools", f"{', '.join(env.toolset.offered)} (in task 0 of split {env.split})"),
    ):
        table.add_row(said(key, "dim"), said(text))
    env.close()
    return table


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """Show the tools that a task offers, check a file of calls against them, or call one."""

    env: Positional[str]
    """The world's id, as `list` shows it."""
    seed: int = 0
    """The task."""
    split: str = "test"
    """Which of the world's sets of tasks."""
    json: bool = False
    """Print JSON in place of a table: schemas, or what is wrong with calls."""
    form: byhand.Form = "openai"
    """Whose form the schemas have."""
    check: str | None = None
    """A JSON or JSONL file of calls to check, - is standard input. Exits with 1 if any is invalid."""
    call: tuple[str, ...] = ()
    """A tool's name and its arguments, name=value each: call it at the start of the task."""

    def __call__(self) -> int:
        env = make(self.env, split=self.split)
        try:
            env.reset(seed=self.seed)
            if self.call:
                return byhand.call(env.toolset, self.call[0], self.call[1:])
            if self.check:
                return byhand.check(env.toolset, self.check, as_json=self.json)
            return byhand.show(env.toolset.offered.values(), as_json=self.json, form=self.form)
        finally:
            env.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Play:
    """Act in a world yourself. `:help` says how; from a pipe, each line is a move."""

    env: Positional[str]
    """The world's id, as `list` shows it."""
    seed: int = 0
    """The task."""
    split: str = "test"
    """Which of the world's sets of tasks."""

    def __call__(self) -> int:
        console = _console()
        game = Game(self.env, seed=self.seed, split=self.split)
        try:
            play(game, console, typed_lines(lambda: game.env.toolset, console))
        except KeyboardInterrupt:
            console.print()
            return 130
        finally:
            game.close()
        return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Measure how fast worlds are, per CPU second on one core."""

    env: Positional[tuple[str, ...]] = ()
    """The worlds' ids; all of them where none is named."""
    seconds: float = 1.0
    """CPU seconds a figure."""
    json: bool = False
    """Print JSON in place of a table."""

    def __call__(self) -> None:
        if not 0 < self.seconds < 600:
            raise InputError(f"seconds must be from 0 to 600, came {self.seconds}")
        for name in self.env:
            make(name).close()
        speeds = {name: speed(name, seconds=self.seconds) for name in self.env or world_ids()}
        if self.json:
            worlds = {name: measured.to_json() for name, measured in speeds.items()}
            print(json.dumps({"import_cpu_s": round(import_cpu_s(), 3), "worlds": worlds}, indent=2))
            return
        table = Table(box=None, padding=(0, 3, 0, 0), show_edge=False)
        for heading in ("per CPU second", "steps", "state checks", "resets"):
            table.add_column(Text(heading, style="dim"), justify="left" if heading == "per CPU second" else "right")
        for name, measured in speeds.items():
            table.add_row(said(name, "bold"), *(f"{value:,.0f}" for value in measured.to_json().values()))
        _console().print(table)
        _console().print(f"import envs: {import_cpu_s():.2f} CPU seconds")


Command = List | Tools | Play | Rollout | Export | Import | Bench | BenchPolicy | Serve


def main() -> None:
    run(lambda: tyro.cli(Command, prog="python -m envs", description=(__doc__ or "").partition("\n")[0])())


if __name__ == "__main__":
    main()
