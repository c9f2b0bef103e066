"""Where tools and calls come from on a command line: `module:attribute`, a module, a JSON file, or an MCP server.

Left out: what is done with them (`tools.__main__`), the forms of a schema (`tools.dialects`).
"""

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

from tools.call import ToolCall
from tools.check import check_arguments
from tools.command import InputError, did_you_mean
from tools.dialects import read_tools
from tools.function import tools_of
from tools.mcp import connect, is_server, tools_of_server
from tools.schema import Tool
from tools.toolset import Toolset


def toolset_from(source: str, *, to_call: bool = False) -> Toolset:
    """The tools that a source names. Raises InputError, with what to write instead.

    A class is only looked at, without what its constructor asks for, unless its tools are to be called.
    """
    try:
        toolset = _read(source, to_call)
        for tool in toolset.tools:
            check_arguments({}, tool)
    except InputError:
        raise
    except (ValueError, TypeError) as error:
        raise InputError(f"{source}: {error}") from error
    if not toolset.tools:
        raise InputError(f"{source} has no tools: mark functions with @tool, or give a list of tool schemas")
    return toolset


@contextmanager
def callable_from(source: str) -> Iterator[Toolset]:
    """The tools that a source names, to be called for as long as the context lasts: an MCP server stays connected."""
    if is_server(source):
        with connect(source) as toolset:
            yield toolset
    else:
        yield toolset_from(source, to_call=True)


def tools_from(source: str) -> list[Tool]:
    """The tools that a source offers; see `toolset_from`."""
    return list(toolset_from(source).offered.values())


def calls_from(source: str) -> list[ToolCall]:
    """The calls in a JSON or JSONL file, `-` being standard input. Raises InputError, which says what is wrong.

    A call is an entry of OpenAI's `tool_calls` or a bare `{"name", "arguments"}`; messages and trajectories are
    searched for them.
    """
    path = Path(source)
    if source != "-" and not path.is_file():
        raise InputError(f"{source} is no file: give a JSON or JSONL file of calls, or - for standard input")
    data = sys.stdin.buffer.read() if source == "-" else path.read_bytes()
    return [call for place, value in _values(data, source) for call in _calls(value, place)]


def _read(source: str, to_call: bool) -> Toolset:
    if is_server(source):
        return Toolset(tools_of_server(source))
    path = Path(source)
    if path.is_file():
        # Some benchmarks give a schema a line.
        found = [tool for place, value in _values(path.read_bytes(), source) for tool in _schemas(value, place)]
        return Toolset(found)
    module, colon, attribute = source.partition(":")
    if path.suffix in (".json", ".jsonl") and not colon:
        raise InputError(f"{source} is no file: give module:attribute, or a JSON file with a list of tool schemas")
    try:
        found_module = import_module(module)
    except (ImportError, ValueError, TypeError) as error:
        raise InputError(f"can't import {module!r} ({error}): write module:attribute, or a JSON file's name") from error
    if not colon:
        return _of_object(found_module, to_call)
    if not hasattr(found_module, attribute):
        raise InputError(f"{module} has no {attribute!r}: {did_you_mean(attribute, list(vars(found_module)))}")
    return _of_object(getattr(found_module, attribute), to_call)


def _of_object(found: Any, to_call: bool) -> Toolset:
    if isinstance(found, Toolset):
        return found
    if isinstance(found, type):
        found = _instance(found) if to_call else object.__new__(found)
    return Toolset(tools_of(found))


def _instance(cls: type) -> object:
    try:
        signature(cls).bind()
    except TypeError as error:
        raise InputError(
            f"{cls.__name__}'s constructor asks for more ({error}): give module:attribute of an instance"
        ) from error
    return cls()


def _schemas(value: Any, place: str) -> list[Tool]:
    try:
        return read_tools(value)
    except InputError as error:
        raise InputError(f"{place}: {error}") from error


def _values(data: bytes, source: str) -> Iterator[tuple[str, Any]]:
    """The JSON values in a file, one or one a line, each with the place where it stands."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{source} is no UTF-8 text ({error})") from error
    try:
        yield source, json.loads(text)
        return
    except (ValueError, RecursionError) as error:
        lines = [line for line in text.split("\n") if line.strip()]
        if len(lines) < 2 or not _is_json(lines[0]):
            raise InputError(f"{source} is no JSON ({error})") from error
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                yield f"{source} line {number}", json.loads(line)
            except (ValueError, RecursionError) as error:
                raise InputError(f"{source} line {number} is no JSON ({error})") from error


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _calls(value: Any, place: str) -> Iterator[ToolCall]:
    if isinstance(value, list):
        for part in value:
            yield from _calls(part, place)
        return
    if not isinstance(value, Mapping):
        raise InputError(f"{place}: expected a tool call or a message, came {type(value).__name__} {str(value)[:80]!r}")
    for key in ("messages", "tool_calls"):
        if isinstance(value.get(key), list):
            yield from _calls(value[key], place)
            return
    if "function" in value:
        yield _call(value, place)
    elif "arguments" in value or (isinstance(value.get("name"), str) and "role" not in value):
        yield _call({"id": value.get("id"), "function": value}, place)
    elif "role" not in value:
        raise InputError(f"{place}: expected a tool call with a 'name' and 'arguments', came {str(value)[:80]!r}")


def _call(value: Mapping[str, Any], place: str) -> ToolCall:
    try:
        return ToolCall.from_openai(value)
    except ValueError as error:
        raise InputError(f"{place}: {error}") from error
