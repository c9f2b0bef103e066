"""A plain schema accepts what jsonschema accepts, needs no mending, and covers most tools' parameters."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from tools.compiled import Compiled
from tools.drafts import mended
from tools.keywords import Validator, format_checker
from tools.misfits import Misfit
from tools.plain import acceptor

NAMES = st.sampled_from(["a", "b", "c"])
TYPES = st.sampled_from(["string", "integer", "number", "boolean", "null", "array", "object"])
LEAVES = st.none() | st.booleans() | st.integers(-3, 9) | st.floats(-3, 9) | st.sampled_from(["a", "", "2024-05-01"])
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=5
)
REFERENCES = st.sampled_from([{"$ref": f"#/$defs/{name}"} for name in "xyz"])


def objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {},
        optional={
            "type": TYPES | st.lists(TYPES | st.just("any"), max_size=2),
            "properties": st.dictionaries(NAMES, inner, max_size=3),
            "required": st.lists(NAMES, max_size=2) | st.booleans(),
            "additionalProperties": st.booleans() | inner,
            "items": inner,
            "anyOf": st.lists(inner, max_size=2),
            "enum": st.lists(LEAVES, max_size=3),
            "const": LEAVES,
            "minimum": LEAVES,
            "exclusiveMaximum": LEAVES,
            "minLength": LEAVES,
            "maxItems": LEAVES,
            "format": st.sampled_from(["date", "email", "made-up", 7]),
            "title": LEAVES,
            "optional": st.lists(NAMES, max_size=2) | st.booleans(),
            "nullable": st.booleans(),
        },
    )


SCHEMAS: st.SearchStrategy[Any] = st.recursive(st.booleans() | st.just({}) | REFERENCES, objects, max_leaves=6)
ROOTS = st.builds(
    lambda root, x, y, z: {**root, "$defs": {"x": x, "y": y, "z": z}}, objects(SCHEMAS), SCHEMAS, SCHEMAS, SCHEMAS
)


@settings(deadline=None)
@given(ROOTS, st.lists(VALUES, min_size=1, max_size=8), st.booleans())
def test_a_plain_schema_is_one_and_says_what_jsonschema_says(schema: Any, values: list[Any], formats: bool) -> None:
    accepts = acceptor(schema, formats)
    if accepts is None:
        return
    Draft202012Validator.check_schema(schema)
    assert mended(schema) == schema
    validator = Validator(schema, format_checker=format_checker() if formats else None)
    for value in values:
        theirs = [*map(Misfit.of, validator.iter_errors(value))]
        assert not (theirs and accepts(value))
        assert [*Compiled(schema, formats=formats).misfits(value)] == theirs


PERSON = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({**PERSON, "additionalProperties": False}, {"name": "A"}, {"name": "A", "age": 3}),
        ({"items": {"$ref": "#/$defs/P"}, "$defs": {"P": PERSON}}, [{"name": "A"}], [{"name": 1}]),
        ({"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]}, "2024-05-01", "today"),
        ({"type": ["string", "null"], "enum": ["a", "b"]}, "a", None),
        ({"type": "integer", "minimum": 1, "maximum": 3, "default": 2}, 3, 4),
        ({"type": "string", "minLength": 2}, "ab", "a"),
        (True, 7, ...),
    ],
)
def test_what_is_plain(schema: Any, good: Any, bad: Any) -> None:
    accepts = acceptor(schema, formats=True)
    assert accepts is not None
    assert accepts(good)
    assert bad is ... or not accepts(bad)


@pytest.mark.parametrize(
    "schema",
    [
        False,
        {"pattern": "^a"},
        {"type": "dict"},
        {"type": ["string"]},
        {"required": ["a", "a"]},
        {"items": [PERSON]},
        {"exclusiveMinimum": True},
        {"maxItems": -1},
        {"description": 7},
        {"$ref": "#/$defs/a", "$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}},
        {"$ref": "#/properties/a", "properties": {"a": PERSON}},
        {"x-order": 1},
    ],
)
def test_what_is_not_plain(schema: Any) -> None:
    assert acceptor(schema, formats=True) is None


def test_few_references_that_stand_for_many_are_not_plain() -> None:
    names = [f"d{place}" for place in range(40)]
    doubled = {
        name: {"properties": {"l": {"$ref": f"#/$defs/{after}"}, "r": {"$ref": f"#/$defs/{after}"}}}
        for name, after in pairwise(names)
    }
    assert acceptor({"$ref": "#/$defs/d0", "$defs": {**doubled, names[-1]: {}}}, formats=False) is None
