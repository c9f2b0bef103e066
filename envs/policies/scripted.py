"""Policies without a model: the expert, one with bad habits, and one that guesses. For tests and as baselines."""

import json
from collections.abc import Sequence

from envs.policies.base import Context, Reply
from envs.policies.guess import guess
from envs.policies.mistakes import MISTAKES, mistaken
from envs.trajectory import Message, calls_of
from tools import ToolCall
from tools.command import InputError


class ExpertPolicy:
    """Does what solves the task."""

    name = "expert"

    def act(self, contexts: Sequence[Context]) -> list[Reply]:
        return [Reply(message=context.env.expert_action()) for context in contexts]


class HabitualPolicy:
    """The expert with bad habits: makes each mistake that is possible at `rate`, but not right after an error.

    Where a world knows habits of its own these are what it makes, at once where several apply; elsewhere one error of
    those in `mistakes.MISTAKES` a turn.
    """

    name = "habitual"

    def __init__(self, rate: float = 0.3) -> None:
        if not 0 <= rate <= 1:
            raise InputError(f"a rate of mistakes is from 0 to 1, came {rate:g}")
        self.rate = rate

    def act(self, contexts: Sequence[Context]) -> list[Reply]:
        return [Reply(message=self._act(context)) for context in contexts]

    def _act(self, context: Context) -> Message:
        env = context.env
        if context.messages[-1].get("is_error"):
            return env.expert_action()
        if env.habits:
            return env.expert_action([habit for habit in env.habits if context.rng.random() < self.rate])
        message = env.expert_action()
        chosen = [code for code in MISTAKES if context.rng.random() < self.rate]
        for call in map(ToolCall.from_openai, calls_of(message)[:1]):
            tried = (mistaken(call, env.toolset, code, context.rng) for code in chosen)
            if wrong := next(filter(None, tried), None):
                return {**message, "tool_calls": [wrong.to_openai()]}
        return message


class RandomPolicy:
    """Calls an offered tool with random arguments of the right types, or gives up."""

    name = "random"

    def act(self, contexts: Sequence[Context]) -> list[Reply]:
        return [self._act(context) for context in contexts]

    def _act(self, context: Context) -> Reply:
        if context.rng.random() < 0.1:
            return Reply(message={"role": "assistant", "content": "I give up."})
        tool = context.rng.choice(list(context.env.toolset.offered.values()))
        arguments = guess({"type": "object", **tool.parameters}, context.rng)
        call = ToolCall(id=f"call_{len(context.messages)}", name=tool.name, arguments=json.dumps(arguments))
        return Reply(message={"role": "assistant", "content": "", "tool_calls": [call.to_openai()]})
