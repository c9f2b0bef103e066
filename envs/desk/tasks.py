"""Seeded tasks of store-v1: a customer with a wish or two, the start state, and what a desk that keeps the rules does.

A task is a pure function of its split and seed. `WISHES` says of each kind of wish what is asked, in one exchange or
more, and which calls serve it; a task joins one or two of them. Kinds in `HELD_OUT`, and the tools that only they need,
are in the split `held_out` alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from random import Random
from typing import Any

from envs.desk.tools import HELD_OUT_TOOLS, NAMES
from envs.desk.world import Row, Start
from envs.tasks import Exchange, Step

TODAY = date(2026, 6, 15)
RULES = f"""\
You are the service desk of a shop. Today is {TODAY}. Amounts are in cents. The house rules:
1. A customer says who they are by e-mail. Look at an order before you act on it, and act only on orders of the \
customer you speak with; refuse others (not_the_owner).
2. Pending orders can be cancelled, and their address changed. Once an order is shipped neither is done \
(already_shipped).
3. Items come back within 30 days after delivery, of plus customers within 60; later returns and exchanges are refused \
(return_window). The money goes to the order's own payment, or to the customer's gift card where they ask for that.
4. Products of a final sale are neither taken back nor exchanged (final_sale).
5. An exchange is for another variant of the same product; the order's own payment takes the difference.
6. Who keeps a damaged item gets a quarter of its price back, plus customers a half; quantities count.
7. Every refusal is recorded with its rule, and then told to the customer."""

NAMES_OF_PEOPLE = (
    "Ada Bruno Clara Dario Edith Farid Gina Henri Ida Jakob Kira Luca Mona Nadim Orla Paul Quinn Rita Samir Tilda "
    "Umberto Viola Wanda Yara Zeno"
).split()
STREETS = "Mill Lane,Station Road,Harbour Street,Castle Hill,Orchard Way,Bridge Street,Chapel Row,Linden Avenue".split(
    ","
)
CITIES = "Aarhus Bologna Cadiz Delft Essen Florence Girona Halle Innsbruck Jena Kiel Lucerne".split()
PRODUCTS = (
    "rain jacket,wool sweater,running shoes,linen shirt,hiking boots,denim jeans,winter coat,cycling gloves,silk scarf,"
    "leather belt,cotton socks,swim shorts,straw hat,fleece vest,yoga pants,evening dress"
).split(",")
VARIANTS = ("small", "medium", "large", "extra large")
WHY: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "cancel": {
        "mistake": ("I clicked the wrong button", "I never meant to order that"),
        "too_late": ("it still hasn't left and I travel tomorrow", "I have been waiting for far too long"),
        "cheaper_elsewhere": ("the shop next door sells it for less", "I found a better price"),
    },
    "return": {
        "wrong_size": ("it is too tight", "I can't even button it up"),
        "damaged": ("a seam is torn", "it came with a hole in it"),
        "not_wanted": ("I don't like it after all", "I have no use for it any more"),
    },
    "again": {
        "parcel": ("the normal way is fine", "no hurry"),
        "courier": ("somebody should bring it to my door today", "I need it as fast as can be"),
        "pickup": ("I'd rather fetch it at your place", "I'll come by and get it myself"),
    },
}
"""How a customer says each value of an enum."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One seeded problem, in canonical words. `offered` are the functions that its desk has."""

    kind: str
    start: Start
    exchanges: tuple[Exchange, ...]
    offered: tuple[str, ...]
    faces: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """What a shop sells: products and their items as rows, and the items of each product that is (not) a final sale."""

    products: Sequence[Row]
    items: Sequence[Row]
    by_sale: Mapping[bool, Sequence[Sequence[Row]]]
    by_sku: Mapping[str, Row]
    names: Mapping[str, str]


@cache
def catalogue(split: str) -> Catalogue:
    """What the shop of a split sells. Each split has other ids and prices."""
    rng = Random(f"store-v1/{split}")
    products: list[Row] = []
    items: list[Row] = []
    for number, (name, key) in enumerate(zip(PRODUCTS, rng.sample(range(100, 1000), len(PRODUCTS)), strict=True)):
        price = rng.randrange(1200, 15000, 100)
        products.append((f"P{key}", name, int(number % 4 == 3)))
        for variant in VARIANTS:
            sku = f"{key}-{rng.randrange(10, 100)}{variant[0].upper()}{len(items) % 10}"
            items.append((sku, f"P{key}", variant, price + rng.choice((0, 0, 100, 300, 500)), rng.randrange(8, 40)))
    families = [items[start : start + len(VARIANTS)] for start in range(0, len(items), len(VARIANTS))]
    final = {key for key, _, final_sale in products if final_sale}
    return Catalogue(
        products=products,
        items=items,
        by_sale={sale: [family for family in families if (family[0][1] in final) is sale] for sale in (False, True)},
        by_sku={item[0]: item for item in items},
        names={key: name for key, name, _ in products},
    )


class Scene:
    """A drawn customer, and the orders that wishes are about; `order` draws one more, as the wish wants it."""

    def __init__(self, rng: Random, split: str) -> None:
        self.rng = rng
        self.catalogue = catalogue(split)
        self.caller, self.other = rng.sample(NAMES_OF_PEOPLE, 2)
        self.plus = rng.random() < 0.4
        keys = rng.sample(range(1000, 10000), 6)
        self.caller_id, self.other_id = f"C{keys[0]}", f"C{keys[1]}"
        self.email = f"{self.caller.lower()}{keys[0] % 100}@mail.example"
        self.card, self.gift_card = f"card_{keys[2]}", f"gift_{keys[3]}"
        self.other_card = f"card_{keys[4]}"
        self.order_keys = iter(rng.sample(range(10000, 100000), 8))
        self.orders: list[Row] = []
        self.lines: list[Row] = []
        self.chosen: set[str] = set()

    def address(self) -> dict[str, str]:
        rng = self.rng
        street = f"{rng.choice(STREETS)} {rng.randrange(1, 99)}"
        return {"street": street, "city": rng.choice(CITIES), "postcode": f"{rng.randrange(10000, 100000)}"}

    def order(
        self, status: str, *, days: int | None = None, lines: int = 1, final: bool = False, mine: bool = True
    ) -> str:
        """An order in a state, delivered some days ago, of items that are (not) a final sale; gives its id."""
        order_id = f"O{next(self.order_keys)}"
        owner, payment = (self.caller_id, self.card) if mine else (self.other_id, self.other_card)
        delivered = None if days is None else str(TODAY - timedelta(days=days))
        self.orders.append((order_id, owner, status, delivered, payment, *self.address().values(), 0))
        for family in self.rng.sample(self.catalogue.by_sale[final], lines):
            sku, _, _, price, _ = self.rng.choice(family)
            self.lines.append((order_id, sku, self.rng.choice((1, 1, 2, 3)), price, "sent"))
        return order_id

    def lines_of(self, order_id: str) -> list[Row]:
        return [line for line in self.lines if line[0] == order_id]

    def name_of(self, sku: str) -> str:
        return self.catalogue.names[self.catalogue.by_sku[sku][1]]

    def say(self, about: str) -> tuple[str, str]:
        """A value of an enum, and how the customer says it."""
        value = self.rng.choice(sorted(WHY[about]))
        return value, self.rng.choice(WHY[about][value])

    def start(self) -> Start:
        tier = "plus" if self.plus else "standard"
        email = f"{self.other.lower()}@mail.example"
        return Start(
            customers=[
                (self.caller_id, self.caller, self.email, tier),
                (self.other_id, self.other, email, "standard"),
            ],
            payments=[
                (self.card, self.caller_id, "card", None),
                (self.gift_card, self.caller_id, "gift_card", self.rng.randrange(0, 5000, 50)),
                (self.other_card, self.other_id, "card", None),
            ],
            orders=self.orders,
            lines=self.lines,
        )


Said = list[tuple[str, list[Step], str]]
"""A wish: for each exchange what the customer says, the calls, and the answer."""


def look(order_id: str) -> Step:
    return Step(tool="get_order", arguments={"order_id": order_id})


def refusal(order_id: str, rule: str) -> list[Step]:
    return [look(order_id), Step(tool="record_refusal", arguments={"order_id": order_id, "rule": rule})]


def returned(order_id: str, lines: Sequence[Row], reason: str, refund_to: str) -> Step:
    items = [{"sku": line[1], "quantity": line[2]} for line in lines]
    arguments = {"order_id": order_id, "items": items, "reason": reason, "refund_to": refund_to}
    return Step(tool="return_items", arguments=arguments)


def in_window(scene: Scene) -> int:
    """Days since a delivery that may still be returned, often barely."""
    return scene.rng.choice((3, 17, 30, 45, 60) if scene.plus else (2, 11, 24, 30))


def cancel(scene: Scene) -> Said:
    order = scene.order("pending", lines=scene.rng.choice((1, 2)))
    reason, said = scene.say("cancel")
    step = Step(tool="cancel_order", arguments={"order_id": order, "reason": reason})
    return [(f"Please cancel order {order}: {said}.", [look(order), step], f"Order {order} is cancelled.")]


def cancel_too_late(scene: Scene) -> Said:
    order = scene.order("shipped")
    _, said = scene.say("cancel")
    answer = f"Order {order} is on its way already, so it can't be cancelled."
    return [(f"Please cancel order {order}: {said}.", refusal(order, "already_shipped"), answer)]


def cancel_of_another(scene: Scene) -> Said:
    order = scene.order("pending", mine=False)
    answer = f"Order {order} is not yours, so I may not touch it."
    return [(f"Cancel order {order}, a friend told me the number.", refusal(order, "not_the_owner"), answer)]


def move(scene: Scene) -> Said:
    order, address = scene.order("pending"), scene.address()
    step = Step(tool="change_address", arguments={"order_id": order, "address": address})
    asked = f"Order {order} should go to {written(address)}."
    return [(asked, [look(order), step], f"Order {order} goes to {written(address)}.")]


def move_corrected(scene: Scene) -> Said:
    [(asked, steps, answer)] = move(scene)
    wrong = steps[-1].arguments
    address = {**wrong["address"], "postcode": f"{(int(wrong['address']['postcode']) + 1110) % 90000 + 10000}"}
    step = Step(tool="change_address", arguments={**wrong, "address": address})
    correction = f"Sorry, I mistyped the postcode: it is {address['postcode']}. The rest is right."
    return [(asked, steps, answer), (correction, [step], f"It goes to {written(address)} now.")]


def send_back(scene: Scene) -> Said:
    order = scene.order("delivered", days=in_window(scene), lines=2)
    line = scene.rng.choice(scene.lines_of(order))
    reason, said = scene.say("return")
    step = returned(order, [line], reason, scene.card)
    asked = f"I want to send back the {scene.name_of(line[1])} of order {order}, all of them: {said}."
    return [(asked, [look(order), product_of(scene, line), step], "You get the money back.")]


def send_back_more(scene: Scene) -> Said:
    order = scene.order("delivered", days=in_window(scene), lines=3)
    first, second, _ = scene.lines_of(order)
    reason, said = scene.say("return")
    looks = [look(order), product_of(scene, first)]
    asked = f"The {scene.name_of(first[1])} of order {order} goes back: {said}. All of it, please."
    added = f"And the {scene.name_of(second[1])} of that order too, for the same reason."
    return [
        (asked, [*looks, returned(order, [first], reason, scene.card)], "It is noted."),
        (added, [product_of(scene, second), returned(order, [second], reason, scene.card)], "That too."),
    ]


def send_back_for_credit(scene: Scene) -> Said:
    order = scene.order("delivered", days=in_window(scene), lines=2)
    lines = scene.lines_of(order)
    reason, said = scene.say("return")
    steps = [look(order), *(product_of(scene, line) for line in lines)]
    step = returned(order, lines, reason, scene.gift_card)
    asked = f"Everything in order {order} goes back: {said}. Put the money on my gift card."
    return [(asked, [*steps, step], "The money is on your gift card.")]


def send_back_too_late(scene: Scene) -> Said:
    order = scene.order("delivered", days=scene.rng.choice((61, 75, 90) if scene.plus else (31, 40, 58)))
    _, said = scene.say("return")
    asked = f"I want to send back order {order}: {said}."
    return [(asked, refusal(order, "return_window"), "I am sorry, the time to return it is over.")]


def send_back_final_sale(scene: Scene) -> Said:
    order = scene.order("delivered", days=5, final=True)
    [line] = scene.lines_of(order)
    steps = [look(order), product_of(scene, line), refusal(order, "final_sale")[1]]
    return [(f"I want to send back order {order}.", steps, "I am sorry, that was a final sale.")]


def swap(scene: Scene) -> Said:
    order = scene.order("delivered", days=in_window(scene), lines=2)
    line = scene.rng.choice(scene.lines_of(order))
    _, product, variant, _, _ = scene.catalogue.by_sku[line[1]]
    sizes = [item for item in scene.catalogue.items if item[1] == product]
    others = [item for item in sizes if item[2] != variant and item[4] >= line[2]]
    wanted = scene.rng.choice(others)
    name = scene.name_of(line[1])
    arguments = {"order_id": order, "sku": line[1], "new_sku": wanted[0], "payment_id": scene.card}
    question = f"In which sizes do you have the {name} of my order {order}?"
    known = ", ".join(item[2] for item in sizes)
    return [
        (question, [look(order), product_of(scene, line)], f"We have it in {known}."),
        (
            f"Then exchange mine for {wanted[2]}, all of them.",
            [Step(tool="exchange_item", arguments=arguments)],
            f"You get it in {wanted[2]}.",
        ),
    ]


def keep_damaged(scene: Scene) -> Said:
    order = scene.order("delivered", days=scene.rng.randrange(1, 14), lines=2)
    line = scene.rng.choice(scene.lines_of(order))
    amount = line[2] * line[3] // (2 if scene.plus else 4)
    arguments = {"order_id": order, "sku": line[1], "amount": amount, "reason": "damaged"}
    name = scene.name_of(line[1])
    asked = f"The {name} of order {order} came with a hole, every one of them. I'll keep it, but what do I get?"
    return [(asked, [look(order), Step(tool="refund_part", arguments=arguments)], f"You get {amount} cents back.")]


def new_email(scene: Scene) -> Said:
    email = f"{scene.caller.lower()}.{scene.rng.randrange(1000)}@post.example"
    step = Step(tool="change_email", arguments={"customer_id": scene.caller_id, "email": email})
    return [(f"From now on please write to {email}.", [step], f"We write to {email} from now on.")]


def lost(scene: Scene) -> Said:
    order = scene.order("lost")
    method, said = scene.say("again")
    step = Step(tool="send_again", arguments={"order_id": order, "method": method})
    return [(f"Order {order} got lost. Send it once more, {said}.", [look(order), step], "It is sent once more.")]


def voucher(scene: Scene) -> Said:
    order, percent = scene.order("pending"), scene.rng.choice((5, 10, 15, 20))
    step = Step(tool="apply_voucher", arguments={"order_id": order, "code": f"SAVE{percent}"})
    asked = f"I forgot my voucher for order {order}, it takes {percent} percent off."
    return [(asked, [look(order), step], f"{percent} percent are taken off.")]


def product_of(scene: Scene, line: Row) -> Step:
    return Step(tool="get_product", arguments={"product_id": scene.catalogue.by_sku[line[1]][1]})


def written(address: Mapping[str, Any]) -> str:
    return f"{address['street']}, {address['postcode']} {address['city']}"


WISHES: Mapping[str, Callable[[Scene], Said]] = {
    wish.__name__: wish
    for wish in (
        cancel,
        cancel_too_late,
        cancel_of_another,
        move,
        move_corrected,
        send_back,
        send_back_more,
        send_back_for_credit,
        send_back_too_late,
        send_back_final_sale,
        swap,
        keep_damaged,
        new_email,
        lost,
        voucher,
    )
}
HELD_OUT = ("lost", "voucher")
SPLITS: Mapping[str, tuple[str, ...]] = {
    "train": tuple(kind for kind in WISHES if kind not in HELD_OUT),
    "test": tuple(kind for kind in WISHES if kind not in HELD_OUT),
    "held_out": HELD_OUT,
}


def make_task(split: str, seed: int) -> Task:
    """The task of a split and a seed. Needs one of `SPLITS`; any seed from 0 on will do."""
    rng = Random(f"store-v1/{split}/{seed}")
    scene = Scene(rng, split)
    kinds = [rng.choice(SPLITS[split])]
    if rng.random() < 0.5:
        kinds.append(rng.choice([kind for kind in SPLITS["train"] if kind not in kinds]))
    said = [exchange for kind in kinds for exchange in WISHES[kind](scene)]
    for _ in range(2):
        scene.order(rng.choice(("pending", "shipped")))
    known = Step(tool="find_customer", arguments={"email": scene.email})
    hello = f"Hello, {scene.caller} here, {scene.email}. "
    exchanges = tuple(
        Exchange(request=f"{'' if n else hello}{text}", plan=(*([] if n else [known]), *steps), answer=answer)
        for n, (text, steps, answer) in enumerate(said)
    )
    needed = {step.tool for exchange in exchanges for step in exchange.plan}
    others = [name for name in NAMES if name not in needed and (split == "held_out" or name not in HELD_OUT_TOOLS)]
    offered = [*needed, *rng.sample(others, min(len(others), rng.randrange(1, 5)))]
    return Task(
        kind="+".join(kinds),
        start=scene.start(),
        exchanges=exchanges,
        offered=tuple(name for name in NAMES if name in offered),
        faces={name: rng.randrange(3) for name in NAMES},
    )
