"""Hints at inference time: an invalid turn is said again below its hint, and nobody sees the hint afterwards."""

import json
from collections.abc import Sequence

from critics import criticize
from critics.rates import measure
from critics.told import Told
from envs.policies.base import Context, Reply
from envs.policies.hf import LocalPolicy
from envs.rollout import rollout
from envs.trajectory import Message


class Forgetful:
    """Calls a tool that is not there, unless a reminder is right above its turn."""

    name = "forgetful"

    def __init__(self) -> None:
        self.heard: list[list[Message]] = []

    def act(self, contexts: Sequence[Context]) -> list[Reply]:
        self.heard += [context.messages for context in contexts]
        return [Reply(message=self._said(context)) for context in contexts]

    def _said(self, context: Context) -> Message:
        right = context.env.expert_action()
        if "Reminder" not in json.dumps(context.messages[-1]) and right.get("tool_calls"):
            right["tool_calls"][0]["function"]["name"] = "no_such_tool"
        return right


def test_who_is_told_makes_no_mistake_that_a_hint_is_about() -> None:
    policy = Forgetful()
    for trajectory in rollout(Told(policy), "store-v0", range(4)):
        assert trajectory.success
        assert not criticize(trajectory)
        assert "Reminder" not in json.dumps(trajectory.messages)
    assert any("Reminder" in json.dumps(messages) for messages in policy.heard)


def test_who_never_learns_is_told_a_few_times_and_then_left() -> None:
    class Stubborn(Forgetful):
        def _said(self, context: Context) -> Message:
            return super()._said(context) | {
                "tool_calls": [{"id": "c", "type": "function", "function": {"name": "no_such_tool", "arguments": "{}"}}]
            }

    policy = Stubborn()
    [trajectory] = rollout(Told(policy, times=2), "store-v0", range(1))
    assert not trajectory.success
    turns = sum(message["role"] == "assistant" for message in trajectory.messages)
    assert len(policy.heard) == 3 * turns


def test_the_model_that_is_told_errs_less_and_its_contexts_have_no_hints() -> None:
    policy = LocalPolicy.load("tiny")
    plain, told = (
        [(trajectory, criticize(trajectory)) for trajectory in rollout(by, "store-v0", range(12))]
        for by in (policy, Told(policy))
    )
    assert measure(told).invalid_per_100.rate < 0.5 * measure(plain).invalid_per_100.rate
    for trajectory, _ in told:
        assert "Reminder" not in "".join(policy.writer.decode(turn.prompt_ids) for turn in trajectory.turns)
