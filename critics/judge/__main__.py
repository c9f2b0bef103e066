"""How good a judge is: errors planted in a world's expert trajectories, and what the critics find of them.

python -m critics.judge store-v1                                        # the rules alone
python -m critics.judge store-v1 --judge openai:MODEL@http://localhost:8000/v1 -n 50
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from critics.judge.options import JudgeOptions
from critics.judge.score import scores
from envs import make
from tools.command import InputError, run


@dataclass(frozen=True, slots=True)
class Config:
    """Plant errors of every code in a world's expert trajectories; say how many of them rules and a judge find."""

    env: tyro.conf.Positional[str]
    """The world's id, as `python -m envs list` shows it."""
    count: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 20
    """Tasks for each code."""
    split: str = "test"
    """Which of the world's sets of tasks."""
    seed: int = 0
    """The first task."""
    json: bool = False
    """Print the figures as JSON in place of a table."""
    judging: Annotated[JudgeOptions, tyro.conf.OmitArgPrefixes] = field(default_factory=JudgeOptions)
    """The judge."""

    def __call__(self) -> None:
        if self.count < 1:
            raise InputError(f"count must be at least 1, came {self.count}")
        make(self.env, split=self.split).close()
        critic = self.judging.critic(Path(f"{self.env}.planted"))
        scored = scores(critic, self.env, self.count, split=self.split, seed=self.seed)
        if self.json:
            print(json.dumps(scored.to_json() | critic.to_json(), indent=2))
            return
        console = Console(highlight=False)
        console.print(scored)
        for line in critic.lines():
            console.print(line, markup=False)


def main(arguments: Sequence[str] | None = None) -> None:
    command = tyro.cli(
        Config,
        prog="python -m critics.judge",
        description=(__doc__ or "").partition("\n")[0],
        args=arguments,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    command()


if __name__ == "__main__":
    run(main)
