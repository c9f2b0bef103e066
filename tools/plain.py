"""A plain schema as a function of Python that tells in no time whether a value fits.

Most tools' parameters are objects of texts, numbers, choices and lists. `acceptor` makes a few closures of such a
schema: that takes a fraction of what it takes to compile one, and so does each call, since Python's values need not be
handed to another language. What is accepted is valid. What isn't may be valid all the same (`1.0` for an integer), and
whoever asks has to ask again. Left out: every keyword that is not listed here (`tools.compiled`), and what is wrong
with a value (`tools.misfits`).
"""

from collections.abc import Callable, Mapping
from typing import Any

from tools.keywords import FORMATS
from tools.misfits import KINDS, local

Test = Callable[[Any], bool]
Types = frozenset[type]


class NotPlain(Exception):
    """A schema that says more than is read here, or isn't one."""


def acceptor(schema: Any, formats: bool) -> Test | None:
    """The function for a schema; None for one that is not plain. So a schema that has one is JSON Schema, and of
    Draft 2020-12. With `formats` those of `tools.keywords.FORMATS` are asserted."""
    try:
        return _Reader(schema, formats).test(schema)
    except (NotPlain, RecursionError):
        return None


class _Reader:
    """Reads a schema and its parts."""

    MAX_REFERENCES = 100
    """More `$ref`s, each written out in its place, are not plain, nor those that lead in a circle."""

    def __init__(self, root: Any, formats: bool) -> None:
        self.root = root
        self.formats = formats
        self.references = 0

    def test(self, schema: Any) -> Test:
        return _whole(*self.read(schema))

    def read(self, schema: Any) -> tuple[Types | None, list[Test]]:
        """The types that a schema asks for, None for any, and what else it asks for."""
        if schema is True:
            return None, []
        if type(schema) is not dict:
            raise NotPlain
        types: Types | None = None
        tests: list[Test] = []
        for keyword, wanted in schema.items():
            if keyword in _REMARKS:
                if not isinstance(wanted, _REMARKS[keyword]):
                    raise NotPlain
            elif keyword == "type":
                types = _types(wanted)
            elif keyword in _LIMITS:
                tests.append(_limit(keyword, wanted))
            elif keyword == "items":
                tests.append(_items(self.test(wanted)))
            elif keyword == "anyOf":
                tests.append(_any_of([self.test(part) for part in _listed(wanted)]))
            elif keyword == "format":
                tests += _format(wanted, self.formats)
            elif keyword == "$ref":
                tests.append(self._reference(wanted))
            elif keyword in _DEFINITIONS:
                _ = [self.test(part) for part in _named(wanted).values()]
            elif keyword not in _OBJECTS:
                raise NotPlain
        if not _OBJECTS.isdisjoint(schema):
            tests.append(self._object(schema))
        return types, tests

    def _reference(self, reference: Any) -> Test:
        self.references += 1
        try:
            part = local(reference, self.root)
        except ValueError as error:
            raise NotPlain from error
        if self.references > self.MAX_REFERENCES:
            raise NotPlain
        return self.test(part)

    def _object(self, schema: Mapping[str, Any]) -> Test:
        needed = _names(schema.get("required", []))
        types: dict[str, Types] = {}  # of the properties that ask for nothing else
        tests: dict[str, Test] = {}
        for name, part in _named(schema.get("properties", {})).items():
            kinds, more = self.read(part)
            if kinds is not None and not more:
                types[name] = kinds
            else:
                tests[name] = _whole(kinds, more)
        additional = schema.get("additionalProperties", True)
        others = _nothing if additional is False else self.test(additional)

        def accepts(value: Any) -> bool:
            if type(value) is not dict or not needed <= value.keys():
                return False
            for name, part in value.items():
                kinds = types.get(name)
                if kinds is None:
                    if not tests.get(name, others)(part):
                        return False
                elif type(part) not in kinds:
                    return False
            return True

        return accepts


_REMARKS: Mapping[str, type | tuple[type, ...]] = {
    "title": str,
    "description": str,
    "$comment": str,
    "default": object,
    "examples": list,
    "example": object,
    "example_value": object,
    "optional": list,
    "deprecated": bool,
    "readOnly": bool,
    "writeOnly": bool,
}
"""What says nothing of a value, and the type that it has to have itself; also words of no draft that logs are full
of."""
_DEFINITIONS = frozenset({"$defs", "definitions"})
_OBJECTS = frozenset({"properties", "required", "additionalProperties"})


def _whole(types: Types | None, tests: list[Test]) -> Test:
    if types is None:
        return tests[0] if len(tests) == 1 else lambda value: all(test(value) for test in tests)
    if not tests:
        return lambda value: type(value) in types
    if len(tests) == 1:
        (only,) = tests
        return lambda value: type(value) in types and only(value)
    return lambda value: type(value) in types and all(test(value) for test in tests)


def _types(wanted: Any) -> Types:
    if type(wanted) is str and wanted in KINDS:
        return KINDS[wanted]
    names = [name for name in _listed(wanted) if type(name) is str and name in KINDS]
    if not 1 < len(names) == len(wanted) == len(set(names)):
        raise NotPlain
    return frozenset().union(*map(KINDS.__getitem__, names))


def _listed(wanted: Any) -> list[Any]:
    if type(wanted) is not list or not wanted:
        raise NotPlain
    return wanted


def _named(wanted: Any) -> dict[str, Any]:
    if type(wanted) is not dict:
        raise NotPlain
    return wanted


def _names(wanted: Any) -> frozenset[str]:
    if type(wanted) is not list or not all(type(name) is str for name in wanted) or len(set(wanted)) < len(wanted):
        raise NotPlain
    return frozenset(wanted)


def _nothing(_: Any) -> bool:
    return False


def _items(test: Test) -> Test:
    return lambda value: type(value) is list and all(map(test, value))


def _any_of(tests: list[Test]) -> Test:
    return lambda value: any(test(value) for test in tests)


def _format(wanted: Any, formats: bool) -> list[Test]:
    if type(wanted) is not str:
        raise NotPlain
    if not formats or wanted not in FORMATS:
        return []
    fits = FORMATS[wanted]
    return [lambda value: type(value) is str and fits(value)]


def _limit(keyword: str, wanted: Any) -> Test:
    kinds, limit = _LIMITS[keyword]
    if type(wanted) not in kinds or (keyword in _SIZES and wanted < 0):
        raise NotPlain
    return limit(wanted)


def _enum(wanted: list[Any]) -> Test:
    texts = frozenset(choice for choice in wanted if type(choice) is str)
    return lambda value: type(value) is str and value in texts


_NUMBERS = frozenset({int, float})
_LIMITS: Mapping[str, tuple[Types, Callable[[Any], Test]]] = {
    "enum": (KINDS["array"], _enum),
    "const": (KINDS["string"], lambda wanted: lambda value: type(value) is str and value == wanted),
    "minimum": (_NUMBERS, lambda least: lambda value: type(value) in _NUMBERS and value >= least),
    "maximum": (_NUMBERS, lambda most: lambda value: type(value) in _NUMBERS and value <= most),
    "exclusiveMinimum": (_NUMBERS, lambda limit: lambda value: type(value) in _NUMBERS and value > limit),
    "exclusiveMaximum": (_NUMBERS, lambda limit: lambda value: type(value) in _NUMBERS and value < limit),
    "minLength": (KINDS["integer"], lambda least: lambda value: type(value) is str and len(value) >= least),
    "maxLength": (KINDS["integer"], lambda most: lambda value: type(value) is str and len(value) <= most),
    "minItems": (KINDS["integer"], lambda least: lambda value: type(value) is list and len(value) >= least),
    "maxItems": (KINDS["integer"], lambda most: lambda value: type(value) is list and len(value) <= most),
}
"""What limits a value: the types that the limit itself may have, and the test that it makes."""
_SIZES = frozenset({"minLength", "maxLength", "minItems", "maxItems"})
