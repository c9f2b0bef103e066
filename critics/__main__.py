"""The command line of `critics`: the errors in a file of trajectories.

python -m critics runs/tiny.jsonl
python -m critics their_log.jsonl --jsonl findings.jsonl     # plain OpenAI form: id, tools, messages
python -m critics runs/tiny.jsonl --json
python -m critics runs/tiny.jsonl --judge openai:MODEL@http://localhost:8000/v1    # what rules can't see, too
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from critics.finding import Finding, write_findings
from critics.judge.options import JudgeOptions
from critics.rates import measure
from critics.report import Examples, Report
from critics.rules import criticize
from envs import Trajectory, read_trajectories
from tools.command import InputError, run


@dataclass(frozen=True, slots=True)
class Config:
    """Find the errors in trajectories, and count them per 100 calls with 95% intervals."""

    file: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FILE")]
    """Trajectories in JSONL: our own, or any with id, tools and messages in OpenAI's form."""
    jsonl: Path | None = None
    """Write the findings to this file too, one object a trajectory."""
    json: bool = False
    """Print the figures as JSON in place of a table."""
    judging: Annotated[JudgeOptions, tyro.conf.OmitArgPrefixes] = field(default_factory=JudgeOptions)
    """The judge."""

    def __call__(self) -> None:
        if self.jsonl is not None and self.jsonl.resolve() == self.file.resolve():
            raise InputError(f"{self.jsonl} has the trajectories: write the findings to another file")
        critic = self.judging.critic(self.jsonl or self.file)
        read = critic.read(criticized_in(self.file))
        criticized = [(without_tokens(trajectory), findings) for trajectory, findings in read]
        if self.jsonl is not None:
            write_findings(self.jsonl, criticized)
        measured = measure(criticized)
        if self.json:
            print(json.dumps(measured.to_json() | critic.to_json(), indent=2))
        else:
            console = Console(highlight=False)
            console.print(Report(measured, Examples.of(criticized)))
            for line in critic.lines():
                console.print(line, markup=False)


def criticized_in(path: Path) -> Iterator[tuple[Trajectory, list[Finding]]]:
    """The trajectories of a file with their findings. Raises InputError for one that can't be read."""
    for number, trajectory in enumerate(read_trajectories(path), 1):
        try:
            yield trajectory, criticize(trajectory)
        except (ValueError, TypeError) as error:
            raise InputError(f"{path}, object {number}: {error}") from error


def without_tokens(trajectory: Trajectory) -> Trajectory:
    """The texts only: the token ids of a large file would fill the memory."""
    turns = [replace(turn, prompt_ids=(), token_ids=(), logprobs=()) for turn in trajectory.turns]
    return replace(trajectory, turns=turns)


def main(arguments: Sequence[str] | None = None) -> None:
    command = tyro.cli(
        Config,
        prog="python -m critics",
        description="Where trajectories went wrong, and how often.",
        args=arguments,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    command()


if __name__ == "__main__":
    run(main)
