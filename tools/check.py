"""Check a call against the tools that are offered: every violation at once, each with its code.

The one checker of the project. Environments answer bad calls with it, critics find them with it in anyone's logs.
jsonschema (Draft 2020-12) names the violations; this module gives them our codes.
"""

import json
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from referencing import Registry
from referencing.exceptions import Unresolvable

from tools.call import ErrorCode, ToolCall, Violation
from tools.schema import Tool


def check_call(
    call: ToolCall, offered: Mapping[str, Tool], catalogue: Collection[str] = ()
) -> tuple[dict[str, Any], list[Violation]]:
    """The parsed arguments and all violations of a call; no violation means that it may be carried out.

    `catalogue` holds the names of real tools that are not offered: calling one is `unavailable_tool`.
    Raises ValueError if the tool's own schema is no JSON Schema: the developer's mistake, not the model's.
    """
    if not call.name:
        return {}, [_malformed("a JSON object with a name and arguments", call.arguments)]
    tool = offered.get(call.name)
    if tool is None:
        code = ErrorCode.UNAVAILABLE_TOOL if call.name in catalogue else ErrorCode.NONEXISTENT_TOOL
        names = tuple(offered)
        return {}, [Violation(code=code, path="name", expected="an available tool", came=call.name, allowed=names)]
    try:
        arguments = json.loads(call.arguments or "{}", parse_constant=_refuse_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        return {}, [_malformed(f"arguments in JSON ({error})", call.arguments)]
    if not isinstance(arguments, dict):
        return {}, [_malformed("a JSON object of arguments", arguments)]
    try:
        return arguments, check_arguments(arguments, tool)
    except RecursionError:  # a schema that refers to itself, followed down by arguments that nest as deep
        return {}, [_malformed("arguments that nest less deeply", call.arguments)]


def check_arguments(arguments: Mapping[str, Any], tool: Tool) -> list[Violation]:
    """All violations of parsed arguments against a tool's parameters, in the order of the schema.

    Raises ValueError if the schema is none, or refers to a part that it doesn't have.
    """
    validator = _validator(json.dumps(tool.parameters))
    try:
        return [violation for error in validator.iter_errors(arguments) for violation in _violations(error)]
    except Unresolvable as error:
        raise ValueError(f"tool {tool.name!r} has a $ref to {error.ref!r}, which is not in its parameters") from error


@lru_cache(maxsize=4096)
def _validator(schema: str) -> Draft202012Validator:
    parameters = json.loads(schema)
    try:
        Draft202012Validator.check_schema(parameters)
    except SchemaError as error:
        raise ValueError(f"a tool's parameters are no JSON Schema at {error.json_path}: {error.message}") from error
    # jsonschema's own registry fetches what a $ref names from the network; a schema from a file must not make it do so.
    return Draft202012Validator(parameters, registry=Registry())


def _violations(error: ValidationError) -> Iterator[Violation]:
    """One validation error in our codes. A union is reported by the branch that fits best."""
    wanted: Any = error.validator_value
    if error.validator in ("anyOf", "oneOf") and error.context:
        for part in _nearest_branch(error.context):
            yield from _violations(part)
    elif error.validator == "required":
        yield from _missing(error)
    elif error.validator == "additionalProperties":
        yield from _unexpected(error)
    elif error.validator == "type":
        yield Violation(code=ErrorCode.WRONG_TYPE, path=error.json_path, expected=_types(wanted), came=error.instance)
    elif error.validator in ("enum", "const"):
        allowed = tuple(wanted) if error.validator == "enum" else (wanted,)
        expected = "an allowed value"
        yield Violation(
            code=ErrorCode.INVALID_VALUE, path=error.json_path, expected=expected, came=error.instance, allowed=allowed
        )
    else:
        expected = f"{error.validator} {json.dumps(wanted)}"
        yield Violation(code=ErrorCode.INVALID_VALUE, path=error.json_path, expected=expected, came=error.instance)


def _nearest_branch(errors: Iterable[ValidationError]) -> list[ValidationError]:
    """The errors of the branch of a union that was meant: one whose own type fits, with the fewest errors."""
    branches: dict[Any, list[ValidationError]] = {}
    for error in errors:
        branches.setdefault(error.relative_schema_path[0], []).append(error)
    return min(branches.values(), key=lambda branch: (any(map(_misses_type, branch)), len(branch)))


def _misses_type(error: ValidationError) -> bool:
    return error.validator == "type" and not error.relative_path


def _missing(error: ValidationError) -> Iterator[Violation]:
    """jsonschema reports each missing name apart, quoted at the start of its message."""
    required: Any = error.validator_value
    schema: Any = error.schema
    name = next(name for name in required if error.message.startswith(f"{name!r} "))
    part = schema.get("properties", {}).get(name)
    expected = _types(part["type"]) if isinstance(part, dict) and "type" in part else "a value"
    path = f"{error.json_path}.{name}"
    yield Violation(code=ErrorCode.MISSING_ARGUMENT, path=path, expected=expected, came=None, allowed=tuple(required))


def _unexpected(error: ValidationError) -> Iterator[Violation]:
    schema: Any = error.schema
    instance: Any = error.instance
    allowed, patterns = tuple(schema.get("properties", ())), tuple(schema.get("patternProperties", ()))
    for name in instance:
        if name not in allowed and not any(re.search(pattern, name) for pattern in patterns):
            yield Violation(
                code=ErrorCode.UNEXPECTED_ARGUMENT,
                path=f"{error.json_path}.{name}",
                expected="no such argument",
                came=instance[name],
                allowed=allowed,
            )


def _types(wanted: str | list[str]) -> str:
    return wanted if isinstance(wanted, str) else " or ".join(wanted)


def _malformed(expected: str, came: Any) -> Violation:
    return Violation(code=ErrorCode.MALFORMED_CALL, path="$", expected=expected, came=came)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    """A number that Python would read as infinity can't be written as JSON again."""
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:20]} is too large a number")
    return number
