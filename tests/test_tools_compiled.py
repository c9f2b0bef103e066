"""A compiled schema says *valid* only where jsonschema says so too, and is fast where it can be."""

import copy
import json
import pickle
import warnings
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from tools import Tool, ToolCall, Toolset
from tools.compiled import Compiled
from tools.keywords import Validator, format_checker
from tools.misfits import Misfit, is_plain, misfits

KEYS = st.sampled_from(["a", "b", "type", "$ref"])
NUMBERS = (
    st.integers(-3, 3)
    | st.sampled_from([1.0, -0.0, 0.5, 1e300, 10**30, -(10**400), 2**53, 2**53 + 1, float(2**53)])
    | st.floats(allow_nan=False, allow_infinity=False)
)
TEXTS = st.text(max_size=3) | st.sampled_from(
    ["a", "ab", "a\n", "A7", "é", "٣", "😀", "e\u0301", "\ud800", "a_b", "12-ab"]
)
LEAVES = st.none() | st.booleans() | NUMBERS | TEXTS
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=6
)
PATTERNS = st.sampled_from(
    r"a ^a$ ^\w+$ \d ^\d{1,2}-[a-z]+$ [^a] [\w.-]+ ^.$ \s (?i)a ^(?:a|b)*$ \W a++ [a-c]{2,} ^[A-Z]\d?$ (a)\1 \p{L} "
    r"a{,2} [[a] ^\S*$ a\Z [a&&b] é".split()
)
TYPES = st.sampled_from(["string", "integer", "number", "boolean", "null", "array", "object"])


def keywords(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    sizes = st.integers(0, 3)
    return st.fixed_dictionaries(
        {},
        optional={
            "type": TYPES | st.lists(TYPES, min_size=1, max_size=3, unique=True),
            "enum": st.lists(VALUES, max_size=4),
            "const": VALUES,
            "properties": st.dictionaries(KEYS, inner, max_size=2),
            "required": st.lists(KEYS, max_size=2, unique=True),
            "additionalProperties": inner,
            "patternProperties": st.dictionaries(st.sampled_from(["^a", "b$"]), inner, max_size=1),
            "items": inner,
            "prefixItems": st.lists(inner, min_size=1, max_size=2),
            "anyOf": st.lists(inner, min_size=1, max_size=2),
            "oneOf": st.lists(inner, min_size=1, max_size=3),
            "allOf": st.lists(inner, min_size=1, max_size=2),
            "not": inner,
            "$ref": st.sampled_from(["#/$defs/x", "#/$defs/y", "#/$defs/z"]),
            "pattern": PATTERNS,
            "format": st.sampled_from(["date", "email", "regex", "made-up"]),
            "minLength": sizes,
            "maxLength": sizes | st.just(1.0),
            "minItems": sizes,
            "maxItems": sizes,
            "minProperties": sizes,
            "uniqueItems": st.booleans(),
            "minimum": NUMBERS,
            "maximum": NUMBERS,
            "exclusiveMinimum": NUMBERS,
            "multipleOf": st.sampled_from([1, 2, 0.1]),
            "default": VALUES,
        },
    ).flatmap(few)


def few(schema: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """At most three of the keywords, so that most values still have a chance."""
    return st.permutations(list(schema)).map(lambda names: {name: schema[name] for name in names[:3]})


SCHEMAS: st.SearchStrategy[Any] = st.recursive(st.booleans() | st.just({}), keywords, max_leaves=5)
CIRCLE = {"items": {"$ref": "#/$defs/z"}}
ROOTS = st.builds(
    lambda root, x, y, z: {**root, "$defs": {"x": x, "y": y, "z": z}},
    keywords(SCHEMAS),
    SCHEMAS,
    SCHEMAS,
    st.sampled_from([True, {"type": "integer"}, CIRCLE]),
)


def verdicts(schema: dict[str, Any], values: list[Any]) -> list[bool]:
    """What jsonschema says of each value; nothing where the schema is none, refers to itself without end,
    or divides an integer that is too large for it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of a pattern that a later Python may read otherwise
        try:
            Draft202012Validator.check_schema(schema)
            return [Draft202012Validator(schema).is_valid(value) for value in values]
        except (SchemaError, RecursionError, OverflowError):
            return []


@settings(deadline=None)
@given(ROOTS, st.lists(VALUES, min_size=1, max_size=10))
def test_the_compiled_schema_accepts_nothing_that_jsonschema_refuses(schema: dict[str, Any], values: list[Any]) -> None:
    compiled = Compiled(schema)
    said = verdicts(schema, values)
    assert said or not any(map(compiled.is_valid, values))
    for value, valid in zip(values, said, strict=False):
        assert valid or not compiled.is_valid(value)
        assert valid == (next(iter(compiled.misfits(value)), None) is None)


PLAIN: st.SearchStrategy[Any] = st.recursive(
    st.booleans() | st.just({}),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "type": TYPES | st.lists(TYPES, min_size=1, max_size=3, unique=True),
            "properties": st.dictionaries(KEYS | st.just("it's"), inner, max_size=3),
            "required": st.lists(KEYS, max_size=3, unique=True),
            "additionalProperties": inner,
            "items": inner,
            "anyOf": st.lists(inner, min_size=1, max_size=3),
            "enum": st.lists(VALUES, max_size=4),
            "minimum": NUMBERS,
            "maxLength": st.integers(0, 3),
            "minItems": st.integers(0, 3),
            "format": st.sampled_from(["date", "email", "made-up"]),
            "title": TEXTS,
        },
    ).flatmap(few),
    max_leaves=8,
)


@settings(deadline=None)
@given(PLAIN.filter(is_plain), st.lists(VALUES | st.sampled_from([[["2024-05-01"]], {"it's": {"a": 1.0}}]), min_size=1))
def test_a_plain_schema_is_read_as_jsonschema_reads_it(schema: Any, values: list[Any]) -> None:
    formats = format_checker()
    validator = Validator(schema, format_checker=formats)
    for value in values:
        theirs = [*map(Misfit.of, validator.iter_errors(value))]
        assert [*misfits(schema, value, Validator({}, format_checker=formats))] == theirs


@pytest.mark.parametrize("schema", [{"$ref": "#"}, {"items": {"not": {}}}, {"items": False}, {"anyOf": [{"$id": "x"}]}])
def test_what_is_not_plain(schema: dict[str, Any]) -> None:
    assert not is_plain(schema)


@settings(deadline=None)
@given(ROOTS, st.lists(VALUES | st.sampled_from(["2024-05-01", "a@b"]), min_size=1, max_size=10))
def test_with_formats_too_both_readings_agree(schema: dict[str, Any], values: list[Any]) -> None:
    compiled, plain = Compiled(schema, formats=True), Compiled(schema)
    for value in values if verdicts(schema, values) else ():
        refused = next(iter(compiled.misfits(value)), None) is not None
        assert not (refused and compiled.is_valid(value))
        if "not" not in json.dumps(schema) and "oneOf" not in json.dumps(schema):
            assert refused or next(iter(plain.misfits(value)), None) is None  # a format only ever refuses more


@settings(deadline=None)
@given(PATTERNS | st.text(alphabet="ab1-_[]^$.*+?{}(),|\\dwsé", max_size=8), st.lists(TEXTS | st.text("ab1-_é\n")))
def test_patterns_are_read_as_python_reads_them(pattern: str, values: list[str]) -> None:
    compiled = Compiled({"pattern": pattern})
    said = verdicts({"pattern": pattern}, values)
    assert said or not any(map(compiled.is_valid, values))
    assert not [value for value, valid in zip(values, said, strict=False) if compiled.is_valid(value) and not valid]


@pytest.mark.parametrize(
    ("schema", "value", "valid"),
    [
        ({"type": "integer"}, 1.0, True),
        ({"type": "integer"}, True, False),
        ({"type": "integer"}, 10**400, True),
        ({"enum": [1]}, True, False),
        ({"const": False}, 0, False),
        ({"format": "date"}, "no date", True),
        ({"pattern": "^a$"}, "a\n", True),
        ({"pattern": r"^\d$"}, "٣", True),
        ({"multipleOf": 0.1}, 0.3, False),
        ({"maxLength": 1}, "\ud800", True),
        ({}, None, True),
    ],
)
def test_where_readers_of_json_schema_differ_jsonschema_has_the_last_word(schema: Any, value: Any, valid: bool) -> None:
    compiled = Compiled(schema)
    assert verdicts(schema, [value]) == [valid]
    assert (compiled.is_valid(value) or not list(compiled.misfits(value))) is valid


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"enum": ["x"]}}},
        {"properties": {"a": {"anyOf": [{"type": "string", "pattern": r"^[A-Z]{2}-\d{4}$"}, {"type": "null"}]}}},
        {"properties": {"a": {"type": "array", "items": {"type": "string", "minLength": 1}}}, "required": []},
    ],
)
def test_common_schemas_are_fast(schema: dict[str, Any]) -> None:
    assert Compiled(schema).is_valid({})


@pytest.mark.parametrize(
    "schema",
    [
        {"$defs": {"n": {"items": {"$ref": "#/$defs/n"}}}, "items": {"$ref": "#/$defs/n"}},
        {"$ref": "https://example.invalid/x"},
        {"$schema": "http://json-schema.org/draft-07/schema#", "dependencies": {"a": ["b"]}},
        {"dependencies": {"a": ["b"]}},
        {"type": "int"},
        {"anyOf": 3},
        {"properties": [1]},
        {"$ref": 7},
    ],
)
def test_what_cant_be_trusted_is_left_to_jsonschema(schema: dict[str, Any]) -> None:
    assert not Compiled(schema).is_valid({})


@pytest.mark.parametrize(("step", "valid"), [(0.5, True), (0.1, False)])
def test_an_integer_too_large_for_a_float_is_checked_all_the_same(step: float, valid: bool) -> None:
    errors = list(Compiled({"multipleOf": step}).misfits(10**400))
    assert (errors == []) == valid


def test_a_changed_tool_keeps_what_was_compiled_unless_its_schema_changed() -> None:
    tool = Tool(name="a", description="", parameters={"type": "object"})
    assert replace(tool, name="b").compiled is tool.compiled
    other = replace(tool, parameters={"required": ["x"]})
    assert other.compiled is not tool.compiled
    assert Toolset([other]).call(ToolCall(id="", name="a", arguments="{}")).is_error


def test_a_tool_can_be_copied_and_sent_to_another_process() -> None:
    tool = Tool(name="a", description="", parameters={"required": ["x"]})
    assert not tool.compiled.is_valid({})
    for twin in (copy.deepcopy(tool), pickle.loads(pickle.dumps(tool))):
        assert twin == tool
        assert twin.compiled.parameters is twin.parameters
        assert not twin.compiled.is_valid({})


def test_a_schema_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = Compiled({"type": "object"})
    assert compiled.is_valid({})
    monkeypatch.setattr(json, "dumps", lambda *_: pytest.fail("a call must not write the schema"))
    assert compiled.is_valid({})
