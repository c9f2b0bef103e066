"""What can be done at the desk of store-v1, and the faces that its tools show.

Functions check what no desk could do (an order that isn't there, an item out of stock). What the house rules forbid is
left to whoever acts: doing it all the same ends in the wrong state. Each function has three faces, a name and words
for its enums, of which every task shows one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from envs.desk.world import Shop
from envs.tasks import Step
from tools import READ, WRITE, DomainError, Tool, tool, tools_of
from tools.toolset import renamed, reworded

Record = dict[str, Any]
Rule = Literal["return_window", "final_sale", "already_shipped", "not_the_owner"]
Cents = Annotated[int, Field(ge=1, le=1_000_000)]


class Address(BaseModel):
    """Where a parcel goes."""

    model_config = ConfigDict(extra="forbid")

    street: Annotated[str, Field(min_length=3, max_length=60)]
    city: Annotated[str, Field(min_length=2, max_length=40)]
    postcode: Annotated[str, Field(pattern="^[0-9]{5}$")]


class Returned(BaseModel):
    """One item that comes back."""

    model_config = ConfigDict(extra="forbid")

    sku: str
    quantity: Annotated[int, Field(ge=1, le=99)]


class DeskTools:
    """The desk's functions under their first names. Amounts are in cents."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop

    @tool(READ)
    def find_customer(self, email: Annotated[str, Field(pattern="^[^@ ]+@[^@ ]+$")]) -> Record:
        """Look up a customer by e-mail: id, tier, and the ways to pay."""
        row = self.shop.one("select id, name, tier from customer where email = ?", email)
        if row is None:
            raise DomainError(f"no customer has the e-mail {email}")
        payments = self.shop.all("select id, kind from payment where customer_id = ?", row[0])
        return {
            "customer_id": row[0],
            "name": row[1],
            "tier": row[2],
            "payments": [{"payment_id": payment, "kind": kind} for payment, kind in payments],
        }

    @tool(READ)
    def list_orders(self, customer_id: str) -> Record:
        """List a customer's orders."""
        rows = self.shop.all('select id, status, delivered from "order" where customer_id = ?', _storable(customer_id))
        return {"orders": [{"order_id": key, "status": status, "delivered": day} for key, status, day in rows]}

    @tool(READ)
    def get_order(self, order_id: str) -> Record:
        """Look up an order: whose it is, its state, address, payment and items."""
        customer, status, delivered, payment, street, city, postcode, discount = self._order(order_id)
        lines = self.shop.all(
            "select line.sku, product_id, variant, quantity, line.price, status from line join item using (sku) "
            "where order_id = ?",
            order_id,
        )
        return {
            "order_id": order_id,
            "customer_id": customer,
            "status": status,
            "delivered": delivered,
            "payment_id": payment,
            "address": {"street": street, "city": city, "postcode": postcode},
            "discount": discount,
            "items": [
                {
                    "sku": sku,
                    "product_id": product,
                    "variant": variant,
                    "quantity": number,
                    "price": price,
                    "status": is_,
                }
                for sku, product, variant, number, price, is_ in lines
            ],
        }

    @tool(READ)
    def get_product(self, product_id: str) -> Record:
        """Look up a product: whether it is a final sale, and its variants with price and stock."""
        row = self.shop.one("select name, final_sale from product where id = ?", product_id)
        if row is None:
            raise DomainError(f"no product {product_id}")
        items = self.shop.all("select sku, variant, price, stock from item where product_id = ?", product_id)
        return {
            "product_id": product_id,
            "name": row[0],
            "final_sale": bool(row[1]),
            "variants": [
                {"sku": sku, "variant": variant, "price": price, "stock": stock} for sku, variant, price, stock in items
            ],
        }

    @tool(WRITE)
    def cancel_order(self, order_id: str, reason: Literal["mistake", "too_late", "cheaper_elsewhere"]) -> Record:
        """Cancel a pending order; its money goes back the way it came."""
        payment = self._pending(order_id)
        for sku, quantity, price in self._kept(order_id):
            self._refund(order_id, sku, quantity * price, payment, reason)
            self.shop.write("update item set stock = stock + ? where sku = ?", quantity, sku)
        self.shop.write("update line set status = 'cancelled' where order_id = ?", order_id)
        return self._set_status(order_id, "cancelled")

    @tool(WRITE)
    def change_address(self, order_id: str, address: Address) -> Record:
        """Send a pending order to another address."""
        self._pending(order_id)
        street, city, postcode = (_storable(part) for part in (address.street, address.city, address.postcode))
        self.shop.write(
            'update "order" set street = ?, city = ?, postcode = ? where id = ?', street, city, postcode, order_id
        )
        return {"order_id": order_id, "address": {"street": street, "city": city, "postcode": postcode}}

    @tool(WRITE)
    def return_items(
        self,
        order_id: str,
        items: Annotated[list[Returned], Field(min_length=1)],
        reason: Literal["wrong_size", "damaged", "not_wanted"],
        refund_to: str,
    ) -> Record:
        """Take back items of a delivered order and pay back their price, to the id of a way to pay."""
        customer, status, *_ = self._order(order_id)
        if status != "delivered":
            raise DomainError(f"order {order_id} is {status}, not delivered")
        self._payment(refund_to, customer)
        kept = {sku: (quantity, price) for sku, quantity, price in self._kept(order_id)}
        if len({item.sku for item in items}) < len(items):
            raise DomainError("each item may be named once: add up its quantity")
        for item in items:
            if item.quantity > kept.get(item.sku, (0, 0))[0]:
                raise DomainError(f"order {order_id} has not {item.quantity} of {item.sku} to return")
        for item in items:
            quantity, price = kept[item.sku]
            self._refund(order_id, item.sku, item.quantity * price, refund_to, reason)
            if item.quantity == quantity:
                self._set_line(order_id, item.sku, "returned")
            else:
                self._set_quantity(order_id, item.sku, quantity - item.quantity)
        return {"order_id": order_id, "refunded": sum(item.quantity * kept[item.sku][1] for item in items)}

    @tool(WRITE)
    def exchange_item(self, order_id: str, sku: str, new_sku: str, payment_id: str) -> Record:
        """Exchange an item of a delivered order for another variant of its product; payment takes the difference."""
        customer, status, *_ = self._order(order_id)
        if status != "delivered":
            raise DomainError(f"order {order_id} is {status}, not delivered")
        self._payment(payment_id, customer)
        line = next((line for line in self._kept(order_id) if line[0] == sku), None)
        if line is None:
            raise DomainError(f"order {order_id} has no {sku} to exchange")
        new = self.shop.one(
            "select price, stock from item where sku = ? and sku <> ? "
            "and product_id = (select product_id from item where sku = ?)",
            new_sku,
            sku,
            sku,
        )
        if new is None:
            raise DomainError(f"{new_sku} is no other variant of the product of {sku}")
        if new[1] < line[1]:
            raise DomainError(f"{new[1]} of {new_sku} are in stock")
        self.shop.write("update item set stock = stock - ? where sku = ?", line[1], new_sku)
        self._set_line(order_id, sku, "exchanged")
        self.shop.write("insert or replace into line values (?, ?, ?, ?, 'sent')", order_id, new_sku, line[1], new[0])
        difference = line[1] * (new[0] - line[2])
        self.shop.write("update payment set balance = balance - ? where id = ?", difference, payment_id)
        return {"order_id": order_id, "sent": new_sku, "difference": difference}

    @tool(WRITE)
    def refund_part(
        self, order_id: str, sku: str, amount: Cents, reason: Literal["damaged", "late", "incomplete"]
    ) -> Record:
        """Pay back a part of an item's price, while the customer keeps it."""
        _, status, _, payment, *_ = self._order(order_id)
        line = next((line for line in self._kept(order_id) if line[0] == sku), None)
        if line is None or status != "delivered":
            raise DomainError(f"order {order_id} has no delivered {sku} that is kept")
        if amount > line[1] * line[2]:
            raise DomainError(f"{sku} cost {line[1] * line[2]}")
        if self.shop.one("select 1 from refund where order_id = ? and sku = ?", order_id, sku):
            raise DomainError(f"a part of {sku} was paid back already")
        self._refund(order_id, sku, amount, payment, reason)
        return {"order_id": order_id, "refunded": amount}

    @tool(WRITE)
    def record_refusal(self, order_id: str, rule: Rule) -> Record:
        """Write down that a wish about an order was refused, and by which house rule."""
        self._order(order_id)
        self.shop.write('insert or ignore into "case" values (?, ?)', order_id, rule)
        return {"order_id": order_id, "refused": rule}

    @tool(WRITE)
    def change_email(self, customer_id: str, email: Annotated[str, Field(pattern="^[^@ ]+@[^@ ]+$")]) -> Record:
        """Write to a customer at another e-mail from now on."""
        if self.shop.one("select 1 from customer where id = ?", customer_id) is None:
            raise DomainError(f"no customer {customer_id}")
        if self.shop.one("select 1 from customer where email = ?", _storable(email)):
            raise DomainError(f"{email} belongs to a customer already")
        self.shop.write("update customer set email = ? where id = ?", email, customer_id)
        return {"customer_id": customer_id, "email": email}

    @tool(WRITE)
    def send_again(self, order_id: str, method: Literal["parcel", "courier", "pickup"]) -> Record:
        """Send a lost order once more."""
        _, status, *_ = self._order(order_id)
        if status != "lost":
            raise DomainError(f"order {order_id} is {status}, not lost")
        self.shop.write("insert or replace into parcel values (?, ?)", order_id, method)
        return self._set_status(order_id, "shipped")

    @tool(WRITE)
    def apply_voucher(self, order_id: str, code: Annotated[str, Field(pattern="^SAVE(5|10|15|20)$")]) -> Record:
        """Take a voucher's percentage off a pending order."""
        self._pending(order_id)
        self.shop.write('update "order" set discount = ? where id = ?', int(code.removeprefix("SAVE")), order_id)
        return {"order_id": order_id, "discount": int(code.removeprefix("SAVE"))}

    def _order(self, order_id: str) -> tuple[Any, ...]:
        row = self.shop.one(
            "select customer_id, status, delivered, payment_id, street, city, postcode, discount "
            'from "order" where id = ?',
            order_id,
        )
        if row is None:
            raise DomainError(f"order {order_id} not found")
        return row

    def _pending(self, order_id: str) -> str:
        """How a pending order was paid."""
        _, status, _, payment, *_ = self._order(order_id)
        if status != "pending":
            raise DomainError(f"order {order_id} is {status}, not pending")
        return str(payment)

    def _kept(self, order_id: str) -> list[tuple[Any, ...]]:
        """The items that a customer has of an order: sku, quantity, price."""
        return self.shop.all("select sku, quantity, price from line where order_id = ? and status = 'sent'", order_id)

    def _payment(self, payment_id: str, customer_id: str) -> None:
        if self.shop.one("select 1 from payment where id = ? and customer_id = ?", payment_id, customer_id) is None:
            raise DomainError(f"{customer_id} has no way to pay {payment_id}")

    def _refund(self, order_id: str, sku: str, amount: int, payment_id: str, reason: str) -> None:
        self.shop.write(
            "insert into refund values (?, ?, ?, ?, ?) on conflict do update set amount = amount + excluded.amount",
            order_id,
            sku,
            amount,
            payment_id,
            reason,
        )
        self.shop.write("update payment set balance = balance + ? where id = ?", amount, payment_id)

    def _set_line(self, order_id: str, sku: str, status: str) -> None:
        self.shop.write("update line set status = ? where order_id = ? and sku = ?", status, order_id, sku)

    def _set_quantity(self, order_id: str, sku: str, quantity: int) -> None:
        self.shop.write("update line set quantity = ? where order_id = ? and sku = ?", quantity, order_id, sku)

    def _set_status(self, order_id: str, status: str) -> Record:
        self.shop.write('update "order" set status = ? where id = ?', status, order_id)
        return {"order_id": order_id, "status": status}


def _storable(text: str) -> str:
    """A text that SQLite can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise DomainError("a text with half a character in it can't be stored") from None
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """How a function shows itself: its name, and for each enum argument the word that stands for each value."""

    name: str
    words: Mapping[str, Mapping[str, str]]

    def call(self, step: Step) -> Step:
        """A step in canonical words as it is written with this face."""
        if not self.words:
            return Step(tool=self.name, arguments=step.arguments)
        arguments = {
            argument: self.words[argument][value] if argument in self.words else value
            for argument, value in step.arguments.items()
        }
        return Step(tool=self.name, arguments=arguments)


NAMES: Mapping[str, tuple[str, str, str]] = {
    "find_customer": ("find_customer", "lookup_customer", "search_customer"),
    "list_orders": ("list_orders", "show_orders", "order_history"),
    "get_order": ("get_order", "fetch_order", "order_details"),
    "get_product": ("get_product", "fetch_product", "product_details"),
    "cancel_order": ("cancel_order", "void_order", "revoke_order"),
    "change_address": ("change_address", "update_address", "redirect_order"),
    "return_items": ("return_items", "start_return", "take_back_items"),
    "exchange_item": ("exchange_item", "swap_item", "replace_item"),
    "refund_part": ("refund_part", "partial_refund", "grant_discount"),
    "record_refusal": ("record_refusal", "log_refusal", "note_refusal"),
    "change_email": ("change_email", "update_email", "set_email"),
    "send_again": ("send_again", "resend_order", "ship_replacement"),
    "apply_voucher": ("apply_voucher", "redeem_voucher", "use_voucher"),
}
"""Each function's names, one a face."""

WORDS: Mapping[str, Mapping[str, Mapping[str, tuple[str, str, str]]]] = {
    "cancel_order": {
        "reason": {
            "mistake": ("mistake", "ordered_in_error", "not_intended"),
            "too_late": ("too_late", "delayed", "slow_delivery"),
            "cheaper_elsewhere": ("cheaper_elsewhere", "price", "better_offer"),
        }
    },
    "return_items": {
        "reason": {
            "wrong_size": ("wrong_size", "size", "does_not_fit"),
            "damaged": ("damaged", "defective", "broken"),
            "not_wanted": ("not_wanted", "changed_mind", "no_longer_needed"),
        }
    },
    "refund_part": {
        "reason": {
            "damaged": ("damaged", "defective", "broken"),
            "late": ("late", "delayed", "slow_delivery"),
            "incomplete": ("incomplete", "parts_missing", "not_complete"),
        }
    },
    "send_again": {
        "method": {
            "parcel": ("parcel", "post", "standard_mail"),
            "courier": ("courier", "express", "messenger"),
            "pickup": ("pickup", "collect_in_shop", "click_and_collect"),
        }
    },
}
"""By function and enum argument, each value's words, one a face. Values that are named here only are canonical."""

HELD_OUT_TOOLS = frozenset({"send_again", "apply_voucher"})


def faces_of(shop: Shop) -> dict[str, list[tuple[Face, Tool]]]:
    """By canonical name, the three faces of each function, bound to a shop."""
    faces: dict[str, list[tuple[Face, Tool]]] = {}
    for tool_ in tools_of(DeskTools(shop)):
        enums = WORDS.get(tool_.name, {})
        for number, name in enumerate(NAMES[tool_.name]):
            words = {
                argument: {value: said[number] for value, said in enum.items()} for argument, enum in enums.items()
            }
            shown = renamed(tool_, name)
            for argument, meant in words.items():
                shown = reworded(shown, argument, meant)
            faces.setdefault(tool_.name, []).append((Face(name=name, words=words), shown))
    return faces
