"""Mistakes on purpose: a right call made wrong in the way that an error code names.

Left out: mistakes that a world knows of itself (`ToolEnv.habits`).
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from random import Random
from typing import Any

from tools import ErrorCode, ToolCall, Toolset

Arguments = dict[str, Any]


def mistaken(call: ToolCall, toolset: Toolset, code: ErrorCode, rng: Random) -> ToolCall | None:
    """The call with a mistake of the given code; None where this call or this toolset gives no room for it."""
    wrong = _written(call, toolset, code, rng)
    made = toolset.check(wrong)[1] if wrong else ()
    return wrong if code in {violation.code for violation in made} else None


def _written(call: ToolCall, toolset: Toolset, code: ErrorCode, rng: Random) -> ToolCall | None:
    match code:
        case ErrorCode.NONEXISTENT_TOOL:
            return replace(call, name=_other_name(call.name, rng))
        case ErrorCode.UNAVAILABLE_TOOL:
            return replace(call, name=rng.choice(sorted(toolset.catalogue))) if toolset.catalogue else None
        case ErrorCode.MALFORMED_CALL:
            return replace(call, arguments=call.arguments[:-1])
    arguments = ARGUMENTS[code](json.loads(call.arguments), toolset.offered[call.name].parameters, rng)
    return None if arguments is None else replace(call, arguments=json.dumps(arguments, ensure_ascii=False))


def _other_name(name: str, rng: Random) -> str:
    verb, _, rest = name.partition("_")
    return rng.choice([f"{verb}{rest.title().replace('_', '')}", f"do_{name}", f"{name}s", f"{rest or name}_{verb}"])


def _missing(arguments: Arguments, schema: Mapping[str, Any], rng: Random) -> Arguments | None:
    required = [name for name in schema.get("required", ()) if name in arguments]
    left_out = rng.choice(required) if required else None
    return None if left_out is None else {name: value for name, value in arguments.items() if name != left_out}


def _unexpected(arguments: Arguments, _: Mapping[str, Any], rng: Random) -> Arguments | None:
    return {**arguments, rng.choice(["verbose", "comment", "dry_run"]): True}


def _wrong_type(arguments: Arguments, _: Mapping[str, Any], rng: Random) -> Arguments | None:
    if not arguments:
        return None
    name = rng.choice(list(arguments))
    value = arguments[name]
    return {**arguments, name: [value] if isinstance(value, str | dict) else str(value)}


def _invalid(arguments: Arguments, schema: Mapping[str, Any], rng: Random) -> Arguments | None:
    """An enum's word that it hasn't, or a text that its pattern or its length refuses."""
    parts = {name: part for name, part in schema.get("properties", {}).items() if name in arguments}
    closed = [name for name, part in parts.items() if {"enum", "pattern", "maximum", "minLength"} & part.keys()]
    if not closed:
        return None
    name = rng.choice(closed)
    return {**arguments, name: "" if isinstance(arguments[name], str) else 10**12}


ARGUMENTS: Mapping[ErrorCode, Callable[[Arguments, Mapping[str, Any], Random], Arguments | None]] = {
    ErrorCode.MISSING_ARGUMENT: _missing,
    ErrorCode.UNEXPECTED_ARGUMENT: _unexpected,
    ErrorCode.WRONG_TYPE: _wrong_type,
    ErrorCode.INVALID_VALUE: _invalid,
}
MISTAKES = (ErrorCode.NONEXISTENT_TOOL, ErrorCode.UNAVAILABLE_TOOL, ErrorCode.MALFORMED_CALL, *ARGUMENTS)
"""The codes that a call can be made wrong by."""
