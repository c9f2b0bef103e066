"""What in a value doesn't fit its schema: jsonschema's words, read off directly where the schema is a plain one.

jsonschema makes a validator for each part of a schema that it descends into, and an object of twenty fields for each
error. For the few keywords that most tools' parameters consist of, `misfits` says the same in the same order, in a
tenth of the time. Limits of single values (`enum`, `minimum`, `pattern`, ...) are asked of jsonschema's own rules.
Left out: which of our codes a misfit gets (`tools.check`).
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from types import NoneType
from typing import Any, NamedTuple

from jsonschema.exceptions import ValidationError

from tools.keywords import MAX_VIOLATIONS, REMARKS, Validator, extra_names


class Misfit(NamedTuple):
    """One keyword of a schema that a value doesn't fit. The keyword of the schema `false` is None.

    `name` is the property that is missing, and `branches` are the misfits of each part of a union, where there are any.
    """

    keyword: str | None
    wanted: Any
    value: Any
    path: str
    schema: Any
    name: str = ""
    branches: Sequence[Sequence["Misfit"]] = ()

    @classmethod
    def of(cls, error: ValidationError) -> "Misfit":
        """The same of an error of jsonschema's."""
        keyword: Any = error.validator
        name = _name(error) if keyword in ("required", "dependentRequired") else ""
        branches: dict[Any, list[Misfit]] = {}
        for part in error.context or ():
            branch = part.relative_schema_path[0] if part.relative_schema_path else -len(branches)  # of `false`
            branches.setdefault(branch, []).append(cls.of(part))
        return cls(
            keyword, error.validator_value, error.instance, error.json_path, error.schema, name, (*branches.values(),)
        )


def _name(error: ValidationError) -> str:
    """jsonschema reports each missing name apart, quoted at the start of its message."""
    wanted: Any = error.validator_value
    names = wanted if error.validator == "required" else [name for others in wanted.values() for name in others]
    return next(str(name) for name in names if error.message.startswith(f"{name!r} "))


def is_plain(schema: Any) -> bool:
    """Whether `misfits` surely reads all of a schema, if it is one. A `$ref` may lead in a circle."""
    if not isinstance(schema, dict):
        return schema is True  # at a `false`, jsonschema says another place
    for keyword, wanted in schema.items():
        if keyword in _UNREAD:
            return False
        parts: Sequence[Any] = ()
        if keyword == "properties":
            parts = [*wanted.values()]
        elif keyword == "anyOf":
            parts = wanted
        elif keyword == "items" or (keyword == "additionalProperties" and wanted is not False):
            parts = [wanted]
        if not all(map(is_plain, parts)):
            return False
    return True


Steps = tuple[Any, ...]
"""Where a value stands: (where the value around it stands, its name or index), or () for all."""


def misfits(schema: Any, value: Any, leaf: Any, place: Steps = ()) -> Iterator[Misfit]:
    """What in a value doesn't fit a plain schema. `leaf` is a validator that knows types and formats; where there are
    `$ref`s, its own schema is the root."""
    for keyword, wanted in schema.items() if schema is not True else ():
        if keyword in _STRUCTURE:
            yield from _STRUCTURE[keyword](wanted, value, leaf, place, schema)
        elif keyword in _LEAVES:
            for _ in _LEAVES[keyword](leaf, wanted, value, schema):
                yield Misfit(keyword, wanted, value, path_of(place), schema)


def path_of(place: Steps) -> str:
    """A place as jsonschema writes it: `$.items[0].sku`."""
    return json_path(path_of(place[0]), place[1]) if place else "$"


def json_path(parent: str, key: str | int) -> str:
    """One step further on a JSON path, written as jsonschema writes it."""
    if isinstance(key, int):
        return f"{parent}[{key}]"
    if _PLAIN_NAME.match(key):
        return f"{parent}.{key}"
    escaped = key.replace("\\", "\\\\").replace("'", r"\'")
    return f"{parent}['{escaped}']"


_PLAIN_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_]*$")


def local(reference: Any, root: Mapping[str, Any]) -> Any:
    """The part of a schema that `#/$defs/NAME` names; ValueError for what is not of that form or not there."""
    match = _LOCAL.fullmatch(reference) if isinstance(reference, str) else None
    if match is None or match[2] not in root.get(match[1], {}):
        raise ValueError(f"{reference!r} is not among the schema's $defs")
    return root[match[1]][match[2]]


_LOCAL = re.compile(r"#/(\$defs|definitions)/([\w.-]+)")


def _reference(wanted: Any, value: Any, leaf: Any, place: Steps, _: Any) -> Iterator[Misfit]:
    yield from misfits(local(wanted, leaf.schema), value, leaf, place)


def _type(wanted: Any, value: Any, leaf: Any, place: Steps, schema: Any) -> Iterator[Misfit]:
    for name in (wanted,) if isinstance(wanted, str) else wanted:
        if type(value) in KINDS[name] or leaf.is_type(value, name):
            return
    yield Misfit("type", wanted, value, path_of(place), schema)


KINDS: Mapping[str, frozenset[type]] = {
    "object": frozenset({dict}),
    "array": frozenset({list}),
    "string": frozenset({str}),
    "integer": frozenset({int}),
    "number": frozenset({int, float}),
    "boolean": frozenset({bool}),
    "null": frozenset({NoneType}),
}
"""Python's types that are surely of JSON's; of the rest (1.0 is an integer) jsonschema says."""


def _properties(wanted: Any, value: Any, leaf: Any, place: Steps, _: Any) -> Iterator[Misfit]:
    if isinstance(value, dict):
        for name, part in wanted.items():
            if name in value and not _is_of_plain_type(part, value[name]):
                yield from misfits(part, value[name], leaf, (place, name))


def _is_of_plain_type(part: Any, value: Any) -> bool:
    """Whether a value is of the type that a schema asks for, and the schema asks for nothing else."""
    if not isinstance(part, dict) or not part.keys() <= REMARKS:
        return False
    wanted = part.get("type")
    return isinstance(wanted, str) and type(value) in KINDS[wanted]


def _required(wanted: Any, value: Any, _: Any, place: Steps, schema: Any) -> Iterator[Misfit]:
    if isinstance(value, dict):
        for name in wanted:
            if name not in value:
                yield Misfit("required", wanted, value, path_of(place), schema, name)


def _additional_properties(wanted: Any, value: Any, leaf: Any, place: Steps, schema: Any) -> Iterator[Misfit]:
    extra = extra_names(value, schema) if isinstance(value, dict) and wanted is not True else ()
    if isinstance(wanted, dict):
        for name in extra:
            yield from misfits(wanted, value[name], leaf, (place, name))
    elif extra:
        yield Misfit("additionalProperties", wanted, value, path_of(place), schema)


def _items(wanted: Any, value: Any, leaf: Any, place: Steps, _: Any) -> Iterator[Misfit]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from misfits(wanted, item, leaf, (place, index))


def _any_of(wanted: Any, value: Any, leaf: Any, place: Steps, schema: Any) -> Iterator[Misfit]:
    branches: list[list[Misfit]] = []
    for part in wanted:
        branches.append([*islice(misfits(part, value, leaf, place), MAX_VIOLATIONS)])
        if not branches[-1]:
            return
    yield Misfit("anyOf", wanted, value, path_of(place), schema, "", tuple(branches))


_STRUCTURE: Mapping[str, Callable[..., Iterator[Misfit]]] = {
    "$ref": _reference,
    "type": _type,
    "properties": _properties,
    "required": _required,
    "additionalProperties": _additional_properties,
    "items": _items,
    "anyOf": _any_of,
}
_LEAVES: Mapping[str, Callable[..., Iterator[ValidationError]]] = {
    keyword: Validator.VALIDATORS[keyword]
    for keyword in (
        "enum const minimum maximum exclusiveMinimum exclusiveMaximum minLength maxLength minItems maxItems "
        "minProperties maxProperties multipleOf pattern uniqueItems format"
    ).split()
}
_UNREAD = (Validator.VALIDATORS.keys() - _STRUCTURE.keys() - _LEAVES.keys()) | {"$schema", "$id", "$ref"}
