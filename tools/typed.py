"""Arguments as the types that a function asks for: models, dataclasses, enums and dates, made of checked JSON.

What JSON has itself (text, numbers, lists, dicts, `Literal`, `TypedDict`, unions of them) is handed on as it came, at
no cost. pydantic may refuse what the schema allowed (a date that is none, a rule of a model's own): that is an invalid
value too. Left out: the schema (`tools.function`).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import annotated_types
from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from tools.call import ErrorCode, Violation
from tools.toolset import InvalidArguments


def typed_arguments(function: Callable[..., Any]) -> dict[str, TypeAdapter[Any]]:
    """What reads each argument that asks for more than JSON has."""
    hints = get_type_hints(function, include_extras=True)
    hints.pop("return", None)
    return {name: TypeAdapter(hint) for name, hint in hints.items() if not is_plain(hint)}


def reading(function: Callable[..., Any], readers: Mapping[str, TypeAdapter[Any]]) -> Callable[..., Any]:
    """The function, for arguments as they come in JSON. Raises InvalidArguments with all that pydantic refuses."""

    def call(**arguments: Any) -> Any:
        violations: list[Violation] = []
        for name in arguments.keys() & readers.keys():
            came = arguments[name]
            try:
                # Through JSON, since pydantic is stricter with Python's own values: a strict date would have to be one.
                arguments[name] = readers[name].validate_json(json.dumps(came))
            except ValidationError as error:
                violations += _violations(error, name, came)
        if violations:
            raise InvalidArguments(*violations)
        return function(**arguments)

    return call


def _violations(error: ValidationError, name: str, came: Any) -> list[Violation]:
    return [
        Violation(
            code=ErrorCode.INVALID_VALUE,
            path=_path(f"$.{name}", part["loc"], came),
            expected=part["msg"],
            came=part["input"],
        )
        for part in error.errors(include_url=False, include_context=False)
    ]


def _path(path: str, steps: Sequence[int | str], value: Any) -> str:
    """A JSON path of pydantic's steps, without those that name a branch of a union rather than a part of the value."""
    for step in steps:
        if isinstance(value, list) and isinstance(step, int) and step < len(value):
            path, value = f"{path}[{step}]", value[step]
        elif isinstance(value, dict) and step in value:
            path, value = f"{path}.{step}", value[step]
    return path


_PLAIN = (str, int, float, bool, NoneType, None, list, dict, object, Any)
_CONSTRAINTS = (
    annotated_types.Interval,
    annotated_types.Gt,
    annotated_types.Ge,
    annotated_types.Lt,
    annotated_types.Le,
    annotated_types.MultipleOf,
    annotated_types.Len,
    annotated_types.MinLen,
    annotated_types.MaxLen,
)


def is_plain(hint: Any) -> bool:
    """Whether checked JSON already is what a type hint asks for."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is None:
        return hint in _PLAIN or (_is_typed_dict(hint) and all(map(is_plain, _fields(hint))))
    if origin is Annotated:
        return is_plain(parts[0]) and all(map(_is_constraint, parts[1:]))
    if origin is Literal:
        return all(type(choice) in (str, int, bool, NoneType) for choice in parts)
    return origin in (Union, UnionType, list, dict, Sequence, Mapping, Required, NotRequired) and all(
        map(is_plain, parts)
    )


def _is_typed_dict(hint: Any) -> bool:
    # Not typing's own test, which doesn't know the TypedDict of typing_extensions that pydantic wants before 3.12.
    return isinstance(hint, type) and issubclass(hint, dict) and hasattr(hint, "__required_keys__")


def _fields(hint: Any) -> list[Any]:
    return list(get_type_hints(hint, include_extras=True).values())


def _is_constraint(mark: Any) -> bool:
    """Whether a mark in `Annotated[...]` is in the schema as a whole, so that nothing is left for pydantic to do."""
    if isinstance(mark, FieldInfo):
        return all(map(_is_constraint, mark.metadata))
    # pydantic keeps a pattern, for which annotated_types has no word, in a class that it doesn't show.
    return isinstance(mark, (str, *_CONSTRAINTS)) or getattr(mark, "__dict__", {}).keys() == {"pattern"}
