"""Tools by hand: shown, checked against a file of calls, called. What `python -m tools` and `python -m envs tools` do.

Each command writes to the terminal and gives its exit code. Left out: where tools come from (`tools.source`).
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from rich.console import Console

from tools.call import ToolCall
from tools.command import InputError
from tools.dialects import to_mcp
from tools.line import properties_of, read_words
from tools.schema import Tool
from tools.screen import Checked, ToolTable
from tools.source import calls_from
from tools.toolset import InfrastructureFault, Toolset

Form = Literal["openai", "mcp"]


def show(tools: Iterable[Tool], *, as_json: bool, form: Form = "openai") -> int:
    """A table, or the schemas as JSON in somebody's form."""
    if as_json:
        written = [to_mcp(tool) if form == "mcp" else tool.to_openai() for tool in tools]
        print(json.dumps(written, indent=2, ensure_ascii=False))
    else:
        Console(highlight=False, markup=False, emoji=False).print(ToolTable(tools))
    return 0


def check(toolset: Toolset, source: str, *, as_json: bool) -> int:
    """Every violation of the calls in a file; 1 if there is any. Raises InputError for a file without calls."""
    calls = calls_from(source)
    if not calls:
        raise InputError(f"{source} holds no tool calls")
    checked = [(call, toolset.check(call)[1]) for call in calls]
    if as_json:
        for number, (call, violations) in enumerate(checked):
            for violation in violations:
                print(json.dumps({"call": number, "id": call.id, "name": call.name, **violation.to_json()}))
    else:
        Console().print(Checked(checked))
    return int(any(violations for _, violations in checked))


def call(toolset: Toolset, name: str, words: Sequence[str]) -> int:
    """Call a tool with arguments as a shell has taken them apart, or with one JSON object; 1 if it answers an error.

    Raises InputError for a tool that can't be called.
    """
    toolset.suggest = True
    tool = toolset.offered.get(name)
    if tool is not None and tool.function is None:
        raise InputError(f"{name} is a schema without a function: it can be checked, not called")
    arguments = _text(words, properties_of(tool.parameters) if tool else {})
    try:
        result = toolset.call(ToolCall(id="call_0", name=name, arguments=arguments))
    except InfrastructureFault as error:
        print(f"infrastructure_fault: {error}", file=sys.stderr)
        return 1
    print(json.dumps(json.loads(result.content), indent=2, ensure_ascii=False))
    return int(result.is_error)


def _text(words: Sequence[str], properties: Mapping[str, Any]) -> str:
    if len(words) == 1 and words[0].lstrip().startswith(("{", "[")):
        return words[0]
    return json.dumps(read_words(list(words), properties))
