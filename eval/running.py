"""Policies tried in worlds before they are compared: a file for each world, split and policy; what is missing is done.

A file is written as `python -m envs rollout` writes it, and gone on with where it stopped.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from envs.policies.server import ServerOptions
from envs.recording import Rollout


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
    concurrency: int = 128
    out: Path

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
                        max_tokens=self.max_tokens,
                        server=ServerOptions(concurrency=self.concurrency),
                    )


def _file_name(name: str) -> str:
    """A name as one of a file; where something of it is lost, with a mark that tells two such apart."""
    plain = re.sub(r"[^\w.@+=-]+", "_", name).strip("_.")[:80]
    return plain if plain == name else f"{plain}-{sha256(name.encode()).hexdigest()[:6]}"
