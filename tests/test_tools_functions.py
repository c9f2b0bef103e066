"""Python functions as tools: schemas from hints and docstrings, arguments as the types asked for, time limits."""

import hashlib
import json
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from enum import Enum
from types import ModuleType
from typing import Annotated, Any, Literal, NotRequired

import pytest
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from typing_extensions import TypedDict

from envs.store.tools import StoreTools
from tools import READ, WRITE, DomainError, InfrastructureFault, Tool, ToolCall, ToolResult, Toolset, tool, tools_of


class Heat(Enum):
    LOW = "low"
    HIGH = "high"


class Item(BaseModel):
    """One line of an order."""

    sku: Annotated[str, Field(pattern=r"^[A-Z]\d$", description="letter and digit")]
    count: Annotated[int, Field(ge=1)] = 1


class Card(BaseModel):
    kind: Literal["card"]
    number: str


class Cash(BaseModel):
    kind: Literal["cash"]


@dataclass
class Place:
    city: str
    floor: int = 0


class Note(TypedDict):
    text: str
    urgent: NotRequired[bool]


@tool(WRITE)
def order(
    items: list[Item],
    pay: Annotated[Card | Cash, Field(discriminator="kind")],
    heat: Heat = Heat.LOW,
    place: Place | None = None,
    note: Note | str | None = None,
    when: date | None = None,
) -> dict[str, Any]:
    """Order things, and have them
    brought.

    Only a desk does this.

    Args:
        items (list[Item]): what to bring,
            line by line
        pay: how it is paid
        nothing: not an argument
    """
    assert all(isinstance(item, Item) for item in items)
    return {"items": items, "pay": pay, "heat": heat, "place": place, "note": note, "when": when}


@tool(READ)
def find(name: str, limit: int = 5) -> list[str]:
    """Find a thing.

    name: what it is called
    :param limit: at most so many
    """
    return [name] * limit


ORDER, FIND = tools_of([order, find])


def call(tools: list[Tool], name: str, /, **arguments: Any) -> ToolResult:
    return Toolset(tools).call(ToolCall(id="", name=name, arguments=json.dumps(arguments)))


def wrong(**arguments: Any) -> list[tuple[str, str]]:
    given = {"items": [{"sku": "A1"}], "pay": {"kind": "cash"}, **arguments}
    return [(violation.code.value, violation.path) for violation in call([ORDER], "order", **given).violations]


def act(**arguments: Any) -> Callable[..., Any]:
    """A READ tool named act, of a function with the given annotations."""

    def decorate(function: Callable[..., Any]) -> list[Tool]:
        function.__name__ = "act"
        return tools_of(tool(READ, **arguments)(function))

    return decorate


# Schemas


def test_the_stores_schemas_are_those_that_the_tiny_model_learnt() -> None:
    written = json.dumps([tool.to_openai() for tool in tools_of(object.__new__(StoreTools))])
    assert hashlib.sha256(written.encode()).hexdigest() == (
        "9879059fb92626e5d652ce67d9fdf8d2021d758303bf6173f962ead03b7198ba"
    )


def test_nested_types_are_in_the_schema() -> None:
    parameters = ORDER.parameters
    assert list(parameters["properties"]) == ["items", "pay", "heat", "place", "note", "when"]
    assert ORDER.required == ("items", "pay")
    assert parameters["$defs"]["Heat"]["enum"] == ["low", "high"]
    sku = parameters["$defs"]["Item"]["properties"]["sku"]
    assert sku == {"type": "string", "pattern": r"^[A-Z]\d$", "description": "letter and digit"}


def test_descriptions_come_from_the_docstring() -> None:
    assert ORDER.description == "Order things, and have them brought."
    described = {name: part.get("description") for name, part in ORDER.parameters["properties"].items()}
    assert described["items"] == "what to bring, line by line"
    assert described["pay"] == "how it is paid"
    assert described["heat"] is None
    assert FIND.parameters["properties"] == {
        "name": {"type": "string", "description": "what it is called"},
        "limit": {"type": "integer", "default": 5, "description": "at most so many"},
    }


def test_a_field_describes_itself_rather_than_its_docstring() -> None:
    @act()
    def tools(a: Annotated[int, Field(description="from the field")]) -> None:
        """Act.

        a: from the docstring
        """

    assert tools[0].parameters["properties"]["a"]["description"] == "from the field"


class Desk:
    @staticmethod
    @tool(READ)
    def still(a: int) -> int:
        return a

    @tool(WRITE)
    @classmethod
    def made(cls, a: int) -> str:
        return cls.__name__ * a

    @tool(WRITE)
    def bound(self, a: int) -> int:
        return -a


def test_tools_of_objects_functions_lists_and_modules() -> None:
    desk = Desk()
    assert [(tool.name, tool.access) for tool in tools_of(desk)] == [("still", READ), ("made", WRITE), ("bound", WRITE)]
    assert [call(tools_of(desk), name, a=2).content for name in ("still", "made", "bound")] == ["2", '"DeskDesk"', "-2"]
    assert [tool.name for tool in tools_of([desk.bound, find, ORDER])] == ["bound", "find", "order"]
    assert call(tools_of([desk.bound]), "bound", a=3).content == "-3"
    module = ModuleType("shop")
    vars(module).update(find=find, json=json, text="x", order=order, helper=len)
    assert tools_of(module) == [FIND, ORDER]
    assert tools_of(find) == [FIND]


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (Desk, "Desk is a class: give an instance"),
        (json.loads, "loads is not marked: write @tool"),
        ([7], "came an entry 7"),
    ],
)
def test_what_has_no_tools(source: object, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        tools_of(source)


async def later(a: int) -> int:
    return a


def defaulted(a: Annotated[int, Field(default=3)]) -> int:
    return a


def fielded(a: int = Field(3, ge=1)) -> int:
    return a


def aliased(a: Annotated[int, Field(alias="b")]) -> int:
    return a


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (later, "is async"),
        (defaulted, "default of a after ="),
        (fielded, "default of a after ="),
        (aliased, "an alias"),
    ],
)
def test_what_only_pydantic_would_do_for_a_function_is_refused(function: Callable[..., Any], text: str) -> None:
    with pytest.raises(TypeError, match=text):
        tools_of(tool(READ)(function))


# Arguments


def test_a_function_gets_what_it_asked_for() -> None:
    seen: list[Any] = []

    @act()
    def tools(item: Item, heat: Heat, place: Place, when: date, tags: set[str], many: dict[str, Item]) -> None:
        seen.extend([item, heat, place, when, tags, many])

    place = {"city": "Oslo"}
    result = call(
        tools,
        "act",
        item={"sku": "A1"},
        heat="high",
        place=place,
        when="2026-01-31",
        tags=["b"],
        many={"x": {"sku": "B2"}},
    )
    assert not result.is_error
    assert seen == [
        Item(sku="A1"),
        Heat.HIGH,
        Place(city="Oslo"),
        date(2026, 1, 31),
        {"b"},
        {"x": Item(sku="B2")},
    ]


def test_plain_json_is_handed_on_as_it_came() -> None:
    def plain(
        a: int,
        b: Annotated[str, Field(pattern="x", min_length=1)] = "x",
        c: list[dict[str, float]] | None = None,
        d: Literal["p", 1] = "p",
        e: Note | None = None,
        f: Any = None,
    ) -> None: ...

    (made,) = tools_of(tool(READ)(plain))
    assert made.function is plain


def test_what_a_tool_gives_may_be_models_enums_and_dates() -> None:
    result = call(
        [ORDER],
        "order",
        items=[{"sku": "A1"}],
        pay={"kind": "card", "number": "4"},
        place={"city": "Rome"},
        when="2026-02-01",
    )
    assert json.loads(result.content) == {
        "items": [{"sku": "A1", "count": 1}],
        "pay": {"kind": "card", "number": "4"},
        "heat": "low",
        "place": {"city": "Rome", "floor": 0},
        "note": None,
        "when": "2026-02-01",
    }


def test_violations_inside_nested_types_have_their_paths() -> None:
    assert wrong(items=[{"sku": "A1"}, {"sku": "a1", "count": 0}, {"count": "2"}]) == [
        ("invalid_value", "$.items[1].sku"),
        ("invalid_value", "$.items[1].count"),
        ("wrong_type", "$.items[2].count"),
        ("missing_argument", "$.items[2].sku"),
    ]
    assert wrong(place={"city": "Oslo", "floor": "2"}) == [("wrong_type", "$.place.floor")]
    assert wrong(note={"text": 1}) == [("wrong_type", "$.note.text")]
    assert wrong(heat="lo") == [("invalid_value", "$.heat")]
    assert wrong(pay={"kind": "card"}) == [("missing_argument", "$.pay.number")]


def test_what_the_schema_allows_and_the_type_refuses_is_an_invalid_value() -> None:
    assert wrong(when="2026-02-30") == [("invalid_value", "$.when")]

    class Span(BaseModel):
        model_config = ConfigDict(strict=True)
        start: date
        end: date

        @model_validator(mode="after")
        def in_order(self) -> "Span":
            if self.end < self.start:
                raise ValueError("end is before start")
            return self

    def even(number: int) -> int:
        if number % 2:
            raise ValueError("odd")
        return number

    @act()
    def tools(spans: list[Span], n: Annotated[int, AfterValidator(even)] = 0) -> int:
        return len(spans)

    good, bad = {"start": "2026-01-01", "end": "2026-01-02"}, {"start": "2026-01-02", "end": "2026-01-01"}
    assert call(tools, "act", spans=[good]).content == "1"
    violations = call(tools, "act", spans=[good, bad], n=3).violations
    assert {violation.path for violation in violations} == {"$.spans[1]", "$.n"}
    assert "end is before start" in "".join(violation.expected for violation in violations)


# Crashes and time limits


def test_a_crash_says_which_tool_and_with_which_arguments() -> None:
    @act()
    def tools(a: int) -> float:
        return 1 / a

    with pytest.raises(ZeroDivisionError) as caught:
        call(tools, "act", a=0)
    assert caught.value.__notes__ == ["in tool 'act', called with {\"a\": 0}"]


def test_a_tool_may_say_that_what_carries_it_out_failed() -> None:
    @act()
    def tools() -> None:
        raise InfrastructureFault("the server is gone")

    with pytest.raises(InfrastructureFault, match="server is gone"):
        call(tools, "act")


@tool(READ, timeout=0.05)
def hang(how: Literal["sleep", "loop", "refuse", "return"] = "sleep") -> str:
    began = time.monotonic()
    while how in ("sleep", "loop") and time.monotonic() - began < 20:
        try:
            time.sleep(20 if how == "sleep" else 0)
        except Exception:
            return "a tool's own handler must not take the alarm for an error"
    if how == "refuse":
        raise DomainError("a query without end")
    return "in time"


HANG = tools_of(hang)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no alarms")
@pytest.mark.parametrize("how", ["sleep", "loop"])
def test_a_tool_that_hangs_is_cut_off(how: str) -> None:
    handler, began = signal.getsignal(signal.SIGALRM), time.monotonic()
    with pytest.raises(InfrastructureFault, match=r"'hang' was cut off after 0\.05 seconds"):
        call(HANG, "hang", how=how)
    assert time.monotonic() - began < 5
    assert signal.getsignal(signal.SIGALRM) is handler
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_tool_that_hangs_in_another_thread_is_left_behind() -> None:
    raised: list[Exception] = []

    def work() -> None:
        try:
            call(HANG, "hang", how="loop")
        except InfrastructureFault as error:
            raised.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    worker.join(5)
    assert len(raised) == 1


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_tool_that_is_in_time_answers_as_any_other(elsewhere: bool) -> None:
    def work() -> None:
        results.extend(call(HANG, "hang", how=how) for how in ("return", "refuse"))

    results: list[ToolResult] = []
    if elsewhere:
        worker = threading.Thread(target=work)
        worker.start()
        worker.join()
    else:
        work()
    assert results[0].content == '"in time"'
    assert results[1].violations[0].code == "domain_rejection"


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no alarms")
def test_somebody_elses_alarm_still_goes_off() -> None:
    heard: list[int] = []
    earlier = signal.signal(signal.SIGALRM, lambda number, _: heard.append(number))
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        call(HANG, "hang", how="return")
        assert not heard
        time.sleep(0.4)
        assert heard == [signal.SIGALRM]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, earlier)


def test_a_time_limit_is_above_zero() -> None:
    with pytest.raises(ValueError, match="seconds above 0"):
        tool(READ, timeout=0)
