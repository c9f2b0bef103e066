"""The state of a store: customers, orders, stock, refunds, shipments and tickets in SQLite.

One `Store` is one in-memory database. `snapshot` is what the reward compares.
"""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from typing import Any

SCHEMA = """
create table customer (id integer primary key, name text unique not null, city text not null);
create table stock (item text primary key, quantity integer not null check (quantity >= 0));
create table "order" (
    id integer primary key, customer_id integer not null references customer, item text not null references stock,
    quantity integer not null, total integer not null, status text not null, reason text
);
create table shipment (
    id integer primary key, order_id integer not null references "order", speed text not null, city text not null
);
create table refund (order_id integer not null references "order", amount integer not null, method text not null);
create table reservation (item text not null references stock, quantity integer not null, priority text not null);
create table ticket (id integer primary key, customer_id integer not null references customer, topic text not null);
create table next_id (kind text primary key, id integer not null);
"""

TABLES = ("customer", "stock", '"order"', "shipment", "refund", "reservation", "ticket")


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    id: int
    name: str
    city: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    id: int
    customer_id: int
    item: str
    quantity: int
    total: int
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipment:
    id: int
    order_id: int
    speed: str
    city: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """All that a store begins with. `next_ids` gives the id that the next order, shipment and ticket will get."""

    customers: tuple[Customer, ...]
    stock: tuple[tuple[str, int], ...]
    orders: tuple[Order, ...]
    shipments: tuple[Shipment, ...]
    next_ids: tuple[tuple[str, int], ...]


class Store:
    """A store's database, opened in its start state."""

    def __init__(self, start: Start) -> None:
        self.db = sqlite3.connect(":memory:", isolation_level=None)
        self.db.deserialize(_empty())
        self.db.execute("begin")
        self._insert("customer", map(_row, start.customers), 3)
        self._insert("stock", start.stock, 2)
        self._insert('"order"', ((*_row(order), None) for order in start.orders), 7)
        self._insert("shipment", map(_row, start.shipments), 4)
        self._insert("next_id", start.next_ids, 2)
        self.db.execute("commit")

    def _insert(self, table: str, rows: Iterable[tuple[Any, ...]], width: int) -> None:
        self.db.executemany(f"insert into {table} values ({', '.join('?' * width)})", rows)

    def one(self, query: str, *values: Any) -> tuple[Any, ...] | None:
        """The first row of a query, or None; None too for a value that SQLite can't hold, which no row has."""
        try:
            row: tuple[Any, ...] | None = self.db.execute(query, values).fetchone()
        except (OverflowError, UnicodeEncodeError):
            return None
        return row

    def take_id(self, kind: str) -> int:
        """The next free id of a kind of thing; the one after it is one higher."""
        row = self.one("update next_id set id = id + 1 where kind = ? returning id - 1", kind)
        assert row is not None
        return int(row[0])

    def snapshot(self) -> tuple[tuple[tuple[Any, ...], ...], ...]:
        """Every row of every table, in an order that doesn't depend on when it was written."""
        return tuple(tuple(sorted(self.db.execute(f"select * from {table}"), key=repr)) for table in TABLES)

    def close(self) -> None:
        self.db.close()


@cache
def _empty() -> bytes:
    """A database with the tables: read as it lies in memory, which is faster than making them again."""
    with closing(sqlite3.connect(":memory:")) as db:
        db.executescript(SCHEMA)
        return db.serialize()


def _row(thing: Any) -> tuple[Any, ...]:
    """A slotted dataclass's values; `astuple` would look into each for more dataclasses."""
    return tuple(getattr(thing, name) for name in thing.__slots__)
