"""A store's service desk: `hintsight/store-v0`.

`world.py` is the store, `tools.py` what can be done in it, `tasks.py` what people ask for; here they become an
environment. store-v0 is frozen together with the tiny model that learnt it.
"""

import json
from collections.abc import Collection, Mapping
from typing import Any, ClassVar

from envs.env import Observation, State, ToolEnv
from envs.store.tasks import SPLITS, Task, make_task
from envs.store.tools import Habit, Step
from envs.store.world import TABLES, Store
from envs.trajectory import Message
from tools import ToolCall, ToolResult

SYSTEM = "You are the service desk of a store."


class StoreEnv(ToolEnv):
    """The service desk. The request names people and things; ids come from the request and from earlier results."""

    splits: ClassVar[Collection[str]] = tuple(SPLITS)
    habits: ClassVar[Collection[str]] = tuple(Habit)

    task: Task
    store: Store | None = None

    def begin(self, seed: int) -> Observation:
        self.close()
        self.task = make_task(self.split, seed)
        self.store = Store(self.task.start)
        self.toolset = self.task.desk.toolset(self.store)
        self.goal = self.task.goal()
        self.solved_steps = 0
        return {"role": "system", "content": SYSTEM}, {"role": "user", "content": self.task.request}

    def is_solved(self) -> bool:
        return self.store is not None and self.store.snapshot() == self.goal

    def state(self) -> State:
        if self.store is None:
            return {}
        rows_of = zip(TABLES, self.store.snapshot(), strict=True)
        return {
            table.strip('"'): [dict(zip(self._columns(table), row, strict=True)) for row in rows]
            for table, rows in rows_of
        }

    def _columns(self, table: str) -> list[str]:
        assert self.store is not None
        return [column[0] for column in self.store.db.execute(f"select * from {table} limit 0").description]

    def task_record(self) -> dict[str, Any]:
        task = self.task
        return {
            "seed": task.seed,
            "split": task.split,
            "family": task.family,
            "plan_length": len(task.plan),
            "opportunities": task.opportunities(),
            "catalogue": sorted(self.toolset.catalogue),
        }

    def after_call(self, name: str, arguments: Mapping[str, Any], result: ToolResult) -> None:
        self.solved_steps += not result.is_error and self._is_next(name)

    def _is_next(self, name: str) -> bool:
        step = self.next_step
        return step is not None and self.task.desk.names[step.function] == name

    @property
    def next_step(self) -> Step | None:
        """The expert's next call; None where it answers."""
        plan = self.task.plan
        return plan[self.solved_steps] if self.solved_steps < len(plan) else None

    @property
    def applicable_habits(self) -> Collection[str]:
        step = self.next_step
        return () if step is None else self.task.desk.applicable(step)

    def expert_action(self, habits: Collection[str] = ()) -> Message:
        step = self.next_step
        if step is None:
            return {"role": "assistant", "content": self.task.answer}
        name, arguments = self.task.desk.call(step, {Habit(habit) for habit in habits})
        call = ToolCall(id=f"call_{self.turns}", name=name, arguments=json.dumps(arguments))
        return {"role": "assistant", "content": "", "tool_calls": [call.to_openai()]}

    def close(self) -> None:
        if self.store is not None:
            self.store.close()
            self.store = None
