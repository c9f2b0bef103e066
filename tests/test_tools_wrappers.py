"""Wrappers of toolsets: what can be called under which name and when; and schemas in other programs' forms."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools import READ, WRITE, Tool, ToolCall, Toolset, tool, tools_of
from tools.command import InputError
from tools.dialects import read_tool, read_tools, to_mcp
from tools.drafts import mapped
from tools.wrappers import add_distractors, answering, keep, refusing, rename, scramble_descriptions, shuffle, withhold


class Desk:
    @tool(READ)
    def find(self, name: str) -> str:
        """Find a thing by its name.

        name: the exact name of the thing
        """
        return f"found {name}"

    @tool(WRITE)
    def pay(self, amount: int) -> str:
        """Pay an amount."""
        return f"paid {amount}"

    @tool(WRITE)
    def close(self) -> str:
        """Close the desk."""
        return "closed"


def desk() -> Toolset:
    return Toolset(tools_of(Desk()))


def said(toolset: Toolset, name: str, /, **arguments: Any) -> Any:
    """A tool's answer, or the code of what was wrong."""
    result = toolset.call(ToolCall(id="", name=name, arguments=json.dumps(arguments)))
    return result.violations[0].code.value if result.is_error else json.loads(result.content)


# One wrapper at a time


def test_keep_by_names_or_by_a_predicate() -> None:
    for kept in (keep(desk(), ["find"]), keep(desk(), lambda tool: tool.access is READ)):
        assert list(kept.offered) == ["find"]
        assert kept.catalogue == {"pay", "close"}
        assert said(kept, "find", name="x") == "found x"
        assert said(kept, "pay", amount=1) == "unavailable_tool"


def test_rename() -> None:
    renamed = rename(desk(), {"find": "pay", "pay": "settle"})
    assert list(renamed.offered) == ["pay", "settle", "close"]
    assert said(renamed, "pay", name="x") == "found x"
    assert said(renamed, "settle", amount=1) == "paid 1"
    assert said(renamed, "find", name="x") == "nonexistent_tool"


def test_withhold_until_a_turn() -> None:
    toolset = withhold(desk(), {"pay": 1, "close": 3})
    assert toolset.withheld == {"pay": 1, "close": 3}
    assert toolset.advance(0) == ()
    assert said(toolset, "pay", amount=1) == "unavailable_tool"
    assert [tool.name for tool in toolset.advance(1)] == ["pay"]
    assert said(toolset, "pay", amount=1) == "paid 1"
    assert toolset.withheld == {"close": 3}
    assert said(toolset, "close") == "unavailable_tool"
    assert toolset.advance(2) == ()
    assert [tool.name for tool in toolset.advance(5)] == ["close"]
    assert said(toolset, "close") == "closed"
    assert (toolset.advance(6), toolset.withheld) == ((), {})


def test_what_is_withheld_is_in_no_schema_until_then() -> None:
    toolset = withhold(desk(), {"pay": 1})
    assert [spec["function"]["name"] for spec in toolset.to_openai()] == ["find", "close"]
    toolset.advance(1)
    assert [spec["function"]["name"] for spec in toolset.to_openai()] == ["find", "close", "pay"]


def test_distractors_answer_or_refuse() -> None:
    schema = Tool(name="weather", description="", parameters={"type": "object"})
    other = answering(Tool(name="news", description="", parameters={}), {"news": []})
    toolset = add_distractors(desk(), [schema, other])
    assert list(toolset.offered) == ["find", "pay", "close", "weather", "news"]
    assert said(toolset, "weather") == "domain_rejection"
    assert said(toolset, "news", any=1) == {"news": []}
    with pytest.raises(ValueError, match="two tools have the name 'news'"):
        add_distractors(toolset, [refusing(other)])


def test_scrambled_descriptions_have_the_same_words() -> None:
    toolset = scramble_descriptions(desk(), seed=3)
    before, after = desk().offered["find"], toolset.offered["find"]
    assert before.description != after.description
    assert sorted(before.description.split()) == sorted(after.description.split())
    words = after.parameters["properties"]["name"]["description"]
    assert sorted(words.split()) == sorted("the exact name of the thing".split())
    assert said(toolset, "find", name="x") == "found x"
    assert desk().offered["find"] == before


@pytest.mark.parametrize("wrapper", [shuffle, scramble_descriptions])
def test_a_seed_decides(wrapper: Any) -> None:
    seen = {json.dumps(wrapper(desk(), seed).to_openai()) for seed in range(8) for _ in range(2)}
    assert 1 < len(seen) <= 8


def test_shuffle() -> None:
    orders = {tuple(shuffle(desk(), seed).offered) for seed in range(40)}
    assert len(orders) == 6


@pytest.mark.parametrize(
    "wrap", [lambda toolset: keep(toolset, ["fnd"]), lambda toolset: withhold(toolset, {"fnd": 1})]
)
def test_a_name_that_no_tool_has(wrap: Any) -> None:
    with pytest.raises(ValueError, match="no tool 'fnd': did you mean 'find'"):
        wrap(desk())
    with pytest.raises(ValueError, match="can't withhold fnd"):
        Toolset(desk().tools, withheld={"fnd": 2})


# Composed

STEPS = {
    "keep": lambda toolset: keep(toolset, lambda tool: tool.name not in ("close", "shut")),
    "rename": lambda toolset: rename(toolset, {"pay": "settle", "close": "shut"}),
    "withhold": lambda toolset: withhold(
        toolset, {tool.name: 2 for tool in toolset.tools if tool.name in ("pay", "settle")}
    ),
    "distract": lambda toolset: add_distractors(toolset, [Tool(name="news", description="n", parameters={})]),
    "scramble": lambda toolset: scramble_descriptions(toolset, 1),
    "shuffle": lambda toolset: shuffle(toolset, 1),
}


@given(st.permutations(list(STEPS)))
def test_wrappers_compose_in_any_order(order: list[str]) -> None:
    toolset = desk()
    toolset.suggest = True
    for step in order:
        toolset = STEPS[step](toolset)
    assert toolset.suggest
    assert set(toolset.offered) == {"find", "news"}
    assert toolset.withheld == {"settle": 2}
    assert toolset.catalogue == {"shut"}
    assert said(toolset, "find", name="x") == "found x"
    assert said(toolset, "settle", amount=1) == said(toolset, "shut") == "unavailable_tool"
    assert said(toolset, "pay", amount=1) == said(toolset, "close") == "nonexistent_tool"
    assert [tool.name for tool in toolset.advance(2)] == ["settle"]
    assert said(toolset, "settle", amount=1) == "paid 1"


# What was probably meant


def test_a_suggestion_is_said_only_where_it_is_asked_for() -> None:
    call = ToolCall(id="", name="fnd", arguments="{}")
    quiet, loud = desk().call(call), Toolset(desk().tools, suggest=True).call(call)
    assert quiet.violations == loud.violations
    assert quiet.violations[0].suggestion == "find"
    assert quiet.violations[0].to_json()["suggestion"] == "find"
    assert "suggestion" not in quiet.content
    assert json.loads(loud.content)["errors"][0]["suggestion"] == "find"


@pytest.mark.parametrize(
    ("arguments", "suggestions"),
    [
        ({"nme": "x"}, {"missing_argument": None, "unexpected_argument": "name"}),
        ({"name": "x", "nme": "x"}, {"unexpected_argument": None}),
        ({"name": "x", "mode": "FAST"}, {"invalid_value": "fast"}),
        ({"name": "x", "mode": 7}, {"invalid_value": "7"}),
        ({"name": "x", "mode": "zzzz"}, {"invalid_value": None}),
        ({"name": "x", "mode": ["fast"]}, {"invalid_value": None}),
        ({"name": "x", "mode": "f" * 1_000}, {"invalid_value": None}),
    ],
)
def test_what_was_probably_meant(arguments: dict[str, Any], suggestions: dict[str, str | None]) -> None:
    parameters = {
        "properties": {"name": {"type": "string"}, "mode": {"enum": ["fast", "slow", "7", 7.5]}},
        "required": ["name"],
        "additionalProperties": False,
    }
    toolset = Toolset([Tool(name="find", description="", parameters=parameters)])
    _, violations = toolset.check(ToolCall(id="", name="find", arguments=json.dumps(arguments)))
    assert {violation.code.value: violation.suggestion for violation in violations} == suggestions


# Forms


def test_round_trips() -> None:
    tools = tools_of(Desk())
    assert read_tools([to_mcp(tool) for tool in tools]) == tools
    assert [tool.access for tool in read_tools({"tools": [to_mcp(tool) for tool in tools]})] == [READ, WRITE, WRITE]
    openai = json.loads(json.dumps([tool.to_openai() for tool in tools]))
    assert [tool.to_openai() for tool in read_tools(openai)] == openai
    assert to_mcp(tools[1]) == {
        "name": "pay",
        "description": "Pay an amount.",
        "inputSchema": tools[1].parameters,
        "annotations": {"readOnlyHint": False},
    }


SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


@pytest.mark.parametrize(
    "value",
    [
        {"name": "f", "parameters": SCHEMA},
        [{"type": "function", "function": {"name": "f", "parameters": SCHEMA, "strict": True}}],
        {"tools": [{"type": "function", "name": "f", "parameters": SCHEMA, "strict": True}], "model": "m"},
        {"functions": [{"name": "f", "description": None, "parameters": SCHEMA}]},
        [{"name": "f", "inputSchema": SCHEMA, "annotations": None}],
        [{"name": "f", "input_schema": SCHEMA}],
        {"id": "simple_0", "question": [], "function": [{"name": "f", "parameters": {**SCHEMA, "type": "dict"}}]},
    ],
)
def test_every_form_is_read(value: Any) -> None:
    (tool,) = read_tools(value)
    assert (tool.name, tool.description, tool.parameters) == ("f", "", SCHEMA)


def test_types_of_other_languages() -> None:
    words = ("float", "tuple", "any", "bool", "HashMap", "String", "integer")
    properties: dict[str, Any] = {word: {"type": word} for word in words}
    properties["type"] = {"type": "list", "items": {"type": "dict", "properties": {"x": {"type": "float"}}}}
    parameters = read_tool({"name": "f", "parameters": {"type": "dict", "properties": properties}}).parameters
    assert parameters["properties"] == {
        "float": {"type": "number"},
        "tuple": {"type": "array"},
        "any": {},
        "bool": {"type": "boolean"},
        "HashMap": {"type": "object"},
        "String": {"type": "string"},
        "integer": {"type": "integer"},
        "type": {"type": "array", "items": {"type": "object", "properties": {"x": {"type": "number"}}}},
    }
    assert properties["float"] == {"type": "float"}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (7, "expected a JSON list of tool schemas, came int 7"),
        (["f"], "tool 0: expected a tool schema"),
        ([{"name": "f"}, {"title": "g"}], "tool 1: expected an OpenAI tool schema with a 'name'"),
        ({"name": "f", "parameters": [1]}, "expected a JSON Schema as 'parameters'"),
        ({"name": "f", "parameters": {"type": "strng"}}, "no JSON Schema at"),
        ({"name": "f", "parameters": {"properties": {"a": {"type": "strng"}}}}, r"no JSON Schema at \$.properties.a"),
        ({"name": "f", "inputSchema": {"type": "string"}}, "expected parameters of type 'object', came 'string'"),
        ({"name": "f", "parameters": {"$ref": "#/$defs/x"}}, "which is not in its parameters"),
    ],
)
def test_what_is_no_schema_says_what_was_expected(value: Any, text: str) -> None:
    with pytest.raises(InputError, match=text):
        read_tools(value)


def test_a_schema_is_mapped_where_it_is_a_schema() -> None:
    schema = {"properties": {"description": {"description": "x"}}, "default": {"description": "x"}, "not": True}
    assert mapped(schema, lambda part: {**part, "seen": 1}) == {
        "properties": {"description": {"description": "x", "seen": 1}},
        "default": {"description": "x"},
        "not": True,
        "seen": 1,
    }
