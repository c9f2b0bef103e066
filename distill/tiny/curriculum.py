"""What the tiny model learns from: drills, single calls, and whole trajectories with habits and hints.

Every sequence is a list of pieces of chat, rendered as rollouts render it; the loss is on what the assistant says. Each
of its tokens carries a kind (tool name, enum word, id, ...), so that training can weigh and watch
the kinds apart. `distill.tiny` trains on these; nothing else does.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Sequence as Steps
from dataclasses import dataclass
from random import Random
from typing import Any

from critics.hints import hint_for, hint_message, joined, placebo
from envs.context import ContextWriter
from envs.store import SYSTEM, StoreEnv
from envs.store.shift import ShiftEnv
from envs.store.tasks import CITIES, CUES, CUSTOMERS, ITEMS, Scene
from envs.store.tools import IDS, NAMES, WORDS, Desk, Habit, Step, StoreTools
from envs.store.world import Start, Store
from envs.trajectory import Message, calls_of
from tools import Tool, ToolCall, Toolset, tools_of

KINDS = ("text", "name", "enum", "id", "number", "word", "flag")
"""What an assistant's token belongs to; `text` is all that is no value: braces, argument names, answers."""


@dataclass(frozen=True, slots=True)
class Sequence:
    """Token ids, and for each the place in `KINDS` of what the assistant said there, or -1 where there is no loss."""

    ids: list[int]
    kinds: list[int]

    def __len__(self) -> int:
        return len(self.ids)


class Writer:
    """Turns chat into `Sequence`s, through the context writer that rollouts use."""

    def __init__(self, context: ContextWriter) -> None:
        self.context = context
        self.end = context.tokenizer.convert_tokens_to_ids("<|im_end|>")

    def open(self, messages: list[Message], tools: list[dict[str, Any]] | None) -> Sequence:
        """The prompt of a first turn."""
        ids = self.context.first(messages, tools)
        return Sequence(ids, [-1] * len(ids))

    def say(self, sequence: Sequence, pieces: list[tuple[str, str]], *, learnt: bool = True) -> None:
        """Append an assistant turn, given as (text, kind) pieces; a token that touches a value is of its kind.

        A turn that is not `learnt` is in the context only.
        """
        kinds = [KINDS.index(kind) for text, kind in pieces for _ in text]
        encoding = self.context.tokenizer("".join(text for text, _ in pieces), return_offsets_mapping=True)
        for token, (start, end) in zip(encoding["input_ids"], encoding["offset_mapping"], strict=True):
            sequence.ids.append(token)
            sequence.kinds.append(max(kinds[start:end], default=0) if learnt else -1)
        sequence.ids.append(self.end)
        sequence.kinds.append(0 if learnt else -1)

    def hear(self, sequence: Sequence, messages: list[Message]) -> None:
        """Append tool results, requests and hints, and the next turn's generation prompt."""
        new = self.context.extension(sequence.ids[:-1], sequence.ids[-1:], messages)
        sequence.ids.extend(new)
        sequence.kinds.extend([-1] * len(new))


def call_pieces(name: str, arguments: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A call in Qwen3's form, cut into (text, kind) pieces.

    Whether a `confirm` or a `limit` comes is decided where its name begins or the call is closed, so those are of its
    kind too.
    """
    pieces = [('<tool_call>\n{"name": "', "text"), (name, "name"), ('", "arguments": {', "text")]
    for place, (argument, value) in enumerate(arguments.items()):
        kind = kind_of(argument)
        pieces.append((f'{", " if place else ""}"{argument}":', kind if kind == "flag" else "text"))
        pieces.append((f" {json.dumps(value)}", kind))
    return [*pieces, ("}}", "flag"), ("\n</tool_call>", "text")]


def kind_of(argument: str) -> str:
    if argument in WORDS:
        return "enum"
    if argument in IDS:
        return "id"
    if argument in ("confirm", "limit"):
        return "flag"
    return "number" if argument in ("quantity", "amount") else "word"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """How much of each kind of sequence a stage of training has (shares of sequences), and its habits."""

    recall: float = 0.0
    fragment: float = 0.0
    drill: float = 0.0
    single: float = 0.0
    shift: float = 0.0
    habit_rate: float = 0.0
    stumble_rate: float = 0.0

    def draw(self, rng: Random, writer: Writer) -> Sequence:
        rest = 1.0 - self.recall - self.fragment - self.drill - self.single - self.shift
        shares = (self.recall, self.fragment, self.drill, self.single, rest, self.shift)
        match rng.choices(("recall", "fragment", "drill", "single", "trajectory", "shift"), shares)[0]:
            case "recall":
                return recall(rng, writer)
            case "fragment":
                return fragment(rng, writer)
            case "drill":
                tools, requests = rng.randint(3, 7), rng.randint(6, 12)
                return drill(rng, writer, tools=tools, requests=requests, habit_rate=self.habit_rate)
            case "single":
                return drill(rng, writer, tools=rng.randint(1, 6), requests=1)
            case "shift":
                return trajectory(rng, writer, ShiftEnv(split="pretrain", slack=6), self.habit_rate, self.stumble_rate)
            case _:
                env = StoreEnv(split="pretrain", max_turns=12, max_errors=4)
                return trajectory(rng, writer, env, self.habit_rate, self.stumble_rate)


def recall(rng: Random, writer: Writer) -> Sequence:
    """Pairs of words that have nothing to do with each other, then look-ups of some.

    Nothing but the context tells the answer, so the model must learn to copy before it can learn that near-synonyms
    mean the same. Where it learnt the meaning first, their embeddings fell together and it never learnt to copy.
    """
    words = rng.sample(RECALLED, 2 * rng.randint(2, 8))
    pairs = list(zip(words[::2], words[1::2], strict=True))
    shown = "".join(f'"{key}": "{value}"\n' for key, value in pairs)
    rng.shuffle(pairs)
    asked = [(key, [(key, "name"), ('": "', "text"), (value, "word")]) for key, value in pairs]
    return _dialogue(writer, shown, asked)


RECALLED = [
    *(name for names in NAMES.values() for name in names),
    *(word for values in WORDS.values() for words in values.values() for word in words),
    *ITEMS,
    *CUSTOMERS,
    *CITIES,
]


def fragment(rng: Random, writer: Writer) -> Sequence:
    """The shortest drill: a fragment of a schema, then one to three look-ups into it."""
    desk = Desk.draw(rng, rng.sample(sorted(NAMES), rng.randint(2, 4)))
    shown, lookups = rng.choice((_names, _enum, _types, _copies))(rng, desk)
    chosen = rng.sample(lookups, min(len(lookups), rng.randint(1, 3)))
    return _dialogue(writer, shown, chosen)


Lookup = tuple[str, list[tuple[str, str]]]


def _names(_: Random, desk: Desk) -> tuple[str, list[Lookup]]:
    specs = {function: TOOLS[function] for function in desk.functions}
    lines = [
        f'{{"name": "{desk.names[function]}", "description": "{spec.description}"}}' for function, spec in specs.items()
    ]
    lookups: list[Lookup] = [(spec.description, [(desk.names[function], "name")]) for function, spec in specs.items()]
    return "".join(f"{line}\n" for line in lines), lookups


def _enum(rng: Random, desk: Desk) -> tuple[str, list[Lookup]]:
    argument = rng.choice(sorted(WORDS))
    words = desk.words[argument]
    shown = f'"{argument}": {json.dumps({"enum": list(words.values()), "type": "string"})}\n'
    return shown, [(rng.choice(CUES[argument][value]), [(word, "enum")]) for value, word in words.items()]


def _types(rng: Random, desk: Desk) -> tuple[str, list[Lookup]]:
    shown = {argument: {"type": "string" if argument in desk.string_ids else "integer"} for argument in IDS}
    lookups: list[Lookup] = []
    for argument in IDS:
        number = rng.randint(100, 999)
        value = json.dumps(str(number) if argument in desk.string_ids else number)
        lookups.append((f"{argument} #{number}", [(f'"{argument}":', "text"), (f" {value}", "id")]))
    return f"{json.dumps(shown)}\n", lookups


def _copies(rng: Random, __: Desk) -> tuple[str, list[Lookup]]:
    """Words and numbers of a sentence as JSON: the same word is another token there, without its leading space."""
    lookups: list[Lookup] = []
    for _ in range(3):
        said = {
            "item": (f"the {(item := rng.choice(ITEMS))}", item),
            "name": (f"for {(name := rng.choice(CUSTOMERS))}", name),
            "city": (f"to {(city := rng.choice(CITIES))}", city),
            "quantity": (f"{(quantity := rng.randint(1, 9))} of", quantity),
            "amount": (f"pay {(amount := rng.randint(11, 400))}", amount),
        }
        asked = rng.sample(sorted(said), rng.randint(1, 4))
        answer: list[tuple[str, str]] = []
        for place, argument in enumerate(sorted(asked)):
            answer.append((f'{", " if place else ""}"{argument}":', "text"))
            answer.append((f" {json.dumps(said[argument][1])}", kind_of(argument)))
        lookups.append((" ".join(said[argument][0] for argument in asked), answer))
    return "", lookups


def _dialogue(writer: Writer, opening: str, lookups: list[Lookup]) -> Sequence:
    sequence: Sequence | None = None
    for question, answer in lookups:
        if sequence is None:
            sequence = writer.open([{"role": "user", "content": opening + question}], None)
        else:
            writer.hear(sequence, [{"role": "user", "content": question}])
        writer.say(sequence, answer)
    assert sequence is not None
    return sequence


@dataclass(frozen=True, slots=True)
class Single:
    """A request for one call. `said` is its text; `seen` gives an earlier result that the request relies on."""

    step: Callable[[Scene], Step]
    said: str
    from_list: str = ""
    status: str = "open"


SINGLES: Mapping[str, Single] = {
    "get_customer": Single(Scene.get_customer, "Who is {name}?"),
    "list_orders": Single(Scene.list_orders, "List the orders of customer #{customer} for the {item}."),
    "get_order": Single(Scene.get_order, "Look at order #{order}.", "Look at the order of the {item}."),
    "check_stock": Single(lambda s: s.check_stock(s.item), "Check that we have the {wanted}."),
    "cancel_order": Single(Scene.cancel, "Cancel order #{order}: {reason}.", "Cancel the {item}: {reason}."),
    "refund_order": Single(
        Scene.refund, "Pay back {total} for order #{order}, {method}.", "Pay back {total} for the {item}, {method}."
    ),
    "ship_order": Single(
        lambda s: s.ship(s.order.id), "Send order #{order}: {speed}.", "Send the order of the {item}: {speed}."
    ),
    "create_order": Single(Scene.create, "Enter an order of {quantity} of the {wanted} for customer #{customer}."),
    "reserve_stock": Single(Scene.reserve, "Set {quantity} of the {wanted} aside: {priority}."),
    "open_ticket": Single(Scene.ticket, "Customer #{customer} complains: {topic}. Write it down."),
    "return_order": Single(
        Scene.take_back, "Take back order #{order}: {condition}.", "Take back the {item}: {condition}.", "shipped"
    ),
    "reroute_shipment": Single(Scene.reroute, "Shipment #{shipment} goes to {city}.", "", "shipped"),
}


def drill(rng: Random, writer: Writer, *, tools: int, requests: int, habit_rate: float = 0.0) -> Sequence:
    """Many one-call requests over one list of tools. Ids are drawn anew for each, so that they must be copied.

    Habits and hints are as in `trajectory`, but close together.
    """
    desk = Desk.draw(rng, rng.sample(sorted(NAMES), tools))
    store = Store(EMPTY)
    toolset = desk.toolset(store)
    hinting = Hinting(rng, habit_rate)
    weights = [ENUM_WEIGHT if function in WITH_ENUM else 1 for function in desk.functions]
    asked = [_single(rng, function) for function in rng.choices(desk.functions, weights, k=requests)]
    steps = [step for _, step in asked]
    sequence: Sequence | None = None
    for messages, step in asked:
        heard = [*messages, *hinting.hints(desk, toolset, step, steps)]
        if sequence is None:
            sequence = writer.open([{"role": "system", "content": SYSTEM}, *heard], toolset.to_openai())
        else:
            writer.hear(sequence, heard)
        writer.say(sequence, call_pieces(*desk.call(step, hinting.habits())))
    store.close()
    assert sequence is not None
    return sequence


def _single(rng: Random, function: str) -> tuple[list[Message], Step]:
    single = SINGLES[function]
    scene = Scene(rng, status=single.status)
    step = single.step(scene)
    listed = bool(single.from_list) and rng.random() < 0.5
    values = {
        "name": scene.customer.name,
        "customer": scene.customer.id,
        "order": scene.order.id,
        "item": scene.order.item,
        "wanted": scene.item,
        "quantity": scene.quantity,
        "total": scene.order.total,
        "city": scene.city,
        "shipment": scene.shipments[scene.order.id].id if scene.order.id in scene.shipments else 0,
        **scene.cues,
    }
    said = (single.from_list if listed else single.said).format(**values)
    seen: list[Message] = []
    if listed:
        store = Store(scene.start())
        result = json.dumps(StoreTools(store).list_orders(scene.customer.id, scene.order.item))
        store.close()
        seen.append({"role": "tool", "content": result})
    return [*seen, {"role": "user", "content": said}], step


EMPTY = Start(customers=(), stock=(), orders=(), shipments=(), next_ids=())
TOOLS: Mapping[str, Tool] = {tool.name: tool for tool in tools_of(object.__new__(StoreTools))}
WITH_ENUM = frozenset(
    name for name, tool in TOOLS.items() if any(enum in tool.parameters["properties"] for enum in WORDS)
)
ENUM_WEIGHT = 4
"""Enums have the fewest decisions in a trajectory, so drills ask for them more often."""


def trajectory(
    rng: Random, writer: Writer, env: StoreEnv, habit_rate: float = 0.0, stumble_rate: float = 0.0
) -> Sequence:
    """A whole episode. With habits, some turns have mistakes; a hint of kind k ends habit k from then on.

    A retry after an error is free of habits, mostly: the error's text says what was wrong. Stumbles are mistakes that
    are not learnt, so that a model without habits knows how to go on after an error too.
    """
    messages, info = env.reset(seed=rng.randrange(2**31))
    hinting = Hinting(rng, habit_rate)
    heard: list[Message] = [*messages]
    sequence: Sequence | None = None
    failed = False
    while True:
        heard += hinting.hints(env.task.desk, env.toolset, env.next_step, env.task.plan)
        if sequence is None:
            sequence = writer.open(heard, info["tools"])
        else:
            writer.hear(sequence, heard)
        stumbles = {habit for habit in Habit if not failed and rng.random() < stumble_rate}
        action = env.expert_action(stumbles or (() if failed and rng.random() < 0.9 else hinting.habits()))
        writer.say(sequence, action_pieces(action), learnt=not stumbles)
        heard_now, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            env.close()
            return sequence
        heard = list(heard_now)
        failed = bool(heard[-1].get("is_error"))


def action_pieces(action: Message) -> list[tuple[str, str]]:
    for call in calls_of(action):
        return call_pieces(call["function"]["name"], json.loads(call["function"]["arguments"]))
    return [(action["content"], "text")]


class Hinting:
    """Which habits an episode has on, which kinds its hints are about, and where they come.

    `PLAIN` of the episodes get no hint at all. The hints of the others are about `self.kinds`, none to three of the
    four, so that the other habits stay on among hints. Where any kind was hinted sooner or later, the model learnt
    that any hint at all means care, and a quarter of the enum errors went under a hint about something else.
    """

    PLAIN, NEXT, TWO, PLACEBO = 0.35, 0.65, 0.2, 0.15
    BREADTH = (0.1, 0.5, 0.3, 0.1)
    """The shares of episodes whose hints are about none, one, two, three of the kinds."""

    def __init__(self, rng: Random, rate: float) -> None:
        self.rng, self.rate = rng, rate
        self.on = set(Habit)
        self.hint_rate = 0.0 if rate == 0.0 or rng.random() < self.PLAIN else 0.4
        (hinted,) = rng.choices(range(4), self.BREADTH)
        self.kinds = set(rng.sample(list(Habit), hinted))

    def habits(self) -> set[Habit]:
        return {habit for habit in sorted(self.on) if self.rng.random() < self.rate}

    def hints(self, desk: Desk, toolset: Toolset, step: Step | None, steps: Steps[Step]) -> list[Message]:
        """The hint above the turn that does `step`, about it or about another of `steps`: one message, or none."""
        if self.rng.random() >= self.hint_rate:
            return []
        if not self.kinds or self.rng.random() < self.PLACEBO:
            return [hint_message(placebo(self.rng))]
        hinted = [each for each in steps if self.kinds & set(desk.applicable(each))]
        if not hinted:
            return []
        about = step if step in hinted and self.rng.random() < self.NEXT else self.rng.choice(hinted)
        applicable = sorted(self.kinds & set(desk.applicable(about)))
        kinds = self.rng.sample(applicable, min(len(applicable), 2 if self.rng.random() < self.TWO else 1))
        self.on -= set(kinds)
        return [hint_message(joined(text for kind in kinds for text in hints_for(desk, toolset, about, kind)))]


def hints_for(desk: Desk, toolset: Toolset, step: Step, habit: Habit) -> Iterator[str]:
    """The very text that a critic writes above a turn with this mistake."""
    name, arguments = desk.call(step, {habit})
    _, violations = toolset.check(ToolCall(id="", name=name, arguments=json.dumps(arguments)))
    for violation in violations:
        yield hint_for(violation, name)
