"""Typed Python functions as tools: `@tool`, and what their hints and docstrings say.

    class Desk:
        @tool(READ)
        def get_order(self, order_id: int) -> dict[str, object]:
            '''Look up an order.

            order_id: the number on the receipt
            '''

    tools_of(Desk())        # [Tool(name="get_order", ...)], bound to that desk
    tools_of([search])      # functions; a module will do as well

pydantic makes the schema from the annotations, once per function. A docstring's first paragraph describes the tool;
after it, `name: text`, `name (type): text` (Google's `Args:`) and `:param name: text` describe its arguments, unless
a `Field(description=...)` does. Left out: how arguments become what was asked for (`tools.typed`).
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from inspect import Parameter, cleandoc, iscoroutinefunction, signature
from types import FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple, TypeVar

from pydantic import TypeAdapter
from pydantic.errors import PydanticUserError
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from tools.compiled import Compiled
from tools.deadline import within
from tools.schema import Access, Tool
from tools.typed import reading, typed_arguments

Function = TypeVar("Function", bound=Callable[..., Any])


def tool(access: Access, *, timeout: float | None = None) -> Callable[[Function], Function]:
    """Mark a function or a method as a tool. One that takes longer than `timeout` seconds is cut off, as far as
    `tools.deadline.within` can, and the call raises InfrastructureFault."""
    if timeout is not None and not timeout > 0:
        raise ValueError(f"a timeout is a number of seconds above 0, came {timeout!r}: leave it out for none")

    def mark(function: Function) -> Function:
        marked: Any = getattr(function, "__func__", function)  # of a static or a class method, what it wraps
        marked.__tool_access__, marked.__tool_timeout__ = access, timeout
        return function

    return mark


def tools_of(source: object) -> list[Tool]:
    """The tools of an object (its methods marked with `@tool`, bound to it, in the order they are written, inherited
    ones first), of a module, of one function, or of a list of functions and tools.

    Raises TypeError for a tool with an argument that has no type hint, or one that no call can give.
    """
    if isinstance(source, Tool):
        return [source]
    if isinstance(source, (FunctionType, MethodType)):
        return [_of_function(source)]
    if isinstance(source, ModuleType):
        return [_of_function(value) for value in vars(source).values() if _is_marked_function(value)]
    if isinstance(source, type):
        raise TypeError(f"{source.__name__} is a class: give an instance of it")
    cls: Any = type(source)
    methods = _marked_methods(cls)
    if isinstance(source, Iterable) and not methods:
        return [tool for part in source for tool in _part(part)]
    return [_bound(template, getattr(source, template.name)) for template in methods]


def _part(part: object) -> list[Tool]:
    if not isinstance(part, (Tool, FunctionType, MethodType)):
        raise TypeError(f"expected a list of Tool or of @tool functions, came an entry {part!r}")
    return tools_of(part)


def _of_function(function: Any) -> Tool:
    if not hasattr(function, "__tool_access__"):
        raise TypeError(f"{function.__qualname__} is not marked: write @tool(READ) or @tool(WRITE) above it")
    method = isinstance(function, MethodType)
    return _bound(_template(function.__name__, function.__func__ if method else function, method), function)


def _is_marked_function(value: object) -> bool:
    return isinstance(value, FunctionType) and hasattr(value, "__tool_access__")


class _Template(NamedTuple):
    """A tool before it is bound to an object: all that needs to be made once only."""

    name: str
    description: str
    compiled: Compiled
    access: Access
    timeout: float | None
    readers: Mapping[str, TypeAdapter[Any]]


def _bound(template: _Template, function: Callable[..., Any]) -> Tool:
    name, description, compiled, access, timeout, readers = template
    if readers:
        function = reading(function, readers)
    if timeout is not None:
        function = within(timeout, function, name)
    parameters = compiled.parameters
    return Tool(
        name=name,
        description=description,
        parameters=parameters,
        function=function,
        access=access,
        compiled=compiled,
    )


@lru_cache(maxsize=1024)
def _marked_methods(cls: type) -> list[_Template]:
    found = {name: method for base in reversed(cls.__mro__) for name, method in vars(base).items()}
    functions = {name: getattr(method, "__func__", method) for name, method in found.items()}
    return [
        _template(name, function, not isinstance(found[name], staticmethod))
        for name, function in functions.items()
        if hasattr(function, "__tool_access__")
    ]


@lru_cache(maxsize=1024)
def _template(name: str, function: Callable[..., Any], method: bool) -> _Template:
    description, arguments = described(function.__doc__ or "", list(signature(function).parameters))
    parameters = _parameters_of(function, method)
    for argument, text in arguments.items():
        parameters["properties"].get(argument, {}).setdefault("description", text)
    marks: Any = function
    access, timeout = marks.__tool_access__, marks.__tool_timeout__
    return _Template(name, description, Compiled(parameters), access, timeout, typed_arguments(function))


_DESCRIBED = re.compile(r"(?P<indent>\s*)(?::param\s+)?(?P<name>\w+)(?:\s*\([^)]*\))?\s*:\s+(?P<text>\S.*)")


def described(docstring: str, names: Iterable[str]) -> tuple[str, dict[str, str]]:
    """A docstring's first paragraph, and what it says about each of the named arguments.

    A description goes on over the lines below it that are indented further.
    """
    summary, _, rest = cleandoc(docstring).partition("\n\n")
    known, descriptions = set(names), dict[str, list[str]]()
    open_lines: list[str] | None = None
    indent = 0
    for line in rest.split("\n"):
        match = _DESCRIBED.fullmatch(line)
        if match is not None and match["name"] in known:
            indent = len(match["indent"])
            open_lines = descriptions[match["name"]] = [match["text"]]
        elif open_lines is not None and len(line) - len(line.lstrip()) > indent:
            open_lines.append(line)
        else:
            open_lines = None
    return _one_line(summary), {name: _one_line(" ".join(lines)) for name, lines in descriptions.items()}


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _parameters_of(function: Callable[..., Any], method: bool) -> dict[str, Any]:
    """JSON Schema of a function's arguments. A method's `self` is bound away, so that pydantic sees the others only."""
    if iscoroutinefunction(function):
        raise TypeError(f"tool {function.__qualname__} is async: a call is answered at once, so write a plain function")
    asked = list(signature(function).parameters.values())[method:]
    untyped = [parameter.name for parameter in asked if parameter.annotation is Parameter.empty]
    if untyped:
        raise TypeError(f"tool {function.__qualname__} has no type hint for {', '.join(untyped)}: write one")
    seen: Any = MethodType(function, object()) if method else function
    try:
        parameters = TypeAdapter(seen).json_schema(schema_generator=_PlainSchema)
    except PydanticUserError as error:
        raise TypeError(f"tool {function.__qualname__} has a type that has no JSON Schema: {error.message}") from error
    except NameError as error:
        raise TypeError(
            f"tool {function.__qualname__} has an unknown type ({error}): import it where it is used"
        ) from error
    if parameters.get("type") != "object":
        raise TypeError(
            f"tool {function.__qualname__} takes arguments by place: a call gives them by name, so drop / and *"
        )
    _must_agree(function, asked, parameters)
    return parameters


def _must_agree(function: Callable[..., Any], asked: list[Parameter], parameters: Mapping[str, Any]) -> None:
    """A call goes to the function itself, not through pydantic: the schema must not promise what only pydantic does."""
    for parameter in asked:
        if parameter.kind is Parameter.VAR_KEYWORD:
            continue
        name, absent = parameter.name, parameter.default is Parameter.empty
        if name not in parameters["properties"]:
            raise TypeError(f"tool {function.__qualname__}: {name} has an alias, which no call can give: rename it")
        if isinstance(parameter.default, FieldInfo) or (absent and name not in parameters.get("required", ())):
            raise TypeError(
                f"tool {function.__qualname__}: write the default of {name} after =, as in "
                f"{name}: Annotated[..., Field(...)] = value"
            )


class _PlainSchema(GenerateJsonSchema):
    """pydantic's schema as a person would write it: no titles that repeat the names, no alphabetical order."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def sort(self, value: JsonSchemaValue, parent_key: str | None = None) -> JsonSchemaValue:
        return value
