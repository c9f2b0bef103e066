"""Seeded tasks of the store desk: a request, a start state, and the plan that solves it.

A task is a pure function of its split and seed. The plan is what an expert does, in canonical form; the goal state is
what the store looks like after it. `HELD_OUT` families and tools appear in the `held_out` split and in `pretrain` (what
the tiny model learns the world from), never in `train` and `test`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from envs.store.tools import HELD_OUT_TOOLS, NAMES, Desk, Step, StoreTools
from envs.store.world import Customer, Order, Shipment, Start, Store

CUSTOMERS = (
    "Ana Ben Carla David Elena Felix Greta Hugo Ines Jonas Klara Leo Marta Nils Olga Pedro Rosa Sven Tara Ulrich "
    "Vera Walter Xenia Yusuf Zoe Amir Bianca Cyril Dora Emil"
).split()
CITIES = "Porto Lyon Turin Ghent Basel Graz Bergen Malaga Leeds Cork Dresden Krakow Tartu Split Bremen Nantes".split()
ITEMS = (
    "lamp kettle chair table mirror carpet clock vase sofa shelf pillow blanket toaster blender fan heater camera "
    "radio tent bicycle helmet guitar piano drum"
).split()

CUES: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "reason": {
        "damaged": ("it came in pieces", "it does not work"),
        "late": ("it took too long", "it is not here yet"),
        "unwanted": ("they changed their mind", "they need it no more"),
    },
    "method": {
        "card": ("back to the bank", "to the account"),
        "cash": ("in notes", "in hand at the counter"),
        "voucher": ("as store credits", "for the next purchase"),
    },
    "speed": {
        "standard": ("there is no hurry", "take your time"),
        "express": ("within two days", "they are in a hurry"),
        "overnight": ("it must be there tomorrow", "before the morning"),
    },
    "priority": {
        "low": ("it is not important", "it can wait"),
        "medium": ("it is somewhat important", "it should not wait long"),
        "high": ("it is very important", "it can not wait"),
    },
    "topic": {
        "billing": ("the bill is wrong", "they paid twice"),
        "delivery": ("the driver never came", "the parcel got lost"),
        "quality": ("the paint comes off", "it makes a noise"),
    },
    "condition": {
        "unopened": ("the box is still closed", "nobody touched it"),
        "opened": ("the box is open", "they tried it"),
        "ruined": ("it is beyond repair", "it fell down the stairs"),
    },
}
"""How a request says each value of an enum, in words that no enum uses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One seeded problem. `opportunities` counts the calls of the plan at which each habit would be a mistake."""

    seed: int
    split: str
    family: str
    request: str
    answer: str
    start: Start
    desk: Desk
    plan: tuple[Step, ...]

    def goal(self) -> tuple[Any, ...]:
        """The store's snapshot after the plan."""
        store = Store(self.start)
        try:
            functions = StoreTools(store)
            for step in self.plan:
                getattr(functions, step.function)(**step.arguments)
            return store.snapshot()
        finally:
            store.close()

    def opportunities(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for step in self.plan:
            for habit in self.desk.applicable(step):
                counts[habit] = counts.get(habit, 0) + 1
        return counts


class Scene:
    """A drawn start state and the one order that a task is about, with what its family decides on."""

    def __init__(self, rng: Random, *, status: str = "open") -> None:
        self.rng = rng
        items = rng.sample(ITEMS, 8)
        customer_ids, order_ids = rng.sample(range(100, 300), 4), sorted(rng.sample(range(300, 690), 7))
        shipment_ids = rng.sample(range(700, 840), 7)
        names, self.cues = rng.sample(CUSTOMERS, 4), dict[str, str]()
        self.customers = [
            Customer(id=key, name=name, city=rng.choice(CITIES)) for key, name in zip(customer_ids, names, strict=True)
        ]
        owners = [self.customers[place] for place in (0, 0, 0, 1, 1, 2, 3)]
        rng.shuffle(owners)
        self.orders = [
            self._order(key, owner, item, rng.choice(("open", "shipped")))
            for key, owner, item in zip(order_ids, owners, items, strict=False)
        ]
        place = rng.randrange(len(self.orders))
        self.order = self.orders[place] = self._order(order_ids[place], owners[place], items[place], status)
        self.customer = owners[place]
        self.stock = tuple((item, rng.randint(5, 60)) for item in items)
        self.item = rng.choice(items)
        self.quantity = rng.randint(2, 5)
        self.city = rng.choice([city for city in CITIES if city != self.customer.city])
        self.shipments = {
            order.id: Shipment(id=key, order_id=order.id, speed="standard", city=owner.city)
            for order, owner, key in zip(self.orders, owners, shipment_ids, strict=True)
            if order.status == "shipped"
        }
        self.next_order_id, self.next_shipment_id = rng.randint(690, 698), rng.randint(840, 940)
        self.next_ticket_id = rng.randint(940, 990)

    def _order(self, key: int, owner: Customer, item: str, status: str) -> Order:
        quantity = self.rng.randint(1, 4)
        total = quantity * self.rng.randint(11, 99)
        return Order(id=key, customer_id=owner.id, item=item, quantity=quantity, total=total, status=status)

    def start(self) -> Start:
        next_ids = (("order", self.next_order_id), ("shipment", self.next_shipment_id), ("ticket", self.next_ticket_id))
        return Start(
            customers=tuple(self.customers),
            stock=self.stock,
            orders=tuple(self.orders),
            shipments=tuple(self.shipments.values()),
            next_ids=next_ids,
        )

    def choose(self, enum: str) -> str:
        """Draw a value of an enum; `cue(enum)` is how the request says it."""
        value = self.rng.choice(sorted(CUES[enum]))
        self.cues[enum] = self.rng.choice(CUES[enum][value])
        return value

    def get_customer(self) -> Step:
        return Step(function="get_customer", arguments={"name": self.customer.name})

    def list_orders(self) -> Step:
        return Step(function="list_orders", arguments={"customer_id": self.customer.id, "item": self.order.item})

    def get_order(self) -> Step:
        return Step(function="get_order", arguments={"order_id": self.order.id})

    def check_stock(self, item: str) -> Step:
        return Step(function="check_stock", arguments={"item": item})

    def cancel(self) -> Step:
        return Step(function="cancel_order", arguments={"order_id": self.order.id, "reason": self.choose("reason")})

    def refund(self) -> Step:
        arguments = {"order_id": self.order.id, "amount": self.order.total, "method": self.choose("method")}
        return Step(function="refund_order", arguments=arguments)

    def ship(self, order_id: int) -> Step:
        return Step(function="ship_order", arguments={"order_id": order_id, "speed": self.choose("speed")})

    def create(self) -> Step:
        arguments = {"customer_id": self.customer.id, "item": self.item, "quantity": self.quantity}
        return Step(function="create_order", arguments=arguments)

    def reserve(self) -> Step:
        arguments = {"item": self.item, "quantity": self.quantity, "priority": self.choose("priority")}
        return Step(function="reserve_stock", arguments=arguments)

    def ticket(self) -> Step:
        arguments = {"customer_id": self.customer.id, "topic": self.choose("topic")}
        return Step(function="open_ticket", arguments=arguments)

    def take_back(self) -> Step:
        arguments = {"order_id": self.order.id, "condition": self.choose("condition")}
        return Step(function="return_order", arguments=arguments)

    def reroute(self) -> Step:
        arguments = {"shipment_id": self.shipments[self.order.id].id, "city": self.city}
        return Step(function="reroute_shipment", arguments=arguments)


@dataclass(frozen=True, slots=True)
class Family:
    """A kind of task: what its order's status is, how it is solved, how it is asked for, how it is answered.

    `request` is a format string over `name`, `order`, `item` (the order's), `wanted` (another item), `quantity`, `city`
    and the enums' cues.
    """

    request: str
    answer: str
    plan: Callable[[Scene], list[Step]]
    status: str = "open"

    def asked(self, scene: Scene) -> str:
        """The request, once the plan has chosen its enums' values."""
        order = scene.order
        return self.request.format(
            name=scene.customer.name,
            order=order.id,
            item=order.item,
            wanted=scene.item,
            quantity=scene.quantity,
            city=scene.city,
            **scene.cues,
        )


FAMILIES: Mapping[str, Family] = {
    "cancel": Family(
        "Look at order #{order} and cancel it: {reason}.",
        "Done, the order is cancelled.",
        lambda s: [s.get_order(), s.cancel()],
    ),
    "cancel_by_name": Family(
        "{name} wants to cancel the order of the {item}: {reason}.",
        "Done, the order is cancelled.",
        lambda s: [s.get_customer(), s.list_orders(), s.cancel()],
    ),
    "refund": Family(
        "Look at order #{order} and pay back all of it, {method}.",
        "Done, the money is paid back.",
        lambda s: [s.get_order(), s.refund()],
        "shipped",
    ),
    "refund_by_name": Family(
        "{name} wants all the money back for the {item}, {method}.",
        "Done, the money is paid back.",
        lambda s: [s.get_customer(), s.list_orders(), s.get_order(), s.refund()],
        "shipped",
    ),
    "ship": Family(
        "Look at order #{order}, check that we have the item, and send it: {speed}.",
        "Done, the order is on its way.",
        lambda s: [s.get_order(), s.check_stock(s.order.item), s.ship(s.order.id)],
    ),
    "buy": Family(
        "{name} wants to buy {quantity} of the {wanted}. Check that we have it, enter the order and send it: {speed}.",
        "Done, the order is on its way.",
        lambda s: [s.get_customer(), s.check_stock(s.item), s.create(), s.ship(s.next_order_id)],
    ),
    "reserve": Family(
        "Check that we have the {wanted} and set {quantity} aside: {priority}.",
        "Done, the items are set aside.",
        lambda s: [s.check_stock(s.item), s.reserve()],
    ),
    "complain": Family(
        "{name} complains: {topic}. Write it down.",
        "Done, the complaint is written down.",
        lambda s: [s.get_customer(), s.ticket()],
    ),
    "cancel_and_complain": Family(
        "{name} wants to cancel the order of the {item}: {reason}. Write down a complaint too: {topic}.",
        "Done, the order is cancelled and the complaint written down.",
        lambda s: [s.get_customer(), s.list_orders(), s.cancel(), s.ticket()],
    ),
    "return": Family(
        "Look at order #{order} and take it back: {condition}.",
        "Done, the order is taken back.",
        lambda s: [s.get_order(), s.take_back()],
        "shipped",
    ),
    "return_and_refund": Family(
        "{name} brings back the {item}: {condition}. Take it back and pay back all of it, {method}.",
        "Done, the order is taken back and the money paid back.",
        lambda s: [s.get_customer(), s.list_orders(), s.get_order(), s.take_back(), s.refund()],
        "shipped",
    ),
    "reroute": Family(
        "{name} wants the {item} sent to {city} instead.",
        "Done, the shipment has a new address.",
        lambda s: [s.get_customer(), s.list_orders(), s.get_order(), s.reroute()],
        "shipped",
    ),
    "replace": Family(
        "{name} wants to cancel the order of the {item}: {reason}. Enter an order of {quantity} of the {wanted} "
        "instead and send it: {speed}.",
        "Done, the order is cancelled and the new one on its way.",
        lambda s: [s.get_customer(), s.list_orders(), s.cancel(), s.create(), s.ship(s.next_order_id)],
    ),
}
HELD_OUT_FAMILIES = frozenset({"return", "return_and_refund", "reroute", "replace"})
SPLITS: Mapping[str, tuple[str, ...]] = {
    "train": tuple(family for family in FAMILIES if family not in HELD_OUT_FAMILIES),
    "test": tuple(family for family in FAMILIES if family not in HELD_OUT_FAMILIES),
    "held_out": tuple(family for family in FAMILIES if family in HELD_OUT_FAMILIES),
    "pretrain": tuple(FAMILIES),
}


def make_task(split: str, seed: int) -> Task:
    """The task of a split and a seed. Needs one of `SPLITS`; any seed from 0 on will do."""
    rng = Random(f"store-v0/{split}/{seed}")
    name = rng.choice(SPLITS[split])
    family = FAMILIES[name]
    scene = Scene(rng, status=family.status)
    plan = tuple(family.plan(scene))
    needed = {step.function for step in plan}
    others = sorted(set(NAMES) - needed - (HELD_OUT_TOOLS if split in ("train", "test") else set()))
    distractors = rng.sample(others, max(0, rng.randint(4, 6) - len(needed)))
    return Task(
        seed=seed,
        split=split,
        family=name,
        request=family.asked(scene),
        answer=family.answer,
        start=scene.start(),
        desk=Desk.draw(rng, needed | set(distractors)),
        plan=plan,
    )
