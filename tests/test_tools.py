"""Tools: typed functions as schemas, what is wrong with a call, changed tools, and much, deep or odd input."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import Field

import tools
from tools import (
    INVALID_CALL_CODES,
    READ,
    WRITE,
    DomainError,
    ErrorCode,
    Tool,
    ToolCall,
    ToolResult,
    Toolset,
    check_arguments,
    tool,
    tools_of,
)
from tools.toolset import renamed, requiring, retyped, reworded, without


class Kitchen:
    """A small world: one dish is known."""

    @tool(READ)
    def find_dish(self, name: str, limit: int = 5) -> dict[str, Any]:
        """Find a dish.

        Only the first paragraph is shown.
        """
        if name != "soup":
            raise DomainError(f"no dish is named {name}")
        return {"dish_id": 7, "limit": limit}

    @tool(WRITE)
    def cook(
        self,
        dish_id: int,
        heat: Literal["low", "high"],
        portions: Annotated[int, Field(ge=1, le=9)] = 1,
        notes: list[dict[str, int]] | None = None,
    ) -> str:
        """Cook a dish."""
        return f"{portions} of {dish_id} at {heat}"

    def clean(self) -> None:
        """No tool."""


class Bistro(Kitchen):
    @tool(WRITE)
    def serve(self) -> str:
        """Serve."""
        return "served"


FIND, COOK = tools_of(Kitchen())


def call(toolset: Toolset, name: str, arguments: str) -> ToolResult:
    return toolset.call(ToolCall(id="call_0", name=name, arguments=arguments))


def codes(result: ToolResult) -> list[tuple[str, str]]:
    return [(violation.code.value, violation.path) for violation in result.violations]


def cook(**arguments: Any) -> list[tuple[str, str]]:
    return codes(call(Toolset([COOK]), "cook", json.dumps(arguments)))


def from_schema(parameters: Any) -> Tool:
    return Tool(name="cook", description="", parameters=parameters)


def of_function(function: Callable[..., Any]) -> list[Tool]:
    """The tools of a class that has only this method."""
    return tools_of(type("Desk", (), {"act": tool(READ)(function)})())


# Schemas


def test_a_typed_method_becomes_a_schema() -> None:
    assert FIND.to_openai() == {
        "type": "function",
        "function": {
            "name": "find_dish",
            "description": "Find a dish.",
            "parameters": {
                "type": "object",
                "properties": {"name": {"type": "string"}, "limit": {"type": "integer", "default": 5}},
                "required": ["name"],
                "additionalProperties": False,
            },
        },
    }
    assert (FIND.access, COOK.access) == (READ, WRITE)
    assert COOK.required == ("dish_id", "heat")
    assert COOK.parameters["properties"]["heat"] == {"enum": ["low", "high"], "type": "string"}


def test_arguments_keep_the_order_they_are_written_in() -> None:
    assert list(COOK.parameters["properties"]) == ["dish_id", "heat", "portions", "notes"]


def test_inherited_tools_come_first() -> None:
    assert [tool.name for tool in tools_of(Bistro())] == ["find_dish", "cook", "serve"]


def test_a_schema_read_back_is_the_same_tool_without_a_function() -> None:
    read = Tool.from_openai(json.loads(json.dumps(COOK.to_openai())))
    assert read == COOK
    assert read.function is None
    assert Tool.from_openai(COOK.to_openai()["function"]) == COOK
    assert check_arguments({}, Tool.from_openai({"name": "noop"})) == []


def test_changing_a_written_schema_changes_nobody_elses() -> None:
    FIND.to_openai()["function"]["parameters"]["properties"].clear()
    assert list(tools_of(Kitchen())[0].parameters["properties"]) == ["name", "limit"]


def test_a_schema_may_be_any_mapping() -> None:
    tool = from_schema(MappingProxyType({"type": "object"}))
    assert tool.to_openai()["function"]["parameters"] == {"type": "object"}


@pytest.mark.parametrize("spec", [{}, {"name": 7}, {"function": "cook"}, {"name": "cook", "parameters": [1]}])
def test_what_is_no_openai_schema_is_refused(spec: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Tool.from_openai(spec)


def by_place(self: object, dish_id: int, /) -> None: ...
def by_star(self: object, *dish_ids: int) -> None: ...
def of_callable(self: object, heat: Callable[[], int]) -> None: ...
def of_unknown(self: object, heat: "Heat") -> None: ...  # type: ignore[name-defined]  # noqa: F821
def untyped(self, heat, salt: int) -> None: ...  # type: ignore[no-untyped-def]


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (by_place, "by_place takes arguments by place"),
        (by_star, "by_star takes arguments by place"),
        (of_callable, "of_callable has a type that has no JSON Schema"),
        (of_unknown, "of_unknown has an unknown type"),
        (untyped, "untyped has no type hint for heat: write one"),
    ],
)
def test_a_function_that_can_be_no_tool_is_refused(function: Callable[..., Any], text: str) -> None:
    with pytest.raises(TypeError, match=text):
        of_function(function)


# Checking


def test_a_good_call_is_carried_out() -> None:
    result = call(Toolset([FIND, COOK]), "find_dish", '{"name": "soup"}')
    assert result == ToolResult(content='{"dish_id": 7, "limit": 5}')
    assert result.to_message("call_0") == {"role": "tool", "tool_call_id": "call_0", "content": result.content}


def test_all_violations_come_at_once() -> None:
    result = call(Toolset([COOK]), "cook", '{"dish_id": "7", "portions": 99, "salt": 1, "notes": [{"a": "b"}]}')
    assert sorted(codes(result)) == [
        ("invalid_value", "$.portions"),
        ("missing_argument", "$.heat"),
        ("unexpected_argument", "$.salt"),
        ("wrong_type", "$.dish_id"),
        ("wrong_type", "$.notes[0].a"),
    ]
    assert result.to_message("x")["is_error"] is True
    assert {violation.code for violation in result.violations} <= INVALID_CALL_CODES


def test_the_text_says_what_was_expected_and_what_came() -> None:
    content = call(Toolset([COOK]), "cook", '{"dish_id": 7, "heat": "hot"}').content
    assert json.loads(content) == {
        "errors": [
            {
                "code": "invalid_value",
                "path": "$.heat",
                "expected": "an allowed value",
                "came": "hot",
                "allowed": ["low", "high"],
            }
        ]
    }


def test_a_missing_argument_lists_all_that_are_required() -> None:
    (violation,) = check_arguments({"heat": "low"}, COOK)
    assert (violation.expected, violation.allowed) == ("integer", ("dish_id", "heat"))


@pytest.mark.parametrize("value", [True, 1.5, "7", None, [7]])
def test_what_is_no_integer(value: Any) -> None:
    assert cook(dish_id=value, heat="low") == [("wrong_type", "$.dish_id")]


def test_a_union_is_reported_by_the_branch_that_fits_best() -> None:
    assert cook(dish_id=7, heat="low", notes="salty") == [("wrong_type", "$.notes")]
    assert cook(dish_id=7, heat="low", notes=[{"a": 1}, 2]) == [("wrong_type", "$.notes[1]")]


def test_an_unknown_name_and_a_withheld_one() -> None:
    toolset = Toolset([FIND], catalogue={"cook"})
    assert codes(call(toolset, "fry", "{}")) == [("nonexistent_tool", "name")]
    result = call(toolset, "cook", "not even JSON")
    assert codes(result) == [("unavailable_tool", "name")]
    assert result.violations[0].allowed == ("find_dish",)


@pytest.mark.parametrize(
    "arguments",
    [
        "{",
        '{"name": "soup"} and more',
        "[]",
        '"soup"',
        "null",
        " ",
        '{"name": NaN}',
        '{"limit": -Infinity}',
        '{"limit": 1e400}',
        '{"limit": ' + "1" * 5_000 + "}",
        '{"name": ' + "[" * 100_000,
    ],
)
def test_malformed_arguments(arguments: str) -> None:
    result = call(Toolset([FIND]), "find_dish", arguments)
    assert codes(result) == [("malformed_call", "$")]
    json.dumps(json.loads(result.content), allow_nan=False)
    assert len(result.content) < 1_000


def test_a_call_whose_block_did_not_parse_has_no_name() -> None:
    assert codes(call(Toolset([FIND]), "", '{"name": "find_dish", ')) == [("malformed_call", "$")]


def test_no_arguments_at_all_mean_an_empty_object() -> None:
    assert codes(call(Toolset([FIND]), "find_dish", "")) == [("missing_argument", "$.name")]


def test_of_a_name_given_twice_the_last_one_counts() -> None:
    arguments, violations = Toolset([FIND]).check(
        ToolCall(id="", name="find_dish", arguments='{"name": 7, "name": "soup"}')
    )
    assert (arguments, violations) == ({"name": "soup"}, [])


def test_nesting_that_a_recursive_schema_follows_down_is_the_models_mistake() -> None:
    schema = {"properties": {"a": {"$ref": "#/$defs/n"}}, "$defs": {"n": {"items": {"$ref": "#/$defs/n"}}}}
    arguments = '{"a": ' + "[" * 400 + "]" * 400 + "}"
    assert codes(call(Toolset([from_schema(schema)]), "cook", arguments)) == [("malformed_call", "$")]


@pytest.mark.parametrize("depth", [*range(20, 1_000, 49), *range(940, 1_000, 3)])
def test_deep_nesting_is_answered_not_raised(depth: int) -> None:
    result = call(Toolset([COOK]), "cook", '{"dish_id": ' + "[" * depth + "]" * depth + ', "heat": "low"}')
    assert codes(result) in ([("wrong_type", "$.dish_id")], [("malformed_call", "$")])


@pytest.mark.parametrize("name", ["\ud800", "s" * 100_000, "\x00", "\u202e", "[bold]"])
def test_odd_strings_are_answered_with_text_that_can_be_written(name: str) -> None:
    result = call(Toolset([FIND]), "find_dish", json.dumps({"name": name}))
    assert codes(result) == [("domain_rejection", "$")]
    result.content.encode()
    assert codes(call(Toolset([FIND]), name, "{}")) == [("nonexistent_tool", "name")]
    call(Toolset([FIND]), name, "{}").content.encode()
    assert codes(call(Toolset([COOK]), "cook", json.dumps({"dish_id": name, "heat": "low"}))) == [
        ("wrong_type", "$.dish_id")
    ]


def test_what_came_is_cut_where_it_is_long() -> None:
    result = call(Toolset([COOK]), "cook", json.dumps({"dish_id": "9" * 100_000, "heat": "low"}))
    (error,) = json.loads(result.content)["errors"]
    assert error["came"] == "9" * 200 + "... (100000 characters)"


def test_schema_forms_that_pydantic_does_not_write() -> None:
    anything = from_schema({"properties": {"a": True}, "required": ["a"]})
    assert [violation.expected for violation in check_arguments({}, anything)] == ["a value"]
    patterned = from_schema({"patternProperties": {"^x_": {}}, "additionalProperties": False})
    assert [violation.path for violation in check_arguments({"x_1": 1, "y": 2}, patterned)] == ["$.y"]
    either = from_schema({"properties": {"a": {"type": ["string", "null"]}}, "required": ["a"]})
    assert [violation.expected for violation in check_arguments({}, either)] == ["string or null"]
    assert [violation.expected for violation in check_arguments({"a": 1}, either)] == ["string or null"]


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"type": "int"}, "no JSON Schema"),
        ({"properties": {"a": {"pattern": "("}}}, "no JSON Schema"),
        ({"properties": {"a": {"$ref": "#/$defs/x"}}}, "has a \\$ref to '/\\$defs/x'"),
        ({"properties": {"a": {"$ref": "https://example.invalid/x"}}}, "has a \\$ref to 'https://example.invalid/x'"),
    ],
)
def test_a_bad_schema_is_the_developers_mistake(parameters: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        check_arguments({"a": 1}, from_schema(parameters))


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)
NEAR_MISSES = st.fixed_dictionaries(
    {},
    optional={
        "dish_id": st.integers() | JSON_VALUES,
        "heat": st.sampled_from(["low", "high", "hot"]) | JSON_VALUES,
        "portions": st.integers(-1, 11) | JSON_VALUES,
        "notes": st.lists(st.dictionaries(st.text(max_size=2), st.integers() | JSON_VALUES)) | JSON_VALUES,
        "salt": JSON_VALUES,
    },
)


@settings(deadline=None)
@given(NEAR_MISSES)
def test_the_check_agrees_with_jsonschema(arguments: dict[str, Any]) -> None:
    violations = check_arguments(arguments, COOK)
    assert (violations == []) == Draft202012Validator(COOK.parameters).is_valid(arguments)
    assert {violation.code for violation in violations} <= INVALID_CALL_CODES


@settings(deadline=None)
@given(st.text() | JSON_VALUES.map(json.dumps), st.sampled_from(["cook", "find_dish", "fry", ""]))
def test_any_text_is_answered_with_text(arguments: str, name: str) -> None:
    content = call(Toolset([FIND, COOK]), name, arguments).content
    assert isinstance(json.loads(content.encode()), (dict, str))


# Toolsets and changed tools


def test_two_tools_of_one_name() -> None:
    with pytest.raises(ValueError, match="two tools have the name 'cook': rename one"):
        Toolset([COOK, COOK])


def test_a_refusal_of_the_world_is_an_observation() -> None:
    result = call(Toolset([FIND]), "find_dish", '{"name": "stew"}')
    assert codes(result) == [("domain_rejection", "$")]
    assert result.violations[0].expected == "no dish is named stew"
    assert ErrorCode.DOMAIN_REJECTION not in INVALID_CALL_CODES


def test_a_crash_of_a_tool_is_a_bug() -> None:
    def crash(self: object) -> None:
        raise KeyError("bug")

    with pytest.raises(KeyError, match="bug"):
        call(Toolset(of_function(crash)), "act", "{}")


def test_a_schema_without_a_function_can_be_checked_only() -> None:
    toolset = Toolset([replace(FIND, function=None)])
    assert codes(call(toolset, "find_dish", "{}")) == [("missing_argument", "$.name")]
    with pytest.raises(ValueError, match="schema without a function"):
        call(toolset, "find_dish", '{"name": "soup"}')


def test_renamed() -> None:
    toolset = Toolset([renamed(FIND, "search")], catalogue={"find_dish"})
    assert not call(toolset, "search", '{"name": "soup"}').is_error
    assert codes(call(toolset, "find_dish", '{"name": "soup"}')) == [("unavailable_tool", "name")]


def test_reworded() -> None:
    changed = reworded(COOK, "heat", {"low": "gentle", "high": "fierce"})
    assert changed.parameters["properties"]["heat"] == {"enum": ["gentle", "fierce"], "type": "string"}
    toolset = Toolset([changed])
    assert call(toolset, "cook", '{"dish_id": 7, "heat": "fierce"}').content == '"1 of 7 at high"'
    assert codes(call(toolset, "cook", '{"dish_id": 7, "heat": "high"}')) == [("invalid_value", "$.heat")]


def test_reworded_takes_a_choice_of_one_and_a_default_along() -> None:
    def act(self: object, only: Literal["a"], heat: Literal["low", "high"] = "low") -> str:
        return only + heat

    (plain,) = of_function(act)
    changed = reworded(reworded(plain, "only", {"a": "one"}), "heat", {"low": "gentle", "high": "fierce"})
    assert changed.parameters["properties"]["heat"]["default"] == "gentle"
    assert call(Toolset([changed]), "act", '{"only": "one"}').content == '"alow"'


def test_one_word_for_two_values_is_refused() -> None:
    with pytest.raises(ValueError, match="one word stands for two values"):
        reworded(COOK, "heat", {"low": "warm", "high": "warm"})


def test_retyped() -> None:
    toolset = Toolset([retyped(COOK, "dish_id")])
    assert call(toolset, "cook", '{"dish_id": "7", "heat": "low"}').content == '"1 of 7 at low"'
    assert codes(call(toolset, "cook", '{"dish_id": 7, "heat": "low"}')) == [("wrong_type", "$.dish_id")]
    for text in ("seven", "", "-7", "7.0", "\u0667", "9" * 30):
        result = call(toolset, "cook", json.dumps({"dish_id": text, "heat": "low"}))
        assert result.violations[0].expected == "dish_id must be digits"


def test_requiring() -> None:
    changed = requiring(FIND, "limit")
    assert changed.required == ("name", "limit")
    assert changed.parameters["properties"]["limit"] == {"type": "integer"}
    assert codes(call(Toolset([changed]), "find_dish", '{"name": "soup"}')) == [("missing_argument", "$.limit")]


def test_without() -> None:
    toolset = Toolset([without(FIND, "limit")])
    assert call(toolset, "find_dish", '{"name": "soup"}').content == '{"dish_id": 7, "limit": 5}'
    assert codes(call(toolset, "find_dish", '{"name": "soup", "limit": 1}')) == [("unexpected_argument", "$.limit")]


def test_a_changed_tool_leaves_the_first_one_as_it_was() -> None:
    before = json.dumps(COOK.to_openai())
    requiring(without(retyped(reworded(COOK, "heat", {"low": "l", "high": "h"}), "dish_id"), "notes"), "portions")
    assert json.dumps(COOK.to_openai()) == before


# Calls in OpenAI's form


def test_a_call_goes_to_openais_form_and_back() -> None:
    written = ToolCall(id="call_0", name="cook", arguments='{"heat": ')
    assert ToolCall.from_openai(written.to_openai()) == written


def test_arguments_may_come_as_an_object() -> None:
    came = ToolCall.from_openai({"function": {"name": "cook", "arguments": {"heat": "low"}}})
    assert came == ToolCall(id="", name="cook", arguments='{"heat": "low"}')


def test_what_is_no_call_is_refused() -> None:
    with pytest.raises(ValueError, match="use OpenAI's chat form"):
        ToolCall.from_openai({"name": "cook", "arguments": "{}"})


# The README


def test_the_readmes_example_does_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    text = Path(tools.__file__).with_name("README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    exec(compile(code, "tools/README.md", "exec"), {"__name__": "readme"})
    printed = capsys.readouterr().out.strip()
    assert f"It prints `{printed}`" in text


# Much, deep and odd input

BIG = 10_000_000


@pytest.mark.parametrize(
    "arguments",
    [
        '{"dish_id": 7, "heat": "' + "a" * BIG + '"}',
        '{"dish_id": 7, "heat": "low", "notes": [' + "1," * (BIG // 2) + "1]}",
        "[" * BIG,
        '{"a": ' * (BIG // 6),
        "9" * BIG,
    ],
)
def test_ten_megabytes_are_refused_in_few_words(arguments: str) -> None:
    result = call(Toolset([COOK]), "cook", arguments)
    assert codes(result) == [("malformed_call", "$")]
    assert len(result.content) < 1_000


@pytest.mark.parametrize(
    "notes",
    [
        "[" + "1," * 200_000 + "1]",
        "[" + '{"a":"b"},' * 50_000 + "{}]",
        "{" + ",".join(f'"{number}":1' for number in range(50_000)) + "}",
        "[" + '{"' + "k" * 100_000 + '":"x"}]',
    ],
)
def test_of_very_many_violations_twenty_are_named(notes: str) -> None:
    result = call(Toolset([COOK]), "cook", '{"dish_id": 7, "heat": "low", "notes": ' + notes + "}")
    assert 1 <= len(result.violations) <= 20
    assert len(result.content) < 20_000


def test_a_tool_that_is_told_much_says_little_back() -> None:
    result = call(Toolset([FIND]), "find_dish", json.dumps({"name": "s" * 900_000}))
    assert codes(result) == [("domain_rejection", "$")]
    assert len(result.content) < 5_000


def test_a_crowd_of_unknown_arguments() -> None:
    arguments = json.dumps({f"argument_{number}": number for number in range(20_000)})
    assert len(call(Toolset([COOK]), "cook", arguments).violations) == 20


def test_what_is_just_short_enough_is_carried_out() -> None:
    frame = '{"name": "soup", "limit": 1}'
    assert not call(Toolset([FIND]), "find_dish", frame + " " * (1_000_000 - len(frame))).is_error
    assert call(Toolset([FIND]), "find_dish", frame + " " * 1_000_000).is_error


@pytest.mark.parametrize("arguments", [' {"name": "soup"}', '{"name": "soup"}\n', '{"name" :"so\\u0075p"}'])
def test_json_may_have_spaces_and_escapes(arguments: str) -> None:
    assert not call(Toolset([FIND]), "find_dish", arguments).is_error


def test_an_integer_may_be_as_large_as_python_reads() -> None:
    digits = "9" * 4_000
    assert call(Toolset([FIND]), "find_dish", f'{{"name": "soup", "limit": {digits}}}').content.endswith(f"{digits}}}")
