"""Arguments as a person types them: `order_id=417 note="two words"`.

    order_id=417            the value becomes what the tool's schema asks for
    order_id="417"          in quotes it stays text
    order_id:=417           exactly this JSON

Left out: whether they are right, which `tools.check` says; tool names and commands, which are the game's (`envs`).
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from tools.command import InputError

ARGUMENT = re.compile(r"([^\s=:]+)(:?=)")
"""What an argument starts with: its name and `=` or `:=`."""


def read_arguments(text: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments in a line. `properties` are those of the tool's schema. Raises InputError, with what to write."""
    arguments: dict[str, Any] = {}
    rest = text.strip()
    while rest:
        match = _argument(rest, properties)
        schema = properties.get(match[1], {})
        arguments[match[1]], rest = _read_value(rest[match.end() :], schema, exact=match[2] == ":=")
        rest = rest.strip()
    return arguments


def read_words(words: list[str], properties: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that a shell has taken apart already, so that each word is one, spaces and all."""
    arguments: dict[str, Any] = {}
    for word in words:
        match = _argument(word, properties)
        text, schema = word[match.end() :], properties.get(match[1], {})
        value, rest = _read_value(text, schema, exact=match[2] == ":=")
        arguments[match[1]] = value if not rest.strip() else _fitted(text, schema)
    return arguments


def properties_of(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """A schema's properties, each with what its `$ref` stands for."""
    return {name: _resolved(part, parameters) for name, part in parameters.get("properties", {}).items()}


def _resolved(part: Any, parameters: Mapping[str, Any]) -> Any:
    reference = part.get("$ref") if isinstance(part, Mapping) else None
    if not isinstance(reference, str):
        return part
    place, _, name = reference.removeprefix("#/").partition("/")
    target = parameters.get(place, {}).get(name, {}) if place in ("$defs", "definitions") else {}
    return {**target, **part} if isinstance(target, Mapping) else part


def _argument(text: str, properties: Mapping[str, Any]) -> re.Match[str]:
    match = ARGUMENT.match(text)
    if match is None:
        known = f" ({', '.join(properties)})" if properties else ""
        word = next(iter(text.split()), "")
        raise InputError(f"{word!r} is no argument: write name=value{known}, with quotes around a text with spaces")
    return match


def _read_value(text: str, schema: Mapping[str, Any], *, exact: bool) -> tuple[Any, str]:
    """The value that a text starts with, and the text after it."""
    if exact or text.startswith(('"', "[", "{")):
        try:
            value, end = DECODER.raw_decode(text)
        except (ValueError, RecursionError) as error:
            if exact:
                raise InputError(f"after := comes JSON ({error})") from error
        else:
            return value, text[end:]
    if text.startswith("'") and "'" in text[1:]:
        word, _, rest = text[1:].partition("'")
    else:
        word, _, rest = text.partition(" ")
    return _fitted(word, schema), rest


def _fitted(word: str, schema: Mapping[str, Any]) -> Any:
    """A bare word as the schema asks for it: JSON where it is JSON, but text where only text is allowed."""
    try:
        value = DECODER.decode(word)
    except (ValueError, RecursionError):
        return word
    return word if _is_text(schema) and not isinstance(value, str) else value


def _is_text(schema: Any) -> bool:
    """Whether a schema allows nothing but strings."""
    if not isinstance(schema, Mapping):
        return False
    if "enum" in schema:
        return all(isinstance(value, str) for value in schema["enum"])
    return schema.get("type") == "string"


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


DECODER = json.JSONDecoder(parse_constant=_refuse_constant, strict=False)
"""JSON as a person types it: a line end inside a text is let pass."""
