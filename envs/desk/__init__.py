"""The service desk grown up: `hintsight/store-v1`.

`world.py` is the shop, `tools.py` what can be done in it, `tasks.py` what customers ask for; here they become an
environment.
"""

from dataclasses import replace
from typing import Any, ClassVar

from envs.desk.tasks import RULES, SPLITS, Task, catalogue, make_task
from envs.desk.tools import faces_of
from envs.desk.world import Row, Shop
from envs.env import State
from envs.planned import PlannedEnv
from envs.tasks import Script
from tools import WRITE, Toolset


class DeskEnv(PlannedEnv):
    """The desk of a shop with house rules. Customers want orders cancelled, moved, sent back, exchanged or paid back in
    part, come back with more, and are refused what the rules forbid."""

    splits: ClassVar[tuple[str, ...]] = tuple(SPLITS)

    def __init__(self, *, max_turns: int = 24, **options: Any) -> None:
        super().__init__(max_turns=max_turns, **options)
        sells = catalogue(self.split)
        self.shop = Shop(sells.products, sells.items)
        self.faces = faces_of(self.shop)
        canonical = {name: tool for name, ((_, tool), *_) in self.faces.items()}
        self.writes = {
            name: tool.function for name, tool in canonical.items() if tool.access is WRITE and tool.function
        }

    def set_up(self, seed: int) -> Script:
        task = make_task(self.split, seed)
        self.shop.open(task.start)
        self.goal = self._goal(task)
        shown = {name: self.faces[name][number] for name, number in task.faces.items()}
        absent = [face.name for name, (face, _) in shown.items() if name not in task.offered]
        self.toolset = Toolset([shown[name][1] for name in task.offered], catalogue=absent)
        return Script(
            kind=task.kind,
            system=RULES,
            exchanges=tuple(
                replace(exchange, plan=tuple(shown[step.tool][0].call(step) for step in exchange.plan))
                for exchange in task.exchanges
            ),
        )

    def _goal(self, task: Task) -> list[Row]:
        """What the shop has changed once the task's plan is carried out; reading changes nothing."""
        for exchange in task.exchanges:
            for step in exchange.plan:
                if write := self.writes.get(step.tool):
                    write(**step.arguments)
        goal = self.shop.changes()
        self.shop.back_to_start()
        return goal

    def is_solved(self) -> bool:
        return self.shop.changes() == self.goal

    def state(self) -> State:
        return self.shop.rows()

    def close(self) -> None:
        self.shop.close()
