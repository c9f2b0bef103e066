"""Tool schemas from outside, in whichever form they come, and in MCP's form.

| form | looks like |
|---|---|
| OpenAI | `{"type": "function", "function": {"name", "description", "parameters", "strict"}}`; the envelope may miss |
| MCP | `{"name", "description", "inputSchema", "annotations": {"readOnlyHint": true}}` |
| Anthropic | `{"name", "description", "input_schema"}` |
| BFCL | OpenAI's without the envelope; types are Python's or Java's (`dict`, `float`, `tuple`, `any`, `ArrayList`) |

`read_tools` takes one schema, a list, or an object that has the list under `tools`, `functions` or `function` (a
request, a server's answer, a line of a benchmark). Left out: which of OpenAI's rules `strict` stands for (the schema
says them as well), and MCP's `outputSchema`.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any

from tools.check import check_arguments
from tools.command import InputError
from tools.drafts import modern
from tools.schema import READ, WRITE, Tool


def read_tools(value: Any) -> list[Tool]:
    """The tools that a JSON value describes, in the order they come. Raises InputError, which says what is wrong."""
    if isinstance(value, Mapping):
        for key in ("tools", "functions", "function"):
            if isinstance(value.get(key), list):
                value = value[key]
                break
        else:
            value = [value]
    if not isinstance(value, list):
        raise InputError(
            f"expected a JSON list of tool schemas, came {_what(value)}: write them in OpenAI's or MCP's form"
        )
    return [_read(number, spec) for number, spec in enumerate(value)]


def read_tool(spec: Any) -> Tool:
    """One tool in any of the forms. Raises InputError, which says what is wrong."""
    if not isinstance(spec, Mapping):
        raise InputError(f"expected a tool schema, a JSON object with a 'name', came {_what(spec)}")
    function = spec["function"] if isinstance(spec.get("function"), Mapping) else spec
    key = next((key for key in ("inputSchema", "input_schema") if key in function), "parameters")
    annotations = function.get("annotations")
    reads = isinstance(annotations, Mapping) and annotations.get("readOnlyHint") is True
    try:
        tool = Tool.from_openai({**function, "parameters": function.get(key)})
    except ValueError as error:
        raise InputError(str(error)) from error
    tool = replace(tool, parameters=modern(tool.parameters), access=READ if reads else WRITE)
    _must_be_schema(tool)
    return tool


def to_mcp(tool: Tool) -> dict[str, Any]:
    """A tool in MCP's form."""
    return {
        "name": tool.name,
        "description": tool.description,
        "inputSchema": {"type": "object", **deepcopy(dict(tool.parameters))},
        "annotations": {"readOnlyHint": tool.access is READ},
    }


def _read(number: int, spec: Any) -> Tool:
    try:
        return read_tool(spec)
    except InputError as error:
        raise InputError(f"tool {number}: {error}") from error


def _must_be_schema(tool: Tool) -> None:
    try:
        check_arguments({}, tool)
    except (ValueError, RecursionError) as error:
        raise InputError(f"tool {tool.name!r}: {error}: correct its parameters") from error
    wanted = tool.parameters.get("type", "object")
    if wanted != "object":
        raise InputError(f"tool {tool.name!r}: expected parameters of type 'object', came {wanted!r}: name them")


def _what(value: Any) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text[:80]}{'...' if len(text) > 80 else ''}"
