"""Typed Python functions as tool schemas, in OpenAI's form.

    class Desk:
        @tool(READ)
        def get_order(self, order_id: int) -> dict[str, object]:
            "Look up an order."

    tools_of(Desk())        # [Tool(name="get_order", ...)], bound to that desk

pydantic makes the schema from the annotations, once per function. Left out: reading schemas of other dialects.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from inspect import signature
from types import MethodType
from typing import Any, TypeVar

from pydantic import TypeAdapter
from pydantic.errors import PydanticUserError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

Function = TypeVar("Function", bound=Callable[..., Any])


class Access(StrEnum):
    """Whether a tool only looks at the world or changes it."""

    READ = "read"
    WRITE = "write"


READ, WRITE = Access.READ, Access.WRITE


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One tool as it is offered. `function` takes the arguments by name; a tool read from a file has none."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    function: Callable[..., Any] | None = field(default=None, compare=False)
    access: Access = WRITE

    @property
    def required(self) -> tuple[str, ...]:
        return tuple(self.parameters.get("required", ()))

    def to_openai(self) -> dict[str, Any]:
        # A copy, since one method's schema is made once and shared: whoever changes theirs must not change everybody's.
        parameters = deepcopy(dict(self.parameters))
        function = {"name": self.name, "description": self.description, "parameters": parameters}
        return {"type": "function", "function": function}

    @classmethod
    def from_openai(cls, spec: Mapping[str, Any]) -> "Tool":
        """Read OpenAI's form, with or without its `{"type": "function"}` envelope; ValueError for anything else."""
        function = spec.get("function", spec)
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
            raise ValueError(f"expected an OpenAI tool schema with a 'name', got {spec!r}")
        parameters = function.get("parameters") or {"type": "object", "properties": {}}
        if not isinstance(parameters, Mapping):
            raise ValueError(f"tool {function['name']!r}: expected a JSON Schema as 'parameters', got {parameters!r}")
        return cls(name=function["name"], description=str(function.get("description") or ""), parameters=parameters)


def tool(access: Access) -> Callable[[Function], Function]:
    """Mark a method as a tool; its docstring's first line is the description."""

    def mark(function: Function) -> Function:
        function.__tool_access__ = access  # type: ignore[attr-defined]
        return function

    return mark


def tools_of(desk: object) -> list[Tool]:
    """The tools of an object: its methods marked with `@tool`, bound to it, in the order they are written, inherited
    ones first.

    Raises TypeError for a tool with an argument that has no type hint, or one that no call can give.
    """
    methods = {name: method for base in reversed(type(desk).__mro__) for name, method in vars(base).items()}
    return [
        Tool(
            name=name,
            description=description_of(function),
            parameters=parameters_of(function),
            function=getattr(desk, name),
            access=function.__tool_access__,
        )
        for name, function in methods.items()
        if hasattr(function, "__tool_access__")
    ]


def description_of(function: Callable[..., Any]) -> str:
    return (function.__doc__ or "").strip().partition("\n")[0]


@cache
def parameters_of(method: Callable[..., Any]) -> Mapping[str, Any]:
    """JSON Schema of a method's arguments. `self` is bound away, so that pydantic sees the arguments only."""
    untyped = [name for name in list(signature(method).parameters)[1:] if name not in method.__annotations__]
    if untyped:
        raise TypeError(f"tool {method.__qualname__} has no type hint for {', '.join(untyped)}: write one")
    bound: Any = MethodType(method, object())
    try:
        parameters = TypeAdapter(bound).json_schema(schema_generator=_PlainSchema)
    except PydanticUserError as error:
        raise TypeError(f"tool {method.__qualname__} has a type that has no JSON Schema: {error.message}") from error
    except NameError as error:
        raise TypeError(
            f"tool {method.__qualname__} has an unknown type ({error}): import it where it is used"
        ) from error
    if parameters.get("type") != "object":
        raise TypeError(
            f"tool {method.__qualname__} takes arguments by place: a call gives them by name, so drop / and *"
        )
    return parameters


class _PlainSchema(GenerateJsonSchema):
    """pydantic's schema as a person would write it: no titles that repeat the names, no alphabetical order."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def sort(self, value: JsonSchemaValue, parent_key: str | None = None) -> JsonSchemaValue:
        return value
