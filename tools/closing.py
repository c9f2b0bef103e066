"""What a function's schema means beyond its letter: which keywords it takes, and which class a union stands for.

- A function refuses a keyword that it doesn't know. So an object that lists its properties and doesn't say
  `additionalProperties` takes no others, nested objects too; the arguments of a function without properties are none.
- `anyOf` of a class and a bare object is the class: the function makes the class of the object (`Passenger(**value)`).

An object that says `additionalProperties` (true, false or a schema), `patternProperties` or `unevaluatedProperties`
means what it says. One that is put together from several parts (`allOf`, `if`, a union beside its own properties) is
closed only where all names are in one place. Left out: the drafts' own words (`tools.drafts`).
"""

from typing import Any

from tools.drafts import ALONE, IN_LISTS, IN_MAPS, Schema, parts_of, resolved

_OPEN = frozenset({"additionalProperties", "patternProperties", "unevaluatedProperties"})
_ALTERNATIVES = ("anyOf", "oneOf")
_PARTS = ("allOf", "if", "then", "else", "dependentSchemas", "not")
_COMPOSING = frozenset({*_ALTERNATIVES, *_PARTS})
_HOLDING = frozenset({*IN_MAPS, *IN_LISTS, *ALONE})


def closed(parameters: Schema) -> Schema:
    """A copy of a function's schema that says what a call may hold, by the rules above."""
    shared: set[int] = set()
    _mark_parts(parameters, parameters, shared)
    copy: Schema = _closed(parameters, parameters, shared, top=True)
    return copy


def _closed(schema: Any, root: Schema, parts: set[int], *, top: bool = False) -> Any:
    if not isinstance(schema, dict) or _HOLDING.isdisjoint(schema):
        return schema
    changed: Schema = {}
    for keyword, value in schema.items():
        if keyword in _ALTERNATIVES and isinstance(value, list):
            changed[keyword] = [_closed(part, root, parts) for part in _classes(value, root)]
        elif keyword in IN_LISTS and isinstance(value, list):
            changed[keyword] = [_closed(part, root, parts) for part in value]
        elif keyword in IN_MAPS and isinstance(value, dict):
            changed[keyword] = {name: _closed(part, root, parts) for name, part in value.items()}
        else:
            changed[keyword] = _closed(value, root, parts) if keyword in ALONE else value
    if id(schema) not in parts and _lists_its_names(schema, root, top):
        changed["additionalProperties"] = False
    return changed


def _lists_its_names(schema: Schema, root: Schema, top: bool) -> bool:
    properties = schema.get("properties")
    if not isinstance(properties, dict) or not (properties or top) or not _OPEN.isdisjoint(schema):
        return False
    return "$ref" not in schema and all(_names(part) <= properties.keys() for part in _own_parts(schema, root))


def _own_parts(schema: Schema, root: Schema) -> list[Any]:
    """The schemas that speak of the same object beside a schema's own properties."""
    found: list[Any] = []
    if _COMPOSING.isdisjoint(schema):
        return found
    for keyword in (*_ALTERNATIVES, "allOf"):
        found += schema.get(keyword) or []
    found += [schema[keyword] for keyword in ("if", "then", "else", "not") if keyword in schema]
    found += (schema.get("dependentSchemas") or {}).values()
    return [resolved(part["$ref"], root) if isinstance(part, dict) and "$ref" in part else part for part in found]


def _names(schema: Any) -> set[str]:
    return set(schema.get("properties") or ()) if isinstance(schema, dict) else set()


def _mark_parts(schema: Any, root: Schema, parts: set[int]) -> None:
    """Gather the ids of the schemas that are only a part of an object: they may not refuse what the others know."""
    if not isinstance(schema, dict) or _HOLDING.isdisjoint(schema):
        return
    composed = bool(schema.get("properties")) or any(keyword in schema for keyword in _PARTS[1:])
    if composed or len(schema.get("allOf") or ()) > 1:
        parts.update(id(part) for part in _own_parts(schema, root))
    for part in parts_of(schema):
        _mark_parts(part, root, parts)


def _classes(branches: Any, root: Schema) -> Any:
    """The branches of a union, without bare objects where there is one with properties."""
    if not isinstance(branches, list) or not any(_is_class(part, root) for part in branches):
        return branches
    return [part for part in branches if not _is_bare_object(part)]


def _is_class(schema: Any, root: Schema) -> bool:
    if isinstance(schema, dict) and isinstance(schema.get("$ref"), str):
        schema = resolved(schema["$ref"], root)
    return isinstance(schema, dict) and bool(schema.get("properties"))


_SAYS_NOTHING = frozenset({"type", "title", "description", "additionalProperties", "properties", "default", "examples"})


def _is_bare_object(schema: Any) -> bool:
    if not isinstance(schema, dict) or schema.get("type") != "object" or schema.get("properties"):
        return False
    return schema.keys() <= _SAYS_NOTHING and schema.get("additionalProperties", True) in (True, {})
