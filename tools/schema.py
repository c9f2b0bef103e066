"""A tool as a model sees it: name, description and a JSON Schema of its arguments, in OpenAI's form.

Left out: how a Python function becomes one (`tools.function`), other programs' forms (`tools.dialects`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tools.compiled import Compiled


class Access(StrEnum):
    """Whether a tool only looks at the world or changes it."""

    READ = "read"
    WRITE = "write"


READ, WRITE = Access.READ, Access.WRITE


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One tool as it is offered. `function` takes the arguments by name; a tool read from a file has none.

    `parameters` is compiled at the first call, so it must not be changed in place.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    function: Callable[..., Any] | None = field(default=None, compare=False)
    access: Access = WRITE
    compiled: Compiled = field(default=None, compare=False, repr=False)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        # A tool with a new name or function keeps what was compiled of its schema; one with a new schema doesn't.
        if self.compiled is None or self.compiled.parameters is not self.parameters:
            object.__setattr__(self, "compiled", Compiled(self.parameters))

    @property
    def required(self) -> tuple[str, ...]:
        return tuple(self.parameters.get("required", ()))

    def to_openai(self) -> dict[str, Any]:
        function = {"name": self.name, "description": self.description, "parameters": self.compiled.copy()}
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
