"""The command line of `tools`: look at tools as a model gets them.

    python -m tools show envs.store.tools:StoreTools
    python -m tools show my_tools.json --json        # a JSON list of OpenAI tool schemas

Left out: calling them; `python -m envs` does that, in a world.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from tools.check import check_arguments
from tools.command import InputError, did_you_mean, run
from tools.schema import Tool, tools_of
from tools.screen import ToolTable
from tools.toolset import Toolset


@dataclass(frozen=True, slots=True)
class Show:
    """Show tools as a table, or with `--json` as OpenAI schemas."""

    source: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="SOURCE")]
    """module:attribute (a class with @tool methods, a Toolset, a list of Tool) or a JSON file of OpenAI schemas."""
    json: bool = False
    """Write the OpenAI schemas as JSON."""

    def __call__(self) -> None:
        tools = tools_from(self.source)
        if self.json:
            print(json.dumps([tool.to_openai() for tool in tools], indent=2, ensure_ascii=False))
        else:
            Console().print(ToolTable(tools))


def tools_from(source: str) -> list[Tool]:
    """The tools that `module:attribute` or a JSON file names. Raises InputError, with what to write instead."""
    module, colon, attribute = source.partition(":")
    tools = _from_attribute(module, attribute) if colon and not Path(source).is_file() else _from_file(Path(source))
    if not tools:
        raise InputError(f"{source} has no tools: mark methods with @tool, or give a list of tool schemas")
    try:
        for tool in tools:
            check_arguments({}, tool)
    except ValueError as error:
        raise InputError(f"{source}: {error}") from error
    return tools


def _from_attribute(module: str, attribute: str) -> list[Tool]:
    try:
        found = import_module(module)
    except (ImportError, ValueError, TypeError) as error:
        raise InputError(f"can't import {module!r} ({error}): write module:attribute") from error
    if not hasattr(found, attribute):
        raise InputError(f"{module} has no {attribute!r}: {did_you_mean(attribute, list(vars(found)))}")
    try:
        return _of_object(getattr(found, attribute))
    except TypeError as error:
        raise InputError(f"{module}:{attribute}: {error}") from error


def _of_object(found: Any) -> list[Tool]:
    if isinstance(found, Toolset):
        return list(found.offered.values())
    if isinstance(found, Iterable) and not isinstance(found, (str, type)):
        return [_a_tool(part) for part in found]
    # A schema needs the methods only, so a class is shown without what its constructor asks for.
    return tools_of(object.__new__(found) if isinstance(found, type) else found)


def _a_tool(part: Any) -> Tool:
    if not isinstance(part, Tool):
        raise TypeError(f"expected a list of Tool, came an entry {part!r}")
    return part


def _from_file(path: Path) -> list[Tool]:
    if not path.is_file():
        raise InputError(f"{path} is no file: give module:attribute, or a JSON file with a list of OpenAI tool schemas")
    try:
        specs = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no JSON ({error})") from error
    if not isinstance(specs, list) or not all(isinstance(spec, dict) for spec in specs):
        raise InputError(f"{path}: expected a JSON list of OpenAI tool schemas, came {type(specs).__name__}")
    try:
        return [Tool.from_openai(spec) for spec in specs]
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error


def main(arguments: Sequence[str] | None = None) -> None:
    command = tyro.extras.subcommand_cli_from_dict(
        {"show": Show},
        prog="python -m tools",
        description="What can be called, and how a model sees it.",
        args=arguments,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    command()


if __name__ == "__main__":
    run(main)
