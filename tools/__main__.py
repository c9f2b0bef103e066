"""The command line of `tools`: look at tools as a model gets them, check calls against them, make one by hand.

    python -m tools show envs.store.tools:StoreTools
    python -m tools show my_tools.json --json        # a JSON list of tool schemas: OpenAI's, MCP's, Anthropic's, BFCL's
    python -m tools check my_tools.json calls.jsonl
    python -m tools call my_module:desk get_order order_id=417
    python -m tools show "mcp:python my_server.py"   # or the URL of an MCP server

Left out: acting in a world, where calls have a task; `python -m envs play` does that.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from tools import byhand
from tools.command import run
from tools.source import callable_from, tools_from, toolset_from

Source = Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="SOURCE")]


@dataclass(frozen=True, slots=True)
class Show:
    """Show tools as a table, or with `--json` as schemas."""

    source: Source
    """module:attribute (a class or an object with @tool methods, a @tool function, a list of them, a Toolset), a
    module, a JSON file of tool schemas, or an MCP server: mcp:COMMAND or its URL."""
    json: bool = False
    """Write the schemas as JSON."""
    form: byhand.Form = "openai"
    """Whose form the JSON has."""

    def __call__(self) -> int:
        return byhand.show(tools_from(self.source), as_json=self.json, form=self.form)


@dataclass(frozen=True, slots=True)
class Check:
    """Check a file of calls against tools. Exits with 1 if any is invalid."""

    source: Source
    """The tools, as for show."""
    calls: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="CALLS")]
    """A JSON or JSONL file: OpenAI tool_calls, bare {"name", "arguments"}, or messages; - is standard input."""
    json: bool = False
    """Write a JSON line per violation."""

    def __call__(self) -> int:
        return byhand.check(toolset_from(self.source), self.calls, as_json=self.json)


@dataclass(frozen=True, slots=True)
class Call:
    """Call a tool by hand. Exits with 1 if it answers with an error."""

    source: Source
    """The tools, as for show; of a class an object is made."""
    name: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="NAME")]
    """The tool's name."""
    arguments: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="ARGUMENTS")] = ()
    """A JSON object, or name=value for each argument (name:=JSON for exactly that)."""

    def __call__(self) -> int:
        with callable_from(self.source) as toolset:
            return byhand.call(toolset, self.name, self.arguments)


def main(arguments: Sequence[str] | None = None) -> int | None:
    command = tyro.extras.subcommand_cli_from_dict(
        {"show": Show, "check": Check, "call": Call},
        prog="python -m tools",
        description="What can be called, and how a model sees it.",
        args=arguments,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    code: int | None = command()
    return code


if __name__ == "__main__":
    run(main)
