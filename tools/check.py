"""Check a call against the tools that are offered: every violation at once, each with its code.

The one checker of the project. Environments answer bad calls with it, critics find them with it in anyone's logs.
A compiled schema says that a call is valid, jsonschema (Draft 2020-12) what is wrong with one that isn't; this module
gives that our codes, and says what was probably meant.
"""

import json
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache
from itertools import islice
from typing import Any

import msgspec
from referencing.exceptions import Unresolvable

from tools.call import ErrorCode, ToolCall, Violation
from tools.compiled import Compiled
from tools.keywords import MAX_VIOLATIONS, extra_names
from tools.misfits import Misfit
from tools.schema import Tool

MAX_ARGUMENTS = 1_000_000
"""Characters of arguments that are read; more is a malformed call, so that none takes long to refuse."""

DEEP = 50
"""Levels that arguments may nest before it is they that can't be checked."""


def check_call(
    call: ToolCall, offered: Mapping[str, Tool], catalogue: Collection[str] = (), *, suggest: bool = True
) -> tuple[dict[str, Any], list[Violation]]:
    """The parsed arguments and all violations of a call; no violation means that it may be carried out.

    `catalogue` holds the names of real tools that are not offered: calling one is `unavailable_tool`. Without `suggest`
    nothing is said of what was probably meant, which takes longer to find than all the rest.
    Raises ValueError if the tool's own schema is no JSON Schema: the developer's mistake, not the model's.
    """
    tool = offered.get(call.name)
    if tool is None:
        return {}, [_unknown(call.name, call.arguments, offered, catalogue, suggest)]
    try:
        return _checked(call.arguments, tool.compiled, suggest)
    except Unresolvable as error:
        raise _leads_nowhere(tool, error) from error


def check_logged(
    name: str, text: str, offered: Mapping[str, Tool], catalogue: Collection[str] = ()
) -> tuple[Mapping[str, Any], Sequence[Violation]]:
    """The same of a name and the text of arguments, without suggestions, for calls that nobody carries out."""
    tool = offered.get(name)
    if tool is None:
        return {}, [_unknown(name, text, offered, catalogue, False)]
    return check_text(text, tool)


def check_text(text: str, tool: Tool) -> tuple[Mapping[str, Any], Sequence[Violation]]:
    """The same of the text of arguments for a tool.

    Logs have the same calls over and over, so what was found is remembered, and must not be changed.
    """
    try:
        return (_remembered if len(text) <= SHORT else _checked)(text, tool.compiled)
    except Unresolvable as error:
        raise _leads_nowhere(tool, error) from error


def _checked(text: str, compiled: Compiled, suggest: bool = False) -> tuple[dict[str, Any], list[Violation]]:
    try:
        arguments = _parsed(text)
    except (ValueError, RecursionError) as error:
        return {}, [_malformed(f"arguments in JSON ({error})", text)]
    if type(arguments) is not dict:
        return {}, [_malformed("a JSON object of arguments", arguments)]
    if compiled.is_valid(arguments):
        return arguments, []
    try:
        return arguments, _violations_of(arguments, compiled, suggest)
    except RecursionError:  # a schema that refers to itself, followed down by arguments that nest as deep
        if _nests_deeper(arguments, DEEP):
            return {}, [_malformed("arguments that nest less deeply", text)]
        return arguments, []  # the schema itself is too deep for anybody to check with


SHORT, REMEMBERED = 250, 8192
"""So many calls are remembered, of arguments of so many characters at most."""

_remembered = lru_cache(maxsize=REMEMBERED)(_checked)


def check_arguments(arguments: Mapping[str, Any], tool: Tool, *, suggest: bool = True) -> list[Violation]:
    """The violations of parsed arguments against a tool's parameters, in the order of the schema: all, up to 20.

    Raises ValueError if the schema is none, or refers to a part that it doesn't have.
    """
    try:
        return _violations_of(arguments, tool.compiled, suggest)
    except Unresolvable as error:
        raise _leads_nowhere(tool, error) from error


def _violations_of(arguments: Mapping[str, Any], compiled: Compiled, suggest: bool) -> list[Violation]:
    found = (part for misfit in compiled.misfits(arguments) for part in _violations(misfit, suggest))
    return list(islice(_each_once(found), MAX_VIOLATIONS))


def _leads_nowhere(tool: Tool, error: Unresolvable) -> ValueError:
    return ValueError(f"tool {tool.name!r} has a $ref to {error.ref!r}, which is not in its parameters")


def _each_once(violations: Iterable[Violation]) -> Iterator[Violation]:
    """A schema may say the same twice (`allOf`, a `$ref` beside a type)."""
    seen: set[tuple[str, str, str]] = set()
    for violation in violations:
        mark = violation.code.value, violation.path, violation.expected
        if mark not in seen:
            seen.add(mark)
            yield violation


def nearest(came: Any, allowed: Iterable[Any]) -> str | None:
    """The text among `allowed` that was probably meant; case is overlooked, and so are quotes around a number."""
    word = str(came).casefold() if isinstance(came, (str, int, float)) else ""
    if not 0 < len(word) <= 100:
        return None
    words = {choice.casefold(): choice for choice in allowed if isinstance(choice, str)}
    close = get_close_matches(word, words, n=1)
    return words[close[0]] if close else None


def _unknown(name: str, text: str, offered: Iterable[str], catalogue: Collection[str], suggest: bool) -> Violation:
    if not name:
        return _malformed("a JSON object with a name and arguments", text)
    names = tuple(offered)
    return Violation(
        code=ErrorCode.UNAVAILABLE_TOOL if name in catalogue else ErrorCode.NONEXISTENT_TOOL,
        path="name",
        expected="an available tool",
        came=name,
        allowed=names,
        suggestion=nearest(name, names) if suggest else None,
    )


def _violations(misfit: Misfit, suggest: bool) -> Iterator[Violation]:
    """One misfit in our codes. A union is reported by the branch that fits best."""
    keyword, wanted, came, path = misfit.keyword, misfit.wanted, misfit.value, misfit.path
    if keyword in ("anyOf", "oneOf") and misfit.branches:
        for part in _nearest_branch(misfit):
            yield from _violations(part, suggest)
    elif keyword == "required":
        yield _missing(misfit)
    elif keyword == "additionalProperties":
        yield from _unexpected(misfit, suggest)
    elif keyword == "dependentRequired":
        yield _dependent(misfit)
    elif keyword is None:  # the schema `false`, which allows nothing at this place
        yield Violation(code=ErrorCode.UNEXPECTED_ARGUMENT, path=path, expected="no such argument", came=came)
    elif keyword == "type":
        yield Violation(code=ErrorCode.WRONG_TYPE, path=path, expected=_types(wanted), came=came)
    elif keyword in ("enum", "const"):
        allowed = tuple(wanted) if keyword == "enum" else (wanted,)
        yield Violation(
            code=ErrorCode.INVALID_VALUE,
            path=path,
            expected="an allowed value",
            came=came,
            allowed=allowed,
            suggestion=nearest(came, allowed) if suggest else None,
        )
    else:
        yield Violation(code=ErrorCode.INVALID_VALUE, path=path, expected=f"{keyword} {json.dumps(wanted)}", came=came)


def _nearest_branch(union: Misfit) -> Sequence[Misfit]:
    """The misfits of the branch of a union that was meant: one whose own type fits, with the fewest of them."""

    def distance(branch: Sequence[Misfit]) -> tuple[bool, int]:
        return any(part.keyword == "type" and part.path == union.path for part in branch), len(branch)

    return min(union.branches, key=distance)


def _missing(misfit: Misfit) -> Violation:
    part = misfit.schema.get("properties", {}).get(misfit.name)
    expected = _types(part["type"]) if isinstance(part, dict) and "type" in part else "a value"
    path, allowed = f"{misfit.path}.{misfit.name}", tuple(misfit.wanted)
    return Violation(code=ErrorCode.MISSING_ARGUMENT, path=path, expected=expected, came=None, allowed=allowed)


def _dependent(misfit: Misfit) -> Violation:
    """A name that another one asks for."""
    given = {name: given for given, names in misfit.wanted.items() for name in names}[misfit.name]
    path, expected = f"{misfit.path}.{misfit.name}", f"a value, since {given} is given"
    return Violation(code=ErrorCode.MISSING_ARGUMENT, path=path, expected=expected, came=None, allowed=(misfit.name,))


def _unexpected(misfit: Misfit, suggest: bool) -> Iterator[Violation]:
    allowed = tuple(misfit.schema.get("properties", ()))
    for name in extra_names(misfit.value, misfit.schema):
        others = [other for other in allowed if other not in misfit.value] if suggest else ()
        yield Violation(
            code=ErrorCode.UNEXPECTED_ARGUMENT,
            path=f"{misfit.path}.{name}",
            expected="no such argument",
            came=misfit.value[name],
            allowed=allowed,
            suggestion=nearest(name, others) if suggest else None,
        )


def _types(wanted: str | list[str]) -> str:
    return wanted if isinstance(wanted, str) else " or ".join(wanted)


def _malformed(expected: str, came: Any) -> Violation:
    return Violation(code=ErrorCode.MALFORMED_CALL, path="$", expected=expected, came=came)


def _parsed(text: str) -> Any:
    """JSON of arguments; no text at all stands for none. Raises ValueError or RecursionError for what is no JSON."""
    if len(text) > MAX_ARGUMENTS:
        raise ValueError(f"of at most {MAX_ARGUMENTS} characters")
    try:
        return _decode(text or "{}")
    except (ValueError, RecursionError):  # `json` says what is wrong, and takes a lone surrogate's escape
        return json.loads(text or "{}", parse_constant=_refuse_constant, parse_float=_finite)


def _nests_deeper(value: Any, levels: int) -> bool:
    parts = [value]
    for _ in range(levels):
        parts = [
            inner
            for part in parts
            if isinstance(part, (dict, list))
            for inner in (part.values() if isinstance(part, dict) else part)
        ]
    return bool(parts)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    """A number that Python would read as infinity can't be written as JSON again."""
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:20]} is too large a number")
    return number


_decode = msgspec.json.Decoder().decode
