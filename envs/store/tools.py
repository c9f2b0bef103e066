"""The store's twelve functions, and the face that they show in an episode.

`StoreTools` holds the functions under their canonical names. A `Desk` is one episode's way of offering them: which
ones, under which of three near-synonymous names, with which words in the enums, with ids as integers or as strings,
with `confirm` and `limit` required or absent. So a model that goes by habit makes natural mistakes.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Any, Literal

from envs.store.world import Store
from tools import READ, WRITE, DomainError, Tool, Toolset, tool, tools_of
from tools.toolset import renamed, requiring, retyped, reworded, without

Record = dict[str, Any]

NAMES: Mapping[str, tuple[str, str, str]] = {
    "get_customer": ("get_customer", "find_customer", "lookup_customer"),
    "list_orders": ("list_orders", "show_orders", "browse_orders"),
    "get_order": ("get_order", "find_order", "lookup_order"),
    "check_stock": ("check_stock", "query_stock", "inspect_stock"),
    "cancel_order": ("cancel_order", "void_order", "revoke_order"),
    "refund_order": ("refund_order", "repay_order", "reimburse_order"),
    "ship_order": ("ship_order", "dispatch_order", "send_order"),
    "create_order": ("create_order", "place_order", "enter_order"),
    "reserve_stock": ("reserve_stock", "hold_stock", "allocate_stock"),
    "open_ticket": ("open_ticket", "file_ticket", "raise_ticket"),
    "return_order": ("return_order", "accept_order", "restore_order"),
    "reroute_shipment": ("reroute_shipment", "redirect_shipment", "divert_shipment"),
}
"""Each function's canonical name first, then its near-synonyms."""

WORDS: Mapping[str, Mapping[str, tuple[str, str, str]]] = {
    "reason": {
        "damaged": ("damaged", "broken", "faulty"),
        "late": ("late", "delayed", "overdue"),
        "unwanted": ("unwanted", "unneeded", "regretted"),
    },
    "method": {
        "card": ("card", "credit", "plastic"),
        "cash": ("cash", "money", "coins"),
        "voucher": ("voucher", "coupon", "giftcard"),
    },
    "speed": {
        "standard": ("standard", "normal", "regular"),
        "express": ("express", "fast", "rapid"),
        "overnight": ("overnight", "nextday", "urgent"),
    },
    "priority": {
        "low": ("low", "minor", "small"),
        "medium": ("medium", "middle", "average"),
        "high": ("high", "major", "top"),
    },
    "topic": {
        "billing": ("billing", "invoice", "payment"),
        "delivery": ("delivery", "shipping", "transport"),
        "quality": ("quality", "defect", "product"),
    },
    "condition": {
        "unopened": ("unopened", "sealed", "intact"),
        "opened": ("opened", "used", "worn"),
        "ruined": ("ruined", "shattered", "wrecked"),
    },
}
"""Each enum's values, canonical word first, then its near-synonyms."""

IDS = ("customer_id", "order_id", "shipment_id")
HELD_OUT_TOOLS = frozenset({"return_order", "reroute_shipment"})


class StoreTools:
    """What can be done in a store. Ids are integers here; amounts are whole euros."""

    def __init__(self, store: Store) -> None:
        self.store = store

    @tool(READ)
    def get_customer(self, name: str) -> Record:
        """Look up a customer by name."""
        row = self.store.one("select id, city from customer where name = ?", name)
        if row is None:
            raise DomainError(f"no customer is named {name}")
        return {"customer_id": row[0], "name": name, "city": row[1]}

    @tool(READ)
    def list_orders(self, customer_id: int, item: str, limit: int = 5) -> Record:
        """List the orders of a customer for an item."""
        self._require("customer", customer_id)
        self._in_stock(item)
        query = 'select id, status from "order" where customer_id = ? and item = ? order by id limit ?'
        rows = self.store.db.execute(query, (customer_id, item, max(0, min(limit, 9))))
        return {"orders": [{"order_id": order_id, "status": status} for order_id, status in rows]}

    @tool(READ)
    def get_order(self, order_id: int) -> Record:
        """Look up an order by its id."""
        item, quantity, total, status = self._order(order_id)
        shipment = self.store.one("select id from shipment where order_id = ?", order_id)
        record = {"order_id": order_id, "item": item, "quantity": quantity, "total": total, "status": status}
        return record | ({"shipment_id": shipment[0]} if shipment else {})

    @tool(READ)
    def check_stock(self, item: str) -> Record:
        """See how many of an item are in stock."""
        return {"item": item, "stock": self._in_stock(item)}

    @tool(WRITE)
    def cancel_order(
        self, order_id: int, reason: Literal["damaged", "late", "unwanted"], confirm: bool = True
    ) -> Record:
        """Cancel an open order."""
        self._require_confirmation(confirm)
        self._require_status(order_id, "open")
        return self._set_status(order_id, "cancelled", reason)

    @tool(WRITE)
    def refund_order(
        self, order_id: int, amount: int, method: Literal["card", "cash", "voucher"], confirm: bool = True
    ) -> Record:
        """Pay back money for an order."""
        self._require_confirmation(confirm)
        _, _, total, _ = self._order(order_id)
        paid = self.store.one("select coalesce(sum(amount), 0) from refund where order_id = ?", order_id)
        if paid is None or not 0 < amount <= total - paid[0]:
            raise DomainError(f"at most {total} can be refunded")
        self.store.db.execute("insert into refund values (?, ?, ?)", (order_id, amount, method))
        return {"order_id": order_id, "refunded": amount}

    @tool(WRITE)
    def ship_order(
        self, order_id: int, speed: Literal["standard", "express", "overnight"], confirm: bool = True
    ) -> Record:
        """Send an open order to its customer."""
        self._require_confirmation(confirm)
        self._require_status(order_id, "open")
        shipment_id = self.store.take_id("shipment")
        self.store.db.execute(
            'insert into shipment select ?, "order".id, ?, city from "order" '
            'join customer on customer.id = customer_id where "order".id = ?',
            (shipment_id, speed, order_id),
        )
        return self._set_status(order_id, "shipped") | {"shipment_id": shipment_id}

    @tool(WRITE)
    def create_order(self, customer_id: int, item: str, quantity: int, confirm: bool = True) -> Record:
        """Enter a new order for a customer."""
        self._require_confirmation(confirm)
        self._require("customer", customer_id)
        self._take_stock(item, quantity)
        order_id = self.store.take_id("order")
        self.store.db.execute(
            "insert into \"order\" values (?, ?, ?, ?, ?, 'open', null)",
            (order_id, customer_id, item, quantity, 10 * quantity),
        )
        return {"order_id": order_id, "status": "open"}

    @tool(WRITE)
    def reserve_stock(
        self, item: str, quantity: int, priority: Literal["low", "medium", "high"], confirm: bool = True
    ) -> Record:
        """Set an item aside."""
        self._require_confirmation(confirm)
        self._take_stock(item, quantity)
        self.store.db.execute("insert into reservation values (?, ?, ?)", (item, quantity, priority))
        return {"item": item, "reserved": quantity}

    @tool(WRITE)
    def open_ticket(
        self, customer_id: int, topic: Literal["billing", "delivery", "quality"], confirm: bool = True
    ) -> Record:
        """Write down a complaint of a customer."""
        self._require_confirmation(confirm)
        self._require("customer", customer_id)
        ticket_id = self.store.take_id("ticket")
        self.store.db.execute("insert into ticket values (?, ?, ?)", (ticket_id, customer_id, topic))
        return {"ticket_id": ticket_id}

    @tool(WRITE)
    def return_order(
        self, order_id: int, condition: Literal["unopened", "opened", "ruined"], confirm: bool = True
    ) -> Record:
        """Take back a shipped order."""
        self._require_confirmation(confirm)
        self._require_status(order_id, "shipped")
        return self._set_status(order_id, "returned", condition)

    @tool(WRITE)
    def reroute_shipment(self, shipment_id: int, city: str, confirm: bool = True) -> Record:
        """Send a shipment to another city."""
        self._require_confirmation(confirm)
        self._require("shipment", shipment_id)
        if not city.isalpha():
            raise DomainError(f"no city is named {city}")
        self.store.db.execute("update shipment set city = ? where id = ?", (city, shipment_id))
        return {"shipment_id": shipment_id, "city": city}

    def _require(self, table: str, key: int) -> None:
        if self.store.one(f"select 1 from {table} where id = ?", key) is None:
            raise DomainError(f"{table} {key} not found")

    def _require_confirmation(self, confirm: bool) -> None:
        if not confirm:
            raise DomainError("not confirmed")

    def _order(self, order_id: int) -> tuple[str, int, int, str]:
        row = self.store.one('select item, quantity, total, status from "order" where id = ?', order_id)
        if row is None:
            raise DomainError(f"order {order_id} not found")
        item, quantity, total, status = row
        return item, quantity, total, status

    def _require_status(self, order_id: int, wanted: str) -> None:
        status = self._order(order_id)[3]
        if status != wanted:
            raise DomainError(f"order {order_id} is {status}, not {wanted}")

    def _set_status(self, order_id: int, status: str, reason: str | None = None) -> Record:
        self.store.db.execute('update "order" set status = ?, reason = ? where id = ?', (status, reason, order_id))
        return {"order_id": order_id, "status": status}

    def _in_stock(self, item: str) -> int:
        row = self.store.one("select quantity from stock where item = ?", item)
        if row is None:
            raise DomainError(f"the store has no item {item}")
        return int(row[0])

    def _take_stock(self, item: str, quantity: int) -> None:
        in_stock = self._in_stock(item)
        if not 0 < quantity <= in_stock:
            raise DomainError(f"{in_stock} of {item} are in stock")
        self.store.db.execute("update stock set quantity = quantity - ? where item = ?", (quantity, item))


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One call of a plan in canonical form: the function's canonical name, canonical words, integer ids."""

    function: str
    arguments: Mapping[str, Any]


class Habit(StrEnum):
    """A part of a call that a policy may write canonically, whatever the desk offers."""

    NAME = "name"
    ENUM = "enum"
    TYPE = "type"
    MISSING = "missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """How one episode offers the store's functions."""

    functions: tuple[str, ...]
    names: Mapping[str, str]
    words: Mapping[str, Mapping[str, str]]
    string_ids: frozenset[str]
    required: Mapping[str, tuple[str, Any]]

    @classmethod
    def draw(cls, rng: Random, functions: Collection[str]) -> "Desk":
        """Draw a face for the store that offers `functions`, in random order."""
        extras = {function: ("limit", 5) if function == "list_orders" else ("confirm", True) for function in NAMES}
        for function in ("get_customer", "get_order", "check_stock"):
            del extras[function]
        return cls(
            functions=tuple(rng.sample(sorted(functions), len(functions))),
            names={function: rng.choice(names) for function, names in NAMES.items()},
            words={
                argument: {value: rng.choice(values[value]) for value in rng.sample(sorted(values), len(values))}
                for argument, values in WORDS.items()
            },
            string_ids=frozenset(argument for argument in IDS if rng.random() < 0.5),
            required={function: extra for function, extra in extras.items() if rng.random() < 0.6},
        )

    def toolset(self, store: Store) -> Toolset:
        """The offered tools, bound to a store; the others are its catalogue."""
        canonical = {tool.name: tool for tool in tools_of(StoreTools(store))}
        offered = [self._face(canonical[function]) for function in self.functions]
        withheld = {name for function, name in self.names.items() if function not in self.functions}
        return Toolset(offered, catalogue=withheld)

    def _face(self, tool: Tool) -> Tool:
        face = renamed(tool, self.names[tool.name])
        for argument in tool.parameters["properties"]:
            if argument in WORDS:
                face = reworded(face, argument, self.words[argument])
            elif argument in self.string_ids:
                face = retyped(face, argument)
            elif argument in ("confirm", "limit"):
                face = requiring(face, argument) if tool.name in self.required else without(face, argument)
        return face

    def call(self, step: Step, habits: Collection[Habit] = ()) -> tuple[str, dict[str, Any]]:
        """A step as this desk wants it: the offered name and the arguments.

        A part named in `habits` is left canonical, which is a mistake wherever the desk differs.
        """
        name = step.function if Habit.NAME in habits else self.names[step.function]
        arguments = dict(step.arguments)
        for argument, value in step.arguments.items():
            if argument in WORDS and Habit.ENUM not in habits:
                arguments[argument] = self.words[argument][value]
            elif argument in self.string_ids and Habit.TYPE not in habits:
                arguments[argument] = str(value)
        if step.function in self.required and Habit.MISSING not in habits:
            argument, value = self.required[step.function]
            arguments[argument] = value
        return name, arguments

    def applicable(self, step: Step) -> list[Habit]:
        """The habits that would make this step's call invalid: its opportunities for error."""
        right = self.call(step)
        return [habit for habit in Habit if self.call(step, {habit}) != right]
