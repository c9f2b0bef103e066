"""Tools as logs have them: what their schemas mean, whatever draft or habit they are written in."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools import ToolCall, check_call
from tools.closing import closed
from tools.drafts import mended, modern
from tools.logged import logged_tools


def object_of(*required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


def found(parameters: Any, arguments: Any) -> list[tuple[str, str]]:
    """The codes and paths of what is wrong with a call of a tool with these parameters."""
    offered = logged_tools([{"type": "function", "function": {"name": "act", "parameters": parameters}}])
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    _, violations = check_call(ToolCall(id="", name="act", arguments=text), offered, suggest=False)
    return [(str(violation.code), violation.path) for violation in violations]


TEXT, NUMBER = {"type": "string"}, {"type": "integer"}
NESTED = object_of(person=object_of("name", name=TEXT))


def test_a_function_takes_no_other_keywords_nested_ones_neither() -> None:
    assert found(object_of(a=TEXT), {"a": "x", "b": 1}) == [("unexpected_argument", "$.b")]
    assert found(NESTED, {"person": {"name": "x", "age": 1}}) == [("unexpected_argument", "$.person.age")]
    assert found(object_of(), {"b": 1}) == [("unexpected_argument", "$.b")]
    assert found(None, {"b": 1}) == [("unexpected_argument", "$.b")]


@pytest.mark.parametrize("also", [{"additionalProperties": True}, {"patternProperties": {"^b": {}}}])
def test_unless_its_schema_says_otherwise(also: dict[str, Any]) -> None:
    assert found({**object_of(a=TEXT), **also}, {"b": 1}) == []


def test_an_object_without_properties_is_open() -> None:
    assert found({"type": "object"}, {"b": 1}) == []
    assert found(object_of(any={"type": "object"}, empty=object_of()), {"any": {"b": 1}, "empty": {"b": 1}}) == []


def test_an_object_in_parts_is_closed_where_its_names_are_in_one_place() -> None:
    either = {**object_of(a=TEXT, b=TEXT), "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}
    assert found(either, {"a": "x"}) == []
    assert found(either, {"a": "x", "c": 1}) == [("unexpected_argument", "$.c")]
    merged = {"type": "object", "allOf": [{"properties": {"a": TEXT}}, {"properties": {"b": TEXT}}]}
    assert found(merged, {"a": "x", "b": "y"}) == []
    wrapped = {**object_of(p={"allOf": [{"$ref": "#/definitions/P"}]}), "definitions": {"P": object_of(x=TEXT)}}
    assert found(wrapped, {"p": {"y": 1}}) == [("unexpected_argument", "$.p.y")]


@pytest.mark.parametrize("bare", [{"type": "object"}, {"type": "object", "additionalProperties": True, "title": "X"}])
@pytest.mark.parametrize("keyword", ["anyOf", "oneOf"])
def test_a_class_or_a_bare_object_is_the_class(bare: dict[str, Any], keyword: str) -> None:
    passengers = {"type": "array", "items": {keyword: [{"$ref": "#/$defs/P"}, bare]}}
    schema = {**object_of(passengers=passengers), "$defs": {"P": object_of("name", "born", name=TEXT, born=TEXT)}}
    assert found(schema, {"passengers": [{"name": "a", "born": "b"}]}) == []
    assert found(schema, {"passengers": [{"name": "a"}]}) == [("missing_argument", "$.passengers[0].born")]


def test_a_union_is_reported_by_the_branch_that_fits_best() -> None:
    one, other = object_of("kind", "x", kind={"const": "one"}, x=NUMBER), object_of("y", "z", y=NUMBER, z=NUMBER)
    assert found(object_of(a={"anyOf": [other, one, {"type": "null"}]}), {"a": {"kind": "one", "x": "1"}}) == [
        ("wrong_type", "$.a.x")
    ]


def test_no_text_is_no_arguments() -> None:
    assert found(object_of(a=TEXT), "") == []
    assert found(object_of("a", a=TEXT), "") == [("missing_argument", "$.a")]


@pytest.mark.parametrize(
    ("part", "good", "bad"),
    [
        ({"type": "dict", "properties": {"x": {"type": "float"}}}, {"x": 1}, {"x": "1"}),
        ({"type": "List[str]", "items": {"type": "str"}}, ["a"], [1]),
        ({"type": "tuple"}, [1], {}),
        ({"type": ["str", "None"]}, None, 1),
        ({"type": "string", "nullable": True}, None, 1),
        ({"enum": ["a"], "nullable": True}, None, "b"),
        ({"type": "integer", "minimum": 0, "exclusiveMinimum": True}, 1, 0),
        ({"type": "integer", "exclusiveMaximum": 5}, 4, 5),
        ({"type": "array", "items": [NUMBER], "additionalItems": False}, [1], [1, 2]),
        ({"type": "string", "format": "date"}, "2024-05-01", "tomorrow"),
        ({"type": "string", "format": "email"}, "a@b.c", "nobody"),
        ({"$ref": "#/definitions/D"}, "a", 1),
    ],
)
def test_other_drafts_and_other_languages(part: dict[str, Any], good: Any, bad: Any) -> None:
    schema = {"$schema": "http://json-schema.org/draft-04/schema#", **object_of(a=part), "definitions": {"D": TEXT}}
    assert found(schema, {"a": good}) == []
    assert len(found(schema, {"a": bad})) == 1


def test_draft_3_says_required_in_the_property_and_an_argument_may_be_called_id() -> None:
    schema = {"id": "http://example.invalid/x", **object_of(id={"type": "integer", "required": True})}
    assert found(schema, {}) == [("missing_argument", "$.id")]
    assert found(schema, {"id": 1}) == []


def test_dependencies() -> None:
    schema = {**object_of(a=TEXT, b=TEXT), "dependencies": {"a": ["b"]}}
    assert found(schema, {"a": "x"}) == [("missing_argument", "$.b")]


@pytest.mark.parametrize(
    "odd",
    [
        {"type": "oops"},
        {"type": "any"},
        {"minimum": "0"},
        {"pattern": "("},
        {"enum": "a"},
        {"$ref": "#/$defs/none"},
        {"$ref": "https://example.invalid/schema.json"},
        {"$ref": "#/properties/a"},
        {"anyOf": 3},
        {"properties": [1]},
    ],
)
def test_what_no_reader_could_make_sense_of_forbids_nothing(odd: dict[str, Any]) -> None:
    assert found(object_of(a=odd, b=NUMBER), {"a": "x", "b": 1}) == []
    assert found(object_of(a=odd, b=NUMBER), {"a": "x", "b": "1"}) == [("wrong_type", "$.b")]


def deep(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(levels):
        schema = object_of(a=schema)
    return schema


def expanding(keyword: str, levels: int) -> dict[str, Any]:
    """A schema of a few lines that stands for 2 ** levels."""
    parts = {f"n{i}": {keyword: [{"$ref": f"#/$defs/n{i + 1}"}] * 2} for i in range(levels)}
    return {**object_of(a={"$ref": "#/$defs/n0"}), "$defs": {**parts, f"n{levels}": TEXT}}


LIST = {"$defs": {"n": object_of(a={"$ref": "#/$defs/n"})}, **object_of(a={"$ref": "#/$defs/n"})}


@pytest.mark.parametrize(
    ("schema", "arguments", "codes"),
    [
        ({"$ref": "#"}, {"a": 1}, []),
        ({"$ref": "#/$defs/x", "$defs": {"x": {"anyOf": [{"$ref": "#/$defs/x"}]}}}, {"a": 1}, []),
        (LIST, {"a": {"a": {"b": 1}}}, ["unexpected_argument"]),
        (LIST, '{"a":' * 50_000 + "{}" + "}" * 50_000, ["malformed_call"]),
        (deep(900), {"a": {"a": 1}}, []),
        (expanding("allOf", 30), {"a": 1}, ["wrong_type"]),
        (object_of(a={"pattern": "^(a+)+$"}), {"a": "a" * 40 + "!"}, ["invalid_value"]),
        (object_of(a={"pattern": r"^(a|aa)+\1$"}), {"a": "a" * 60 + "!"}, []),
        ({**object_of(), "patternProperties": {"^(a+)+$": {}}}, {"a" * 40 + "!": 1}, []),
        (object_of(a=NUMBER), '{"a": ' + "1" * 900_000 + "}", ["malformed_call"]),
        (object_of(a={"uniqueItems": True}), {"a": [{"i": i} for i in range(20_000)]}, []),
        (object_of(a={"uniqueItems": True}), {"a": [1, True, [1], 1.0]}, ["invalid_value"]),
        (object_of(a=TEXT), {"a": "x" * 2_000_000}, ["malformed_call"]),
    ],
)
def test_nothing_hangs_or_crashes(schema: Any, arguments: Any, codes: list[str]) -> None:
    assert [code for code, _ in found(schema, arguments)] == codes


def test_two_tools_of_one_name_and_tools_that_are_none() -> None:
    specs = [{"name": "act", "input_schema": object_of(a=TEXT)}, {"name": "act", "inputSchema": object_of(b=TEXT)}]
    tools = logged_tools(specs)
    assert (list(tools), list(tools["act"].parameters["properties"])) == (["act"], ["b"])
    assert logged_tools(specs) is tools
    assert list(tools.without(["act"])) == []
    with pytest.raises(ValueError, match="expected an OpenAI tool schema"):
        logged_tools([{"type": "function"}])


def test_a_schema_in_todays_words_stays_as_it_is() -> None:
    schema = {
        **object_of("a", a={"anyOf": [TEXT, {"type": "null"}]}),
        "additionalProperties": False,
        "$defs": {"P": TEXT},
    }
    assert modern(schema) == mended(schema) == closed(mended(schema)) == schema


WORDS = st.sampled_from(
    "type dict properties items anyOf oneOf allOf $ref #/$defs/a # $defs a required enum id nullable float string "
    "object additionalProperties pattern ^(a|b)+$ format date minimum exclusiveMinimum dependencies not if".split()
)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | WORDS | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.dictionaries(WORDS, ANY_JSON, max_size=5), st.dictionaries(WORDS, ANY_JSON, max_size=3))
def test_whatever_is_called_a_schema_can_be_checked_with(schema: dict[str, Any], arguments: dict[str, Any]) -> None:
    first = found(schema, arguments)
    assert found(json.loads(json.dumps(schema)), arguments) == first


def test_a_draft_that_nobody_knows_forbids_nothing_and_stops_nothing() -> None:
    schema = {"$schema": "x", "type": "object", "properties": {"a": {"$ref": "http://elsewhere/part"}}}
    assert mended(schema)["properties"] == {"a": {}}
