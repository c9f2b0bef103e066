"""Worlds whose tasks come with a script: what the user says, turn by turn, and the calls that serve it.

A world says how a task is set up, what its state is and when it is solved. The expert, the user who comes back with
the next request, and the task's record follow from the script.
"""

import json
from abc import abstractmethod
from collections.abc import Collection, Mapping
from random import Random
from typing import TYPE_CHECKING, Any

from envs.env import Observation, ToolEnv
from envs.tasks import Exchange, Script, Step
from envs.trajectory import Message
from envs.user import in_own_words
from tools import ToolCall, ToolResult

if TYPE_CHECKING:
    from envs.policies.base import Policy


class PlannedEnv(ToolEnv):
    """A world that follows a script. The user's next request comes after an answer to the one before.

    A model may play the `user`: it says each request in its own words.
    """

    script: Script

    def __init__(self, *, user: "Policy | None" = None, **options: Any) -> None:
        super().__init__(**options)
        self.user = user

    @abstractmethod
    def set_up(self, seed: int) -> Script:
        """Set up the world and `self.toolset` for a task, and give its script."""

    def begin(self, seed: int) -> Observation:
        self.seed = seed
        self.exchange = self.done = 0
        self.script = self.set_up(seed)
        self.talk: list[Message] = []
        first = {"role": "user", "content": self._say(self.script.exchanges[0].request)}
        return {"role": "system", "content": self.script.system}, first

    def reply(self, text: str) -> str | None:
        self.exchange, self.done = self.exchange + 1, 0
        self.talk.append({"role": "assistant", "content": text})
        return self._say(self._current.request) if self._current else None

    def _say(self, request: str) -> str:
        """What the user says for a request of the script."""
        if self.user is not None:
            rng = Random(f"user/{self.split}/{self.seed}/{self.exchange}")
            request = in_own_words(self.user, request, self.talk, self, rng)
        self.talk.append({"role": "user", "content": request})
        return request

    @property
    def _current(self) -> Exchange | None:
        exchanges = self.script.exchanges
        return exchanges[self.exchange] if self.exchange < len(exchanges) else None

    @property
    def next_step(self) -> Step | None:
        """The expert's next call; None where it answers."""
        current = self._current
        return current.plan[self.done] if current and self.done < len(current.plan) else None

    def after_call(self, name: str, arguments: Mapping[str, Any], result: ToolResult) -> None:
        step = self.next_step
        if step is not None and step.tool == name and not result.violations:
            self.done += arguments == step.arguments

    def expert_action(self, habits: Collection[str] = ()) -> Message:
        step = self.next_step
        if step is None:
            return {"role": "assistant", "content": self._current.answer if self._current else ""}
        arguments = json.dumps(step.arguments, ensure_ascii=False)
        call = ToolCall(id=f"call_{self.turns}", name=step.tool, arguments=arguments)
        return {"role": "assistant", "content": "", "tool_calls": [call.to_openai()]}

    def task_record(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "split": self.split,
            "family": self.script.kind,
            "plan_length": sum(len(exchange.plan) for exchange in self.script.exchanges),
            "exchanges": len(self.script.exchanges),
            "catalogue": sorted(self.toolset.catalogue),
        }
