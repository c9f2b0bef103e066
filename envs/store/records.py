"""Results that show whole records, as many real tools' do: `hintsight/shift-v1`'s."""

import json

from envs.store.tools import Record
from envs.store.world import Store

RECORDS = (
    (
        "order",
        "order_id",
        "select json_object('order_id', id, 'customer_id', customer_id, 'item', item, 'quantity', quantity, "
        "'total', total, 'status', status, 'reason', reason) from \"order\" where id = ?",
    ),
    (
        "ticket",
        "ticket_id",
        "select json_object('ticket_id', id, 'customer_id', customer_id, 'topic', topic) from ticket where id = ?",
    ),
    (
        "customer",
        "customer_id",
        "select json_object('customer_id', id, 'name', name, 'city', city, 'tickets', "
        "(select count(*) from ticket where customer_id = customer.id)) from customer where id = ?",
    ),
    (
        "shipment",
        "shipment_id",
        "select json_object('shipment_id', id, 'order_id', order_id, 'speed', speed, 'city', city) "
        "from shipment where id = ?",
    ),
    (
        "stock",
        "item",
        "select json_object('item', item, 'quantity', quantity, 'reserved', "
        "(select coalesce(sum(quantity), 0) from reservation where item = stock.item)) from stock where item = ?",
    ),
)
"""What is shown beside a result: its name there, the key that it is found by, and the query."""


def with_records(store: Store, result: Record) -> Record:
    """A tool's result, and the records that it is about: the order, its customer, and what is in stock of its item.

    Of a list of orders, each one's.
    """
    if orders := result.get("orders"):
        return result | {"orders": [with_records(store, order) for order in orders]}
    about = dict(result)
    records: Record = {}
    for name, key, query in RECORDS:
        if key in about and (row := store.one(query, about[key])):
            records[name] = json.loads(row[0])
            about = records[name] | about
    return result | records
