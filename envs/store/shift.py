"""A shift at the store's desk: several people, one after the other, and hardly a turn to lose.

A harder setting of store-v0, of the same people, things and tools: ten to twelve calls a task, results that show whole
records, some 2,000 tokens a trajectory, and two turns more than an expert needs. So the final reward says little:
nearly every trajectory of a model with habits fails, whatever else it did right. `hintsight/shift-v1` is frozen
together with the tiny model that learnt it, as store-v0 is.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import Any

from envs.env import Observation
from envs.store import SYSTEM, StoreEnv
from envs.store.records import with_records
from envs.store.tasks import FAMILIES, SPLITS, Family, Scene, Task
from envs.store.tools import HELD_OUT_TOOLS, NAMES, Desk, Step
from envs.store.world import Start, Store
from envs.trajectory import Message
from tools import Toolset
from tools.toolset import showing

LEAST_CALLS, MOST_CALLS = 10, 12
"""Of a shift's plan."""
OFFERED = 10
"""So many tools are offered, or as many as are needed."""
SLACK = 2
"""By so many turns an episode may be longer than the expert's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What one person wants, how it is done, and what they are told then."""

    request: str
    plan: tuple[Step, ...]
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift(Task):
    """A task of several cases; its `plan` is all of theirs, its `request` and `answer` are the first one's."""

    cases: tuple[Case, ...]


def make_shift(split: str, seed: int) -> Shift:
    """The shift of a split and a seed; the splits are store-v0's."""
    rng = Random(f"shift-v1/{split}/{seed}")
    names = _families(rng, split)
    scenes = _apart(rng, [FAMILIES[name] for name in names])
    cases = tuple(_cases(scenes, [FAMILIES[name] for name in names]))
    plan = tuple(step for case in cases for step in case.plan)
    needed = {step.function for step in plan}
    others = sorted(set(NAMES) - needed - (HELD_OUT_TOOLS if split in ("train", "test") else set()))
    more = rng.sample(others, min(len(others), max(0, OFFERED - len(needed))))
    return Shift(
        seed=seed,
        split=split,
        family="+".join(names),
        request=cases[0].request,
        answer=cases[0].answer,
        start=_together(scenes),
        desk=Desk.draw(rng, needed | set(more)),
        plan=plan,
        cases=cases,
    )


def _families(rng: Random, split: str) -> list[str]:
    """Families whose plans have the wanted number of calls in all."""
    lengths = {name: len(FAMILIES[name].plan(Scene(Random(0), status=FAMILIES[name].status))) for name in SPLITS[split]}
    while True:
        names: list[str] = []
        while (calls := sum(lengths[name] for name in names)) < LEAST_CALLS:
            names.append(rng.choice(SPLITS[split]))
        if calls <= MOST_CALLS:
            return names


def _apart(rng: Random, families: list[Family]) -> list[Scene]:
    """A scene for each case, drawn again until it shares no person and no id with those before it."""
    scenes: list[Scene] = []
    taken: set[object] = set()
    for family in families:
        while taken & (keys := _keys(scene := Scene(rng, status=family.status))):
            pass
        scenes.append(scene)
        taken |= keys
    return scenes


def _keys(scene: Scene) -> set[object]:
    """People by name and id, orders and shipments by id: ids of different kinds of thing never meet."""
    people = {key for customer in scene.customers for key in (customer.id, customer.name)}
    return people | {order.id for order in scene.orders} | {shipment.id for shipment in scene.shipments.values()}


def _cases(scenes: list[Scene], families: list[Family]) -> Iterator[Case]:
    """The cases in order: an order that one of them enters moves the next one's id on."""
    next_order_id = scenes[0].next_order_id
    for scene, family in zip(scenes, families, strict=True):
        scene.next_order_id = next_order_id
        plan = tuple(family.plan(scene))
        next_order_id += sum(step.function == "create_order" for step in plan)
        yield Case(request=family.asked(scene), plan=plan, answer=family.answer)


def _together(scenes: list[Scene]) -> Start:
    """One store with all that the scenes have; of an item, as many as all of them have together."""
    starts = [scene.start() for scene in scenes]
    stock: dict[str, int] = {}
    for start in starts:
        for item, quantity in start.stock:
            stock[item] = stock.get(item, 0) + quantity
    return replace(
        starts[0],
        customers=tuple(customer for start in starts for customer in start.customers),
        stock=tuple(stock.items()),
        orders=tuple(order for start in starts for order in start.orders),
        shipments=tuple(shipment for start in starts for shipment in start.shipments),
    )


class ShiftEnv(StoreEnv):
    """The service desk for a whole shift: the next person speaks once the one before has been answered.

    `slack` is how many turns an episode may take beyond the expert's; `max_turns` stays a limit above that.
    """

    task: Shift

    def __init__(self, *, slack: int = SLACK, max_turns: int = 32, max_errors: int = 16, **options: Any) -> None:
        super().__init__(max_turns=max_turns, max_errors=max_errors, **options)
        self.slack, self.most_turns = slack, max_turns

    def begin(self, seed: int) -> Observation:
        self.close()
        self.task = make_shift(self.split, seed)
        self.store = Store(self.task.start)
        toolset, whole = self.task.desk.toolset(self.store), partial(with_records, self.store)
        self.toolset = Toolset([showing(tool, whole) for tool in toolset.tools], catalogue=toolset.catalogue)
        self.goal = self.task.goal()
        self.case = self.solved_steps = 0
        self.max_turns = min(self.most_turns, len(self.task.plan) + len(self.task.cases) + self.slack)
        return {"role": "system", "content": SYSTEM}, {"role": "user", "content": self.task.request}

    def reply(self, text: str) -> str | None:
        self.case, self.solved_steps = self.case + 1, 0
        return self.task.cases[self.case].request if self.case < len(self.task.cases) else None

    def task_record(self) -> dict[str, Any]:
        return super().task_record() | {"cases": len(self.task.cases)}

    @property
    def next_step(self) -> Step | None:
        """The expert's next call; None where it answers."""
        if self.case == len(self.task.cases):
            return None
        plan = self.task.cases[self.case].plan
        return plan[self.solved_steps] if self.solved_steps < len(plan) else None

    def expert_action(self, habits: Collection[str] = ()) -> Message:
        if self.next_step is None and self.case < len(self.task.cases):
            return {"role": "assistant", "content": self.task.cases[self.case].answer}
        return super().expert_action(habits)
