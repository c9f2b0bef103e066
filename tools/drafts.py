"""JSON Schemas as the wild has them, said in the words of Draft 2020-12.

| as it comes | what it becomes |
|---|---|
| `"type": "dict"`, `"float"`, `"list[str]"`, other languages' words | JSON's word; no limit where none is known |
| `nullable: true` (OpenAPI) | `null` among its types and its enum |
| `exclusiveMinimum: true` beside `minimum` (draft 4) | the number itself |
| `required: true` in a property (draft 3) | its name in the object's list |
| `items` in a list, `additionalItems`, `dependencies` (up to draft 7) | `prefixItems`, `items`, `dependentRequired` |
| `$schema`, `id`, `$id` where no `$ref` goes by them | gone |

`modern` translates; `mended` also drops what no reader of JSON Schema could make sense of, so that one odd keyword
costs one check and not the whole tool. Left out: which objects are closed (`tools.closing`).
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from copy import deepcopy
from typing import Any

import jsonschema_rs
from jsonschema import Draft202012Validator

Schema = dict[str, Any]

JSON_TYPES = frozenset({"object", "array", "string", "integer", "number", "boolean", "null"})
ANYTHING = "anything"
OTHER_TYPES: Mapping[str, str] = {
    **dict.fromkeys("dict hashmap hashtable object map mapping struct record".split(), "object"),
    **dict.fromkeys("list tuple set arraylist array queue stack sequence frozenset vector".split(), "array"),
    **dict.fromkeys("str string char character text".split(), "string"),
    **dict.fromkeys("int long short byte bigint integer int32 int64".split(), "integer"),
    **dict.fromkeys("float double number decimal numeric float32 float64".split(), "number"),
    **dict.fromkeys("bool boolean".split(), "boolean"),
    **dict.fromkeys("none nonetype null nil".split(), "null"),
    **dict.fromkeys("any mixed union optional".split(), ANYTHING),
}
"""JSON Schema's word for a type of another language, by its small letters."""

IN_MAPS = ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas")
IN_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems", "items")
ALONE = ("items", "additionalProperties", "contains", "not", "if", "then", "else", "propertyNames", "additionalItems")
"""The keywords that hold other schemas: under names, in lists, or one."""
MAX_MENDS = 100


def mapped(schema: Any, change: Callable[[Schema], Schema]) -> Any:
    """A copy of a schema in which each part that is a schema itself went through `change`, inner ones first."""
    if not isinstance(schema, Mapping):
        return schema
    copy: Schema = {}
    for keyword, value in schema.items():
        if keyword in IN_MAPS:
            named = isinstance(value, Mapping)
            copy[keyword] = {name: mapped(part, change) for name, part in value.items()} if named else value
        elif keyword in IN_LISTS and isinstance(value, list):
            copy[keyword] = [mapped(part, change) for part in value]
        elif keyword in ALONE:
            copy[keyword] = mapped(value, change)
        else:
            copy[keyword] = value if isinstance(value, (str, int, float)) else deepcopy(value)
    return change(copy)


def parts_of(schema: Mapping[str, Any]) -> Iterator[Any]:
    """The schemas that are directly in a schema."""
    for keyword, value in schema.items():
        if keyword in IN_MAPS and isinstance(value, Mapping):
            yield from value.values()
        elif keyword in IN_LISTS and isinstance(value, list):
            yield from value
        elif keyword in ALONE:
            yield value


def modern(schema: Any) -> Any:
    """A copy of a schema of any draft, and of other programs' habits, in the words of Draft 2020-12."""
    return mapped(schema, _modern)


def mended(schema: Any) -> Schema:
    """A schema that can be checked with, whatever came: parts that are none are dropped, and so is a `$ref` that leads
    to nothing or only back to itself."""
    if not isinstance(schema, Mapping):
        return {}
    try:
        copy: Schema = modern(schema)
        text = json.dumps(copy, default=dict)  # tells which of the walks are needed: most schemas need none
        if any(f'"{name}": ' in text for name in _IDENTIFIERS):
            copy = _without_identifiers(copy, text)
        if '"pattern' in text:
            copy = mapped(copy, _without_broken_patterns)
        _drop_what_is_no_schema(copy)
        if "$ref" in text or "$dynamicRef" in text:
            return mapped(copy, lambda part: _without_dead_end(part, copy))  # type: ignore[no-any-return]
        return copy
    except RecursionError:  # it nests deeper than anybody could check
        return {}


def _modern(schema: Schema) -> Schema:
    for keyword in _OLD & schema.keys():
        _OLD_KEYWORDS[keyword](schema)
    return schema


def _types(schema: Schema) -> None:
    wanted = schema["type"]
    if isinstance(wanted, str) and wanted in JSON_TYPES:
        return
    words = wanted if isinstance(wanted, list) else [wanted]
    types = [_json_type(word) if isinstance(word, str) else word for word in words]
    if ANYTHING in types:
        del schema["type"]
    elif types:
        schema["type"] = (
            types[0] if len(types) == 1 else [word for place, word in enumerate(types) if word not in types[:place]]
        )


def _json_type(word: str) -> str:
    """`List[str]` and `array<string>` are lists; a word that nobody knows stays, to be refused or dropped."""
    if word in JSON_TYPES:
        return word
    return OTHER_TYPES.get(re.split(r"[\[<(]", word, maxsplit=1)[0].strip().casefold(), word)


def _nullable(schema: Schema) -> None:
    if schema.pop("nullable") is not True:
        return
    wanted = schema.get("type")
    if wanted is not None:
        types = wanted if isinstance(wanted, list) else [wanted]
        schema["type"] = types if "null" in types else [*types, "null"]
    if isinstance(schema.get("enum"), list) and None not in schema["enum"]:
        schema["enum"] = [*schema["enum"], None]


def _exclusive(keyword: str, limit: str) -> Callable[[Schema], None]:
    def change(schema: Schema) -> None:
        if isinstance(schema[keyword], bool) and schema.pop(keyword) and limit in schema:
            schema[keyword] = schema.pop(limit)

    return change


def _properties(schema: Schema) -> None:
    """Draft 3 says of each property whether it is required."""
    properties, listed = schema["properties"], schema.get("required", [])
    if not isinstance(properties, dict):
        return
    parts = {name: part for name, part in properties.items() if isinstance(part, dict)}
    marked = [name for name, part in parts.items() if isinstance(part.get("required"), bool)]
    required = [name for name in marked if parts[name].pop("required") and name not in listed]
    if required:
        schema["required"] = [*listed, *required]


def _items(schema: Schema) -> None:
    if isinstance(schema["items"], list):
        schema["prefixItems"] = schema.pop("items")
        if "additionalItems" in schema:
            schema["items"] = schema.pop("additionalItems")


def _dependencies(schema: Schema) -> None:
    dependencies = schema.pop("dependencies")
    if isinstance(dependencies, dict):
        lists = {name: part for name, part in dependencies.items() if isinstance(part, list)}
        schemas = {name: part for name, part in dependencies.items() if isinstance(part, (dict, bool))}
        schema.update({"dependentRequired": lists} if lists else {})
        schema.update({"dependentSchemas": schemas} if schemas else {})


def _without_broken_patterns(schema: Schema) -> Schema:
    """The schema of schemas doesn't look into them."""
    if "pattern" in schema and not _is_pattern(schema["pattern"]):
        del schema["pattern"]
    named = schema.get("patternProperties")
    if isinstance(named, dict):
        schema["patternProperties"] = {name: part for name, part in named.items() if _is_pattern(name)}
    return schema


def _is_pattern(text: Any) -> bool:
    try:
        re.compile(text)
    except (re.error, TypeError, OverflowError, RecursionError):
        return False
    return True


_OLD_KEYWORDS: Mapping[str, Callable[[Schema], None]] = {
    "type": _types,
    "nullable": _nullable,
    "exclusiveMinimum": _exclusive("exclusiveMinimum", "minimum"),
    "exclusiveMaximum": _exclusive("exclusiveMaximum", "maximum"),
    "properties": _properties,
    "items": _items,
    "dependencies": _dependencies,
}
_OLD = _OLD_KEYWORDS.keys()


_IDENTIFIERS = ("$schema", "$id", "id")


def _without_identifiers(schema: Schema, text: str) -> Schema:
    """Of no use where every `$ref` begins at the root, and other drafts' names would only send readers astray."""
    if re.search(r'"\$(?:ref|dynamicRef)": "[^#]', text):
        return schema

    def change(part: Schema) -> Schema:
        return {name: value for name, value in part.items() if name not in _IDENTIFIERS}

    changed: Schema = mapped(schema, change)
    return changed


def _drop_what_is_no_schema(schema: Schema) -> None:
    """Take out, one by one, the keywords that the schema of schemas refuses."""
    with suppress(jsonschema_rs.ReferencingError):  # of a draft that it doesn't know: then jsonschema says
        if jsonschema_rs.meta.is_valid(schema):
            return
    for _ in range(MAX_MENDS):
        error = next(_META.iter_errors(schema), None)
        if error is None:
            return
        path = list(error.absolute_path)
        while path and isinstance(path[-1], int):  # one bad entry of a list: the whole list says nothing sure
            path.pop()
        if not path:
            break
        holder: Any = schema
        for step in path[:-1]:
            holder = holder[step]
        del holder[path[-1]]
    schema.clear()


_META = Draft202012Validator(Draft202012Validator.META_SCHEMA)


def _without_dead_end(part: Schema, root: Schema) -> Schema:
    """Drops `$dynamicRef` too: who would meet one here means a schema that is extended elsewhere."""
    reference = part.get("$ref")
    if isinstance(reference, str) and _leads_nowhere(reference, root):
        del part["$ref"]
    part.pop("$dynamicRef", None)
    return part


def _leads_nowhere(reference: str, root: Schema) -> bool:
    """Whether a `$ref` is to nothing that is there, or comes back to itself before it has looked into the value."""
    if not reference.startswith("#"):
        return True  # in another document, which is never fetched
    if not reference.startswith("#/") and reference != "#":
        return f'"$anchor": "{reference[1:]}"' not in json.dumps(root)
    seen: set[str] = set()
    pending = [reference]
    while pending:
        target = pending.pop()
        part = resolved(target, root)
        if part is None:
            return target == reference
        for inner in _in_place(part):
            if inner == reference:
                return True
            if inner not in seen:
                seen.add(inner)
                pending.append(inner)
    return False


def _in_place(schema: Any) -> Iterator[str]:
    """The `$ref`s that a schema follows with the very value that it is given."""
    if not isinstance(schema, Mapping):
        return
    if isinstance(schema.get("$ref"), str):
        yield schema["$ref"]
    parts = [schema[keyword] for keyword in ("not", "if", "then", "else") if keyword in schema]
    for keyword in ("anyOf", "oneOf", "allOf"):
        parts += schema[keyword] if isinstance(schema.get(keyword), list) else []
    for part in parts:
        yield from _in_place(part)


def resolved(reference: str, root: Mapping[str, Any]) -> Any:
    """The part of a schema that a `$ref` such as `#/$defs/NAME` points at; None where there is none."""
    part: Any = root
    for step in reference.removeprefix("#").split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~").replace("%24", "$").replace("%20", " ")
        if isinstance(part, Mapping) and name in part:
            part = part[name]
        elif isinstance(part, list) and name.isdecimal() and int(name) < len(part):
            part = part[int(name)]
        else:
            return None
    return part
