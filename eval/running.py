"""Policies tried in worlds before they are compared: a file for each world, split and policy; what is missing is done.

A file is written as `python -m envs rollout` writes it, and gone on with where it stopped.
"""

import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from envs.policies import MODELS, load_policy
from envs.policies.server import ServerOptions
from envs.recording import Rollout
from tools.command import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Which policies are tried in which worlds, on `tasks` tasks from `first_seed` on, `k` times each."""

    envs: Sequence[str]
    policies: Sequence[str]
    splits: Sequence[str] = ("test",)
    tasks: int = 100
    k: int = 1
    first_seed: int = 0
    temperature: float = 1.0
    max_tokens: int | None = None
    batch: int = 64
    server: ServerOptions = field(default_factory=ServerOptions)
    out: Path

    @property
    def options(self) -> str:
        """What a command line needs to ask for the same again."""
        named = [("env", self.envs), ("policy", self.policies), ("split", self.splits)]
        parts = [part for name, values in named for value in values for part in (f"--{name}", value)]
        numbers = {"tasks": self.tasks, "k": self.k, "first-seed": self.first_seed, "temperature": self.temperature}
        defaults = {"k": 1, "first-seed": 0, "temperature": 1.0}
        for name, number in numbers.items():
            if number != defaults.get(name):
                parts += [f"--{name}", str(number)]
        if self.max_tokens is not None:
            parts += ["--max-tokens", str(self.max_tokens)]
        return shlex.join([*parts, "--out", str(self.out)])

    def carry_out(self) -> dict[Path, frozenset[str]]:
        """Do what is missing, with a line on stderr for each file; gives the files, and which trajectories of each are
        asked for.

        Raises InputError before anything is done for names that make no sense, or that are given twice.
        """
        self._check()
        for rollout in self.rollouts():
            rollout.check()
        asked: dict[Path, frozenset[str]] = {}
        for rollout in self.rollouts():
            print(rollout.record(), file=sys.stderr)
            asked[rollout.out] = frozenset(rollout.ids())
        return asked

    def _check(self) -> None:
        for name, number in (("tasks", self.tasks), ("k", self.k)):
            if number < 1:
                raise InputError(f"--{name} must be at least 1, came {number}")
        for what, names in (("world", self.envs), ("split", self.splits), ("policy", self.policies)):
            known: dict[str, str] = {}
            for name in names:
                # Where a model is served makes it no other policy: its rows would be one.
                model = name.partition("@")[0] if name.startswith("openai:") else name
                if model in known:
                    twin = known[model]
                    both = f"{name!r} is given twice" if twin == name else f"{twin!r} and {name!r} are the same model"
                    raise InputError(f"{what} {both}: its calls would count twice")
                known[model] = name
        for name in self.policies:
            is_model = ":" in name or name in MODELS or Path(name).is_dir()
            if not is_model:  # a word that names none is found at once, and a model is loaded when its turn comes
                load_policy(name)

    def rollouts(self) -> Iterator[Rollout]:
        """The rollouts in order; each is done by its `record`."""
        for env in self.envs:
            for split in self.splits:
                for policy in self.policies:
                    yield Rollout(
                        env=env,
                        out=self.out / _file_name(env) / _file_name(split) / f"{_file_name(policy)}.jsonl",
                        policy=policy,
                        n=self.tasks,
                        per_task=self.k,
                        split=split,
                        first_seed=self.first_seed,
                        batch=self.batch,
                        temperature=self.temperature,
                        server=self.server,
                        max_tokens=self.max_tokens,
                    )


def _file_name(name: str) -> str:
    """A name as one of a file; where something of it is lost, with a mark that tells two such apart."""
    plain = re.sub(r"[^\w.@+=-]+", "_", name).strip("_.")[:80]
    return plain if plain == name else f"{plain}-{sha256(name.encode()).hexdigest()[:6]}"
