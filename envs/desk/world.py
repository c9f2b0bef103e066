"""The state of a shop: its catalogue, customers, orders, payments, refunds, returns and cases, in SQLite.

A `Shop` is one in-memory database. The catalogue stays; what belongs to a task lives in a transaction that the next
`open` rolls back, so that a task begins in microseconds and leaves nothing behind. Triggers note each row as it was
before it was first written, so that what an episode changed is known without a look at the rows that it left alone.
Amounts are in cents.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Row = tuple[Any, ...]

SCHEMA = """
create table product (id text primary key, name text not null, final_sale integer not null) without rowid;
create table item (
    sku text primary key, product_id text not null, variant text not null, price integer not null,
    stock integer not null
) without rowid;
create table customer (
    id text primary key, name text not null, email text unique not null, tier text not null
) without rowid;
create table payment (
    id text primary key, customer_id text not null, kind text not null, balance integer
) without rowid;
create table "order" (
    id text primary key, customer_id text not null, status text not null, delivered text, payment_id text not null,
    street text not null, city text not null, postcode text not null, discount integer not null
) without rowid;
create index order_of_customer on "order" (customer_id);
create table line (
    order_id text not null, sku text not null, quantity integer not null, price integer not null, status text not null,
    primary key (order_id, sku)
) without rowid;
create table refund (
    order_id text not null, sku text not null, amount integer not null, payment_id text not null, reason text not null,
    primary key (order_id, sku)
) without rowid;
create table parcel (order_id text primary key, method text not null) without rowid;
create table touched (of text, k0 text, k1 text, was text, primary key (of, k0, k1)) without rowid;
create table "case" (order_id text not null, rule text not null, primary key (order_id, rule)) without rowid;
"""

KEYS: Mapping[str, tuple[str, ...]] = {
    "item": ("sku",),
    "customer": ("id",),
    "payment": ("id",),
    "order": ("id",),
    "line": ("order_id", "sku"),
    "refund": ("order_id", "sku"),
    "parcel": ("order_id",),
    "case": ("order_id", "rule"),
}
"""The tables that tools may write, and their keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What a task begins with, as rows in the order of the columns."""

    customers: Sequence[Row]
    payments: Sequence[Row]
    orders: Sequence[Row]
    lines: Sequence[Row]


class Shop:
    """A shop's database, which sells these products and items."""

    def __init__(self, products: Sequence[Row], items: Sequence[Row]) -> None:
        self.db = sqlite3.connect(":memory:", isolation_level=None, cached_statements=256)
        self.db.executescript(SCHEMA)
        self.db.executemany("insert into product values (?, ?, ?)", products)
        self.db.executemany("insert into item values (?, ?, ?, ?, ?)", items)
        self.columns = {table: self._columns(table) for table in KEYS}
        self._changed = {table: self._watch(table) for table in KEYS}

    def open(self, start: Start) -> None:
        """Begin in the start state, whatever was done before."""
        if self.db.in_transaction:
            self.db.execute("rollback")
        self.db.execute("begin")
        self.db.executemany("insert into customer values (?, ?, ?, ?)", start.customers)
        self.db.executemany("insert into payment values (?, ?, ?, ?)", start.payments)
        self.db.executemany('insert into "order" values (?, ?, ?, ?, ?, ?, ?, ?, ?)', start.orders)
        self.db.executemany("insert into line values (?, ?, ?, ?, ?)", start.lines)
        self.db.execute("delete from touched")
        self.db.execute("savepoint start")

    def back_to_start(self) -> None:
        self.db.execute("rollback to start")

    def one(self, query: str, *values: Any) -> Row | None:
        """The first row of a query, or None; None too for a value that SQLite can't hold, which no row has."""
        try:
            row: Row | None = self.db.execute(query, values).fetchone()
        except (OverflowError, UnicodeEncodeError):
            return None
        return row

    def all(self, query: str, *values: Any) -> list[Row]:
        return self.db.execute(query, values).fetchall()

    def write(self, query: str, *values: Any) -> None:
        self.db.execute(query, values)

    def changes(self) -> list[Row]:
        """The rows that differ from the start state, as JSON, by table and in the order of the keys."""
        touched = self.db.execute("select distinct of from touched order by of").fetchall()
        return [row for (table,) in touched for row in self.db.execute(self._changed[table])]

    def rows(self) -> dict[str, list[dict[str, Any]]]:
        """Every row of the tables that may change."""
        return {
            table: [dict(zip(columns, row, strict=True)) for row in self.all(f'select * from "{table}"')]
            for table, columns in self.columns.items()
        }

    def close(self) -> None:
        self.db.close()

    def _columns(self, table: str) -> list[str]:
        return [column[0] for column in self.db.execute(f'select * from "{table}" limit 0').description]

    def _watch(self, table: str) -> str:
        """Note what is written to a table; gives the query for the rows that have changed."""
        now = ", ".join(f"t.{column}" for column in self.columns[table])
        old = ", ".join(f"old.{column}" for column in self.columns[table])
        keys = [*KEYS[table], "''"][:2]
        for event, row in (("update", "old"), ("delete", "old"), ("insert", "new")):
            key = ", ".join(f"{row}.{name}" if name in KEYS[table] else name for name in keys)
            was = "null" if event == "insert" else f"json_array({old})"
            self.db.execute(
                f'create trigger "{table}_{event}" after {event} on "{table}" begin '
                f"insert or ignore into touched values ('{table}', {key}, {was}); end"
            )
        joined = " and ".join(f"t.{name} = k{place}" for place, name in enumerate(KEYS[table]))
        is_there = f"t.{KEYS[table][0]} is not null"
        return (
            f'select of, k0, k1, iif({is_there}, json_array({now}), null) as is_now from touched left join "{table}" t '
            f"on {joined} where of = '{table}' and is_now is not was"
        )
