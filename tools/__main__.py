"""The command line of `tools`: look at tools as a model gets them, check calls against them, make one by hand.

    python -m tools show envs.store.tools:StoreTools
    python -m tools show my_tools.json --json        # a JSON list of tool schemas: OpenAI's, MCP's, Anthropic's, BFCL's
    python -m tools check my_tools.json calls.jsonl
    python -m tools call my_module:desk get_order order_id=417

Left out: acting in a world, where calls have a task; `python -m envs play` does that.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console

from tools.call import ToolCall
from tools.command import InputError, run
from tools.dialects import to_mcp
from tools.line import properties_of, read_words
from tools.screen import Checked, ToolTable
from tools.source import calls_from, tools_from, toolset_from
from tools.toolset import InfrastructureFault

Source = Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="SOURCE")]


@dataclass(frozen=True, slots=True)
class Show:
    """Show tools as a table, or with `--json` as schemas."""

    source: Source
    """module:attribute (a class or an object with @tool methods, a @tool function, a list of them, a Toolset), a
    module, or a JSON file of tool schemas."""
    json: bool = False
    """Write the schemas as JSON."""
    form: Literal["openai", "mcp"] = "openai"
    """Whose form the JSON has."""

    def __call__(self) -> None:
        tools = tools_from(self.source)
        if self.json:
            written = [to_mcp(tool) if self.form == "mcp" else tool.to_openai() for tool in tools]
            print(json.dumps(written, indent=2, ensure_ascii=False))
        else:
            Console().print(ToolTable(tools))


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
        toolset = toolset_from(self.source)
        calls = calls_from(self.calls)
        if not calls:
            raise InputError(f"{self.calls} holds no tool calls")
        checked = [(call, toolset.check(call)[1]) for call in calls]
        if self.json:
            for number, (call, violations) in enumerate(checked):
                for violation in violations:
                    record = {"call": number, "id": call.id, "name": call.name, **violation.to_json()}
                    print(json.dumps(record))
        else:
            Console().print(Checked(checked))
        return int(any(violations for _, violations in checked))


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
        toolset = toolset_from(self.source, to_call=True)
        toolset.suggest = True
        tool = toolset.offered.get(self.name)
        if tool is not None and tool.function is None:
            raise InputError(f"{self.name} is a schema without a function: it can be checked, not called")
        arguments = self._text(properties_of(tool.parameters) if tool else {})
        try:
            result = toolset.call(ToolCall(id="call_0", name=self.name, arguments=arguments))
        except InfrastructureFault as error:
            print(f"infrastructure_fault: {error}", file=sys.stderr)
            return 1
        print(json.dumps(json.loads(result.content), indent=2, ensure_ascii=False))
        return int(result.is_error)

    def _text(self, properties: dict[str, Any]) -> str:
        if len(self.arguments) == 1 and self.arguments[0].lstrip().startswith(("{", "[")):
            return self.arguments[0]
        return json.dumps(read_words(list(self.arguments), properties))


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
