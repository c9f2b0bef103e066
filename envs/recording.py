"""Rollouts into a file: `python -m envs rollout`.

Each finished trajectory is appended and flushed before it counts, so that nothing finished is ever lost; the same
command again does what is missing, and what an infrastructure fault had ended. Beside the file, its manifest says where
it comes from (`envs.manifest`).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from tyro.conf import Positional

from envs.env import MAX_SEED, make
from envs.episode import Limits
from envs.manifest import check_config, commit, keep_manifest, keep_spent, versions, weights_hash
from envs.policies import Policy, load_policy
from envs.policies.server import ServerOptions, ServerPolicy, shown
from envs.progress import Tally, watched
from envs.resume import RolloutFile
from envs.rollout import rollout, trajectory_id
from tools.command import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """Let a policy act; each finished trajectory is appended to a file, and what it has already is skipped."""

    env: Positional[str]
    """The world's id, as `list` shows it."""
    out: Path
    """The JSONL file."""
    policy: str = "tiny"
    """tiny, a model's folder, hf:OWNER/NAME, vllm: and one of these, openai:MODEL@BASE_URL[,BASE_URL...], expert,
    random, habitual, replay:FILE or human."""
    n: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 100
    """How many tasks: seeds `first-seed` to `first-seed` + n - 1."""
    per_task: int = 1
    """How often each task is rolled out, with the sampling seeds from `sampling-seed` on."""
    split: str = "test"
    """Which of the world's sets of tasks."""
    first_seed: int = 0
    """The first task."""
    batch: int = 64
    """How many tasks a model in this process works on at once."""
    temperature: float = 1.0
    """A model's sampling temperature; 0 is greedy."""
    max_tokens: int | None = None
    """The most tokens of a model's turn; without it what the model's generation config (tiny: 96) or its server says,
    else 1,024."""
    sampling_seed: int = 0
    """Another one gives other samples of the same tasks."""
    user: str | None = None
    """A model, named as a policy is: it plays the user, in worlds where the user speaks by a script."""
    limits: Limits = field(default_factory=Limits)
    server: ServerOptions = field(default_factory=ServerOptions)

    def __call__(self) -> None:
        print(self.record())

    def record(self) -> str:
        """Do what is missing; gives a line that says what was done."""
        self.check()
        asked: Any = {"max_tokens": self.max_tokens, "server": self.server}
        policy = load_policy(self.policy, temperature=self.temperature, **asked)
        user = load_policy(self.user, **asked) if self.user else None
        config = self._config(policy, user)
        check_config(self.out, config)
        with RolloutFile(self.out, env=self.env, policy=policy.name, wanted=self.ids()) as file:
            missing = [name for name in self.ids() if name not in file.finished]
            if missing:
                keep_manifest(self.out, config, self._made_with(policy))
            tally = Tally(spent=getattr(policy, "spent", None), notes=getattr(policy, "notes", ()))
            trajectories = rollout(
                policy,
                self.env,
                range(self.first_seed, self.first_seed + self.n),
                n=self.per_task,
                split=self.split,
                batch=self.batch,
                concurrency=self.server.concurrency,
                sampling_seed=self.sampling_seed,
                user=user,
                limits=self.limits,
                skip=file.finished,
            )
            # A bar would run into what a person types.
            console = Console(stderr=True, highlight=False, force_terminal=False if policy.name == "human" else None)
            try:
                for trajectory in watched(trajectories, len(missing), tally, console):
                    file.write(trajectory)
            finally:  # an interrupted command has spent something too
                if tally.spent and tally.spent.answers:
                    keep_spent(self.out, {"trajectories": tally.ended, **tally.spent.to_json()})
        of_user = f"; the user {user.spent.line()}" if isinstance(user, ServerPolicy) else ""
        return self._said(tally, len(missing), len(file.faulted), of_user)

    def _said(self, tally: Tally, missing: int, again: int, of_user: str) -> str:
        skipped = self.n * self.per_task - missing
        remarks = [f"{skipped} skipped: already there"] if skipped else []
        if again:
            remarks.append(f"{again} again, which a fault had ended")
        if tally.faults:
            remarks.append(f"{tally.faults} ended by faults: the same command tries them again")
        said = f" ({'; '.join(remarks)})" if remarks else ""
        spent = f", {tally.spent.line()}" if tally.spent else ""
        rates = f", {tally.line()}{spent}{of_user}" if missing else ""
        return f"{tally.ended} trajectories{said}{rates}: {self.out}"

    def check(self) -> None:
        """Raises InputError for a world, a split or a number that makes no sense."""
        make(self.env, split=self.split).close()
        least = {"n": 1, "per_task": 1, "first_seed": 0, "batch": 1, "temperature": 0, "sampling_seed": 0}
        if self.max_tokens is not None:
            least["max_tokens"] = 1
        for name, number in least.items():
            if not getattr(self, name) >= number:
                raise InputError(f"{name.replace('_', '-')} must be at least {number}, came {getattr(self, name)}")
        if self.first_seed + self.n - 1 > MAX_SEED:
            raise InputError(f"a seed is at most {MAX_SEED}: choose a smaller first-seed or n")

    def ids(self) -> list[str]:
        """The trajectories that the file is to have."""
        return [
            trajectory_id(self.env, self.split, seed, number)
            for seed in range(self.first_seed, self.first_seed + self.n)
            for number in range(self.sampling_seed, self.sampling_seed + self.per_task)
        ]

    def _config(self, policy: Policy, user: Policy | None) -> dict[str, Any]:
        """What all trajectories of a file have in common. Which tasks and how many is no part of it."""
        return {
            "env": self.env,
            "split": self.split,
            "policy": policy.name,
            "temperature": self.temperature,
            "user": user.name if user else None,
            "limits": asdict(self.limits),
            **_model(policy),
        }

    def _made_with(self, policy: Policy) -> dict[str, Any]:
        made: dict[str, Any] = {
            "seeds": [self.first_seed, self.first_seed + self.n],
            "sampling_seeds": [self.sampling_seed, self.sampling_seed + self.per_task],
            "batch": self.batch,
            "commit": commit(),
            "versions": versions(),
        }
        if isinstance(policy, ServerPolicy):
            made |= {"servers": [shown(url) for url in policy.urls], "concurrency": self.server.concurrency}
        elif folder := getattr(policy, "folder", None):
            made["model_path"] = str(folder)
        return made


def _model(policy: Policy) -> Mapping[str, Any]:
    """What tells a model apart from another one of the same name."""
    if isinstance(policy, ServerPolicy):
        return {"max_tokens": policy.options.max_tokens}
    folder = getattr(policy, "folder", None)
    if folder is None:
        return {}
    renderer = getattr(getattr(policy, "writer", None), "renderer", None)
    return {
        "max_tokens": getattr(policy, "most_tokens", None),
        "weights_sha256": weights_hash(folder),
        "renderer": type(renderer).__name__,
    }
