"""One running episode of a rollout: it takes a policy's replies turn by turn and becomes a trajectory.

Left out: who asks the policy, and when (`envs.rollout`).
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from random import Random
from typing import Any

from envs.env import make
from envs.policies.base import FAULTS, Context, ContextTooLong, Policy, Reply
from envs.trajectory import StopReason, Trajectory
from tools import InfrastructureFault
from tools.command import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How far an episode may go, beside the limits that its world has; None is no limit."""

    turns: int | None = None
    """The most turns."""
    tokens: int | None = None
    """The most tokens of a conversation, where the policy knows them."""
    errors_in_row: int | None = None
    """The most calls in a row that are answered with an error."""
    seconds: float | None = None
    """The longest that an episode may take. How fast a machine is, is not the model's doing: this is counted as an
    infrastructure fault."""

    def __post_init__(self) -> None:
        for part in fields(self):
            given = getattr(self, part.name)
            if given is not None and not given > 0:
                raise InputError(f"a limit of {part.name.replace('_', '-')} must be more than 0, came {given:g}")


NO_LIMITS = Limits()
WORLD_FAULTS = (*FAULTS, ContextTooLong)
"""What a world raises where its infrastructure fails; that of a model which plays the user is the world's too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What an episode begins from. `number` is the sampling seed."""

    env_id: str
    split: str
    seed: int
    number: int
    policy: str
    user: Policy | None = None
    limits: Limits = NO_LIMITS

    @property
    def id(self) -> str:
        return trajectory_id(self.env_id, self.split, self.seed, self.number)


def trajectory_id(env_id: str, split: str, seed: int, sampling_seed: int = 0) -> str:
    """The id of the trajectory that `rollout` makes of a task."""
    return f"{env_id}/{split}/{seed}/{sampling_seed}"


class Episode:
    """An episode. `ended` is its trajectory once there is one, and the world is closed by then.

    One whose world could not be set up has ended with a fault from the start.
    """

    def __init__(self, start: Start) -> None:
        self.start = start
        self.began = time.monotonic()
        self.errors_in_row = self.tokens = 0
        self.token_exact = True
        self.later: list[dict[str, object]] = []
        self.tools_from: dict[str, int] = {}
        self.task: dict[str, Any] = {"seed": start.seed, "split": start.split}
        self.ended: Trajectory | None = None
        options = {} if start.user is None else {"user": start.user}
        self.env = make(start.env_id, split=start.split, **options)
        self.context = Context(env=self.env, messages=[], tools=[], rng=Random(start.id), id=start.id)
        self.known: set[str] = set()
        try:
            messages, info = self.env.reset(seed=start.seed)
        except WORLD_FAULTS as fault:
            self.fault(fault)
            return
        self.task, self.context.tools = info["task"], info["tools"]
        self.context.messages += messages
        self.known |= set(self.env.toolset.offered)

    def take(self, reply: Reply) -> Trajectory | None:
        """Take a turn; the trajectory if it was the last one."""
        if reply.too_long:
            return self.too_long()
        context = self.context
        self.token_exact &= reply.token_exact
        if reply.turn is not None:
            context.turns.append(reply.turn)
        context.messages.append(reply.message)
        try:
            results, reward, terminated, truncated, info = context.env.step(reply.message)
        except WORLD_FAULTS as fault:
            return self.fault(fault)
        context.messages.extend(results)
        self._note_new_tools()
        self._count(reply, info["violations"])
        if not (terminated or truncated):
            return self._over_limit()
        if reply.cut and terminated:  # what was cut off is no answer
            return self._finish(0.0, False, StopReason.TOKEN_LIMIT)
        if info["stop_reason"] == StopReason.INFRASTRUCTURE_FAULT:
            return self.fault(InfrastructureFault(_said(info["violations"])))
        return self._finish(reward, info["success"], info["stop_reason"])

    def fault(self, error: BaseException) -> Trajectory:
        """The infrastructure has failed, or had to be given up: the episode ends, and counts in no rate."""
        text = " ".join(str(error).split())
        said = text if isinstance(error, InfrastructureFault) else f"{type(error).__name__}: {text}".rstrip(": ")
        return self._finish(0.0, False, StopReason.INFRASTRUCTURE_FAULT, said or "unknown")

    def too_long(self) -> Trajectory:
        """The model has no room for what comes next."""
        return self._finish(0.0, False, StopReason.TOKEN_LIMIT)

    @property
    def seconds_left(self) -> float | None:
        """How much longer the episode may take; None where there is no limit."""
        seconds = self.start.limits.seconds
        return None if seconds is None else max(0.0, self.began + seconds - time.monotonic())

    def out_of_time(self) -> Trajectory | None:
        """The trajectory of an episode that has taken too long; None of one that may go on."""
        if self.seconds_left != 0:
            return None
        return self.fault(InfrastructureFault(f"the episode took longer than {self.start.limits.seconds:g} seconds"))

    def close(self) -> None:
        self.env.close()

    def _note_new_tools(self) -> None:
        """Tools that are offered from the next message on."""
        for name, tool in self.env.toolset.offered.items():
            if name not in self.known:
                self.known.add(name)
                self.later.append(tool.to_openai())
                self.tools_from[name] = len(self.context.messages)

    def _count(self, reply: Reply, violations: Sequence[Sequence[Any]]) -> None:
        for wrong in violations:
            self.errors_in_row = self.errors_in_row + 1 if wrong else 0
        added = len(reply.turn.prompt_ids) + len(reply.turn.token_ids) if reply.turn else 0
        self.tokens = reply.context_tokens or self.tokens + added

    def _over_limit(self) -> Trajectory | None:
        limits = self.start.limits
        if limits.errors_in_row is not None and self.errors_in_row >= limits.errors_in_row:
            return self._finish(0.0, False, StopReason.ERROR_LIMIT)
        if limits.tokens is not None and self.tokens >= limits.tokens:
            return self._finish(0.0, False, StopReason.TOKEN_LIMIT)
        if limits.turns is not None and self.env.turns >= limits.turns:
            return self._finish(0.0, False, StopReason.TURN_LIMIT)
        return self.out_of_time()

    def _finish(self, reward: float, success: bool, stop_reason: StopReason, fault: str = "") -> Trajectory:
        self.env.close()
        messages, turns = self.context.messages, tuple(self.context.turns)
        said = sum(message.get("role") == "assistant" for message in messages)
        self.ended = Trajectory(
            id=self.start.id,
            env=self.start.env_id,
            task=self.task,
            policy=self.start.policy,
            tools=[*self.context.tools, *self.later],
            messages=messages,
            turns=turns,
            reward=reward,
            success=success,
            stop_reason=stop_reason,
            token_exact=self.token_exact and bool(turns) and len(turns) == said,
            tools_from=self.tools_from,
            fault=fault,
        )
        return self.ended


def _said(violations: Sequence[Sequence[Any]]) -> str:
    """What the world says of a fault."""
    return next((str(violation["expected"]) for wrong in violations for violation in wrong), "")
