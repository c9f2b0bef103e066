"""Who makes the rollouts that a student learns from: the student itself, or a policy named with `--rollouts-by`.

vLLM in this process is given the student's new weights after each update, so it says what the student would. A
server keeps its own: what it says is stale. A policy without token ids can't be learnt from as it acts.
Left out: what staleness changes (`distill.stale`).
"""

from pathlib import Path
from typing import Any

from distill.config import Config
from envs.policies import load_policy
from envs.policies.base import AsyncPolicy, Policy
from envs.policies.hf import LocalPolicy
from tools.command import InputError

WORDLESS = ("human", "expert", "random", "habitual")
"""Policies that act by messages, and have no tokens."""


class Actor:
    """The policy that makes rollouts. `follows`: it takes the student's weights; `stale`: it says what another model
    says."""

    def __init__(self, policy: Policy | AsyncPolicy, *, own: bool, follows: bool) -> None:
        self.policy, self.follows, self.stale = policy, follows, not (own or follows)

    def take(self, weights: Path) -> None:
        """Act by these weights from here on."""
        policy: Any = self.policy
        policy.reload(weights)


def trainable(name: str) -> str:
    """The folder of a model that can be trained, of a policy's name. Raises InputError for one that can't be."""
    kind, _, rest = name.partition(":")
    if kind in ("openai", "vllm", "replay") and rest:
        raise InputError(
            f"--policy {name} has no weights here that could be trained: give the model's folder as --policy, and "
            f"{'its trajectories as --trajectories' if kind == 'replay' else f'--rollouts-by {name}'}"
        )
    if name.partition("@")[0] in WORDLESS:
        raise InputError(f"--policy {name} can't be trained: it is no model; give tiny, a model folder, or hf:PATH")
    return rest if kind == "hf" else name


def actor_for(config: Config, student: LocalPolicy) -> Actor:
    """Who makes the rollouts. Raises InputError for a policy whose turns have no token ids."""
    name = config.rollouts_by
    if not name:
        return Actor(student, own=True, follows=False)
    if name.partition("@")[0] in WORDLESS:
        raise InputError(no_tokens(name))
    policy = load_policy(name, temperature=config.temperature, max_tokens=config.max_tokens)
    return Actor(policy, own=False, follows=name.startswith("vllm:") and hasattr(policy, "reload"))


def no_tokens(name: str) -> str:
    """Why a policy's rollouts can't be learnt from as they come, and what to do."""
    return (
        f"--rollouts-by {name} can't be learnt from as it acts: its turns come without token ids; roll it out with "
        "python -m envs rollout, and train on the file with --trajectories, which makes tokens of its text"
    )
