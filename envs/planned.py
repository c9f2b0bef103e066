"""Worlds whose tasks come with a script: what the user says, turn by turn, and the calls that serve it.

A world says how a task is set up, what its state is and when it is solved. The expert, the user who comes back with
the next request, and the task's record follow from the script.
"""

import json
from abc import abstractmethod
from collections.abc import Collection, Mapping
from typing import Any

from envs.env import Observation, ToolEnv
from envs.tasks import Exchange, Script, Step
from envs.trajectory import Message
from tools import ToolCall, ToolResult


class PlannedEnv(ToolEnv):
    """A world that follows a script. The user's next request comes after an answer to the one before."""

    script: Script

    @abstractmethod
    def set_up(self, seed: int) -> Script:
        """Set up the world and `self.toolset` for a task, and give its script."""

    def begin(self, seed: int) -> Observation:
        self.seed = seed
        self.exchange = self.done = 0
        self.script = self.set_up(seed)
        request = {"role": "user", "content": self.script.exchanges[0].request}
        return {"role": "system", "content": self.script.system}, request

    def reply(self, text: str) -> str | None:
        self.exchange, self.done = self.exchange + 1, 0
        return self._current.request if self._current else None

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
