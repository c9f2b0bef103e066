"""jsonschema's rules where a stranger's schema or arguments could make them crash, hang or gather without end.

Each says what jsonschema says. Left out: which schemas need no rule in Python at all (`tools.compiled`).
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from contextvars import ContextVar
from datetime import date, datetime, time
from fractions import Fraction
from ipaddress import IPv4Address, IPv6Address
from itertools import islice
from typing import Any
from uuid import UUID

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

from tools.patterns import found

MAX_REFERENCES = 20_000
"""So many `$ref`s are followed for one value: a list of thousands of objects needs no more."""
MAX_VIOLATIONS = 20
"""So many are named at most: an array of a million wrong items is refused quickly, and in a short text."""


def _bounded(keyword: str) -> Any:
    """jsonschema's rule for a union, which gathers the errors of all branches, told to stop at a few of each."""
    rule = Draft202012Validator.VALIDATORS[keyword]

    def check(validator: Any, branches: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        yield from rule(_FewErrors(validator), branches, instance, schema)

    return check


def _multiple_of(validator: Any, step: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    """jsonschema's rule, which divides in floats first, and crashes where an integer has no place in one."""
    try:
        yield from Draft202012Validator.VALIDATORS["multipleOf"](validator, step, instance, schema)
    except OverflowError:
        if Fraction(instance) % Fraction(step):
            yield ValidationError(f"{instance!r} is not a multiple of {step}")


def _pattern(validator: Any, pattern: Any, instance: Any, _: Any) -> Iterator[ValidationError]:
    if validator.is_type(instance, "string") and not found(pattern, instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _pattern_properties(validator: Any, patterns: Any, instance: Any, _: Any) -> Iterator[ValidationError]:
    if validator.is_type(instance, "object"):
        for pattern, part in patterns.items():
            for name, value in instance.items():
                if found(pattern, name):
                    yield from validator.descend(value, part, path=name, schema_path=pattern)


def _properties(validator: Any, properties: Any, instance: Any, _: Any) -> Iterator[ValidationError]:
    """jsonschema's rule, which makes a validator for each part: one that asks for a type only needs none."""
    if not validator.is_type(instance, "object"):
        return
    for name, part in properties.items():
        if name in instance and not _is_of_plain_type(validator, part, instance[name]):
            yield from validator.descend(instance[name], part, path=name, schema_path=name)


REMARKS = frozenset({"type", "title", "description", "default", "examples"})


def _is_of_plain_type(validator: Any, part: Any, value: Any) -> bool:
    """Whether a value is of the type that a schema asks for, and the schema asks for nothing else."""
    if not (isinstance(part, dict) and part.keys() <= REMARKS and isinstance(part.get("type"), str)):
        return False
    return bool(validator.is_type(value, part["type"]))


def _additional_properties(validator: Any, part: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if not validator.is_type(instance, "object"):
        return
    extra = extra_names(instance, schema)
    if validator.is_type(part, "object"):
        for name in extra:
            yield from validator.descend(instance[name], part, path=name)
    elif not part and extra:
        yield ValidationError(f"no other properties are allowed, came {len(extra)}")


def extra_names(instance: Mapping[str, Any], schema: Mapping[str, Any]) -> list[str]:
    """The names in an object that neither `properties` nor `patternProperties` of its schema know."""
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    return [name for name in instance if name not in known and not any(found(pattern, name) for pattern in patterns)]


def _unique_items(validator: Any, unique: Any, instance: Any, _: Any) -> Iterator[ValidationError]:
    """jsonschema's rule compares each item with each other one; this one is linear."""
    if unique and validator.is_type(instance, "array") and len({*map(_frozen, instance)}) < len(instance):
        yield ValidationError("the array has non-unique elements")


def _frozen(value: Any) -> Any:
    """Equal and hashable where JSON values are equal: 1 and 1.0 are, 1 and true are not."""
    if isinstance(value, list):
        return tuple(map(_frozen, value))
    if isinstance(value, dict):
        return frozenset((name, _frozen(part)) for name, part in value.items())
    return (bool, value) if isinstance(value, bool) else value


def _enum(validator: Any, allowed: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    """A text is compared with a long list at once; JSON's other values are equal in ways of their own."""
    if not isinstance(instance, str):
        yield from Draft202012Validator.VALIDATORS["enum"](validator, allowed, instance, schema)
    elif instance not in allowed:
        yield ValidationError(f"{instance!r} is not one of {len(allowed)} allowed values")


class _FewErrors:
    """A validator whose `descend` gives a few errors only."""

    def __init__(self, validator: Any) -> None:
        self.evolve = validator.evolve
        self._descend = validator.descend

    def descend(self, *arguments: Any, **names: Any) -> Iterator[ValidationError]:
        return islice(self._descend(*arguments, **names), MAX_VIOLATIONS)


class TooMuchWork(Exception):
    """A schema whose few `$ref`s stand for more than anybody can follow: nothing can be told with it."""


_followed = ContextVar("_followed", default=0)


def _reference(validator: Any, reference: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    _followed.set(_followed.get() + 1)
    if _followed.get() > MAX_REFERENCES:
        raise TooMuchWork
    yield from Draft202012Validator.VALIDATORS["$ref"](validator, reference, instance, schema)


def bounded_errors(validator: Any, value: Any) -> Iterator[ValidationError]:
    """A validator's errors, as many as are found within so many `$ref`s."""
    _followed.set(0)
    with suppress(TooMuchWork):
        yield from validator.iter_errors(value)


_RULES = {
    "$ref": _reference,
    "additionalProperties": _additional_properties,
    "anyOf": _bounded("anyOf"),
    "enum": _enum,
    "multipleOf": _multiple_of,
    "oneOf": _bounded("oneOf"),
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "properties": _properties,
    "uniqueItems": _unique_items,
}
Validator: Any = extend(Draft202012Validator, _RULES)  # type: ignore[no-untyped-call]


def _reads(reader: Callable[[str], object], also: str = "") -> Callable[[str], bool]:
    def fits(text: str) -> bool:
        try:
            reader(text)
        except ValueError:
            return False
        return re.search(also, text) is not None

    return fits


FORMATS: dict[str, Callable[[str], bool]] = {
    "date": _reads(date.fromisoformat, r"^\d{4}-\d\d-\d\d$"),
    "date-time": _reads(datetime.fromisoformat, r"^\d{4}-\d\d-\d\d."),
    "time": _reads(time.fromisoformat, r":"),
    "email": _reads(str, r"[^@\s]@[^@\s]"),
    "ipv4": _reads(IPv4Address),
    "ipv6": _reads(IPv6Address),
    "uri": _reads(str, r"^[A-Za-z][A-Za-z0-9+.-]*:"),
    "uuid": _reads(UUID),
}
"""The formats that a linter asserts, read generously: what they refuse, no reader of the format takes."""


def format_checker() -> FormatChecker:
    """jsonschema's checker of those formats and no others."""
    checker = FormatChecker(formats=())
    checker.checkers = {name: (_of_texts(fits), ()) for name, fits in FORMATS.items()}
    return checker


def _of_texts(fits: Callable[[str], bool]) -> Callable[[object], bool]:
    return lambda value: not isinstance(value, str) or fits(value)
