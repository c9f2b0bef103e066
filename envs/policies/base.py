"""What a policy is: it reads contexts and replies to each with one assistant message.

A policy in this process takes contexts in batches, so that a model can work on many at once; it may remember a context
(its keys and values) between turns, by identity. A policy elsewhere has a coroutine `reply` for one context, so that
thousands can wait for it at once.

What a policy raises means: `InfrastructureFault`, a lost connection or a timeout: this episode could not be carried on,
which is nobody's mistake; `ContextTooLong`: the conversation has outgrown the model; `InputError`: no episode can go
on like this, so the run ends; anything else is a bug.
"""

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from inspect import iscoroutinefunction
from random import Random
from typing import Any, Protocol, TypeGuard, runtime_checkable

from envs.env import ToolEnv
from envs.trajectory import Message, Turn
from tools import InfrastructureFault

FAULTS = (InfrastructureFault, ConnectionError, TimeoutError)
"""What a policy raises where its infrastructure fails."""


class ContextTooLong(Exception):
    """The model has no room for this conversation: the episode ends at its token limit."""


@dataclass(slots=True, kw_only=True, eq=False)
class Context:
    """One conversation as it stands: what a policy sees of an episode. `rng` is the episode's own source of chance.

    `id` is that of the trajectory which the episode will be; empty outside of rollouts.
    """

    env: ToolEnv
    messages: list[Message]
    tools: list[dict[str, object]]
    rng: Random
    turns: list[Turn] = field(default_factory=list)
    id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An assistant message; `turn` has its tokens where the policy knows them. `cut`: it met a limit, not its end.

    `context_tokens` counts the tokens of the conversation with this message, where only their number is known.
    `token_exact` is False where what came before the turn was spliced in, and is not exactly the model's chat form.
    `too_long`: the model had no room for a turn, so that there is none, and the episode ends at its token limit.
    """

    message: Message
    turn: Turn | None = None
    cut: bool = False
    context_tokens: int = 0
    token_exact: bool = True
    too_long: bool = False


@runtime_checkable
class Policy(Protocol):
    """What acts, in this process."""

    name: str

    def act(self, contexts: Sequence[Context]) -> list[Reply]:
        """One reply per context, in order."""
        ...


class AsyncPolicy(Protocol):
    """What acts elsewhere. One that is an asynchronous context manager too is entered while a rollout lasts."""

    name: str

    def reply(self, context: Context) -> Awaitable[Reply]:
        """The reply to a context; a coroutine function."""
        ...


def is_async(policy: Any) -> TypeGuard[AsyncPolicy]:
    """Whether a policy is asked for its replies one by one, and awaited."""
    return iscoroutinefunction(getattr(policy, "reply", None))
