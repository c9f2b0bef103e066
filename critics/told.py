"""A policy that is told of its mistakes before they count: hints at inference time.

A turn that the rules find invalid is sampled again with its hint right above it; what is said at last stands. It trains
nothing, and costs a critic and a further turn at every mistake, for ever: the ceiling for what hints can teach.
"""

from collections.abc import Sequence
from dataclasses import replace

from msgspec import structs

from critics.finding import CERTAIN
from critics.hints import HintStyle, hinted, joined
from critics.rules import criticize
from envs import Trajectory
from envs.policies.base import Context, Policy, Reply
from tools import INVALID_CALL_CODES


class Told:
    """Acts as `policy` does, but for turns that the rules find invalid: those are sampled again up to `times` times,
    below all the hints that came of them so far. The hints stay in no context."""

    def __init__(self, policy: Policy, style: HintStyle = "reminder", *, times: int = 3) -> None:
        self.policy, self.style, self.times = policy, style, times
        self.name = f"{policy.name} (told)"

    def act(self, contexts: Sequence[Context]) -> list[Reply]:
        replies = self.policy.act(contexts)
        told: dict[int, list[str]] = {place: [] for place in range(len(contexts))}
        for _ in range(self.times):
            hints = {place: hint for place in told if (hint := _hint(contexts[place], replies[place]))}
            if not hints:
                break
            told = {place: [*told[place], hint] for place, hint in hints.items()}
            again = self.policy.act([self._hinted(contexts[place], joined(said)) for place, said in told.items()])
            for place, reply in zip(told, again, strict=True):
                replies[place] = _in_place_of(replies[place], reply)
        return replies

    def _hinted(self, context: Context, hint: str) -> Context:
        """The context with the hint below what was heard last."""
        begin = context.turns[-1].message_index + 1 if context.turns else 0
        heard = hinted(context.messages[begin:], hint, self.style)
        return replace(context, messages=[*context.messages[:begin], *heard])


def _hint(context: Context, reply: Reply) -> str:
    """What would have told the model better; empty where the reply is no invalid call."""
    messages = [*context.messages, reply.message]
    turns = (structs.replace(reply.turn, message_index=len(context.messages)),) if reply.turn else ()
    so_far = Trajectory(
        id=context.id,
        env="",
        task={},
        policy="",
        tools=context.tools,
        messages=messages,
        turns=(*context.turns, *turns),
    )
    return joined(
        finding.hint
        for finding in criticize(so_far)
        if finding.message_index == len(context.messages)
        and finding.code in INVALID_CALL_CODES
        and finding.confidence == CERTAIN
    )


def _in_place_of(first: Reply, second: Reply) -> Reply:
    """The second reply, as if it had been said where the first was: its context had no hint."""
    if second.turn is None or first.turn is None:
        return second
    turn = structs.replace(second.turn, message_index=first.turn.message_index, prompt_ids=first.turn.prompt_ids)
    return replace(second, turn=turn)
