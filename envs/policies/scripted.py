"""Policies without a model: the expert, one with bad habits, and one that guesses. For tests and as baselines."""

import json
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from envs.policies.base import Context, Reply
from tools import ToolCall


class ExpertPolicy:
    """Does what solves the task."""

    name = "expert"

    def act(self, contexts: Sequence[Context]) -> list[Reply]:
        return [Reply(message=context.env.expert_action()) for context in contexts]


class HabitualPolicy:
    """The expert with bad habits: makes each mistake that is possible at `rate`, but not right after an error."""

    name = "habitual"

    def __init__(self, rate: float = 0.3) -> None:
        self.rate = rate

    def act(self, contexts: Sequence[Context]) -> list[Reply]:
        return [Reply(message=context.env.expert_action(self._habits(context))) for context in contexts]

    def _habits(self, context: Context) -> list[str]:
        if context.messages[-1].get("is_error"):
            return []
        return [habit for habit in context.env.habits if context.rng.random() < self.rate]


class RandomPolicy:
    """Calls an offered tool with random arguments of the right types, or gives up."""

    name = "random"

    def act(self, contexts: Sequence[Context]) -> list[Reply]:
        return [self._act(context) for context in contexts]

    def _act(self, context: Context) -> Reply:
        if context.rng.random() < 0.1:
            return Reply(message={"role": "assistant", "content": "I give up."})
        tool = context.rng.choice(list(context.env.toolset.offered.values()))
        properties = tool.parameters.get("properties", {})
        arguments = {name: _value(schema, context.rng) for name, schema in properties.items()}
        call = ToolCall(id=f"call_{len(context.messages)}", name=tool.name, arguments=json.dumps(arguments))
        return Reply(message={"role": "assistant", "content": "", "tool_calls": [call.to_openai()]})


def _value(schema: Mapping[str, Any], rng: Random) -> Any:
    if "enum" in schema:
        return rng.choice(schema["enum"])
    match schema.get("type"):
        case "integer":
            return rng.randint(1, 999)
        case "number":
            return rng.random() * 100
        case "boolean":
            return True
        case _:
            return str(rng.randint(1, 999))
