"""Rollouts: a policy acts in an environment, batch by batch, and each finished episode is a trajectory.

Left out: rollouts over servers, retries, resuming; a batch goes turn by turn in step.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from random import Random

from envs.env import ToolEnv, make
from envs.policies.base import Context, Policy, Reply
from envs.trajectory import StopReason, Trajectory
from tools.command import InputError


def rollout(
    policy: Policy,
    env_id: str,
    seeds: Iterable[int],
    *,
    split: str = "test",
    batch: int = 64,
    sampling_seed: int = 0,
    user: Policy | None = None,
) -> Iterator[Trajectory]:
    """Run `policy` on the tasks of `seeds`; yields each trajectory as its episode ends. A model may play the `user`.

    The same arguments give the same trajectories: an episode's chance depends on its seed and `sampling_seed` only.
    Raises InputError for a batch of none.
    """
    if batch < 1:
        raise InputError(f"a batch has at least 1 task, came {batch}")
    pending = iter(seeds)
    while chunk := list(islice(pending, batch)):
        options = {"split": split} if user is None else {"split": split, "user": user}
        episodes = [_Episode(policy, make(env_id, **options), env_id, seed, sampling_seed) for seed in chunk]
        yield from _batch(policy, episodes)


def trajectory_id(env_id: str, split: str, seed: int, sampling_seed: int = 0) -> str:
    """The id of the trajectory that `rollout` makes of a task."""
    return f"{env_id}/{split}/{seed}/{sampling_seed}"


def _batch(policy: Policy, episodes: list["_Episode"]) -> Iterator[Trajectory]:
    try:
        while episodes:
            replies = policy.act([episode.context for episode in episodes])
            for episode, reply in zip(episodes, replies, strict=True):
                if trajectory := episode.take(reply):
                    yield trajectory
            episodes = [episode for episode in episodes if not episode.ended]
    finally:
        for episode in episodes:
            episode.context.env.close()


class _Episode:
    """One running episode of a batch."""

    def __init__(self, policy: Policy, env: ToolEnv, env_id: str, seed: int, sampling_seed: int) -> None:
        messages, info = env.reset(seed=seed)
        self.env, self.task, self.policy, self.env_id = env, info["task"], policy.name, env_id
        self.id = trajectory_id(env_id, env.split, seed, sampling_seed)
        self.context = Context(env=env, messages=[*messages], tools=info["tools"], rng=Random(self.id))
        self.ended = False
        self.known = set(env.toolset.offered)
        self.later: list[dict[str, object]] = []
        self.tools_from: dict[str, int] = {}

    def _note_new_tools(self) -> None:
        """Tools that are offered from the next message on."""
        for name, tool in self.env.toolset.offered.items():
            if name not in self.known:
                self.known.add(name)
                self.later.append(tool.to_openai())
                self.tools_from[name] = len(self.context.messages)

    def take(self, reply: Reply) -> Trajectory | None:
        """Take a turn; the trajectory if it was the last one."""
        context = self.context
        if reply.turn is not None:
            context.turns.append(reply.turn)
        context.messages.append(reply.message)
        results, reward, terminated, truncated, info = context.env.step(reply.message)
        context.messages.extend(results)
        self._note_new_tools()
        if not (terminated or truncated):
            return None
        if reply.cut and terminated:  # what was cut off is no answer
            return self._finish(0.0, False, StopReason.TOKEN_LIMIT)
        return self._finish(reward, info["success"], info["stop_reason"])

    def _finish(self, reward: float, success: bool, stop_reason: StopReason) -> Trajectory:
        self.ended = True
        self.env.close()
        turns = tuple(self.context.turns)
        return Trajectory(
            id=self.id,
            env=self.env_id,
            task=self.task,
            policy=self.policy,
            tools=[*self.context.tools, *self.later],
            messages=self.context.messages,
            turns=turns,
            reward=reward,
            success=success,
            stop_reason=stop_reason,
            token_exact=bool(turns),
            tools_from=self.tools_from,
        )
