"""A database analyst's desk: `hintsight/analyst-v0`.

`schema.py` and `domains/` say what databases are drawn of, `world.py` is one of them, `tools.py` what can be done with
it, `questions.py` and `tasks.py` what is asked; here they become an environment.
"""

from collections.abc import Collection
from typing import Any, ClassVar

from envs.analyst.tasks import SPLITS, Task, make_task
from envs.analyst.tools import HELD_OUT_TOOLS, AnalystTools
from envs.env import State
from envs.planned import PlannedEnv
from envs.tasks import Script
from tools import Toolset, tools_of


class AnalystEnv(PlannedEnv):
    """The desk of an analyst. A question is answered from a database that is another one in every task: its tables,
    names, units, codes and date formats have to be found out. The answer counts by its value."""

    splits: ClassVar[Collection[str]] = tuple(SPLITS)
    task: Task | None = None

    def __init__(self, *, max_turns: int = 24, **options: Any) -> None:
        super().__init__(max_turns=max_turns, **options)

    def set_up(self, seed: int) -> Script:
        self.close()
        self.task = make_task(self.split, seed)
        tools = tools_of(AnalystTools(self.task.database))
        hidden = frozenset[str]() if self.split == "held_out" else HELD_OUT_TOOLS
        self.toolset = Toolset([tool for tool in tools if tool.name not in hidden], catalogue=hidden)
        return self.task.script

    def is_solved(self) -> bool:
        return self.task is not None and self.task.question.expected.matches(self.task.database.answer)

    def state(self) -> State:
        """The tables, of which nothing ever changes, and the answer, if one is submitted."""
        if self.task is None:
            return {}
        database = self.task.database
        tables = [{"table": name, "rows": len(table.rows)} for name, table in database.tables.items()]
        return {"tables": tables, "answer": [] if database.answer is None else [{"submitted": database.answer}]}

    def close(self) -> None:
        if self.task is not None:
            self.task.database.close()
            self.task = None
