"""Tools and text from outside as renderables for `rich`, made safe for a terminal.

All text goes in as `Text`, so that nothing in it is read as markup, and through `visible`, so that nothing in it moves
the cursor.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from tools.call import ToolCall, Violation, shown
from tools.line import properties_of
from tools.schema import Tool


def visible(text: str) -> str:
    """The text with control characters, other than line ends, written as escapes."""
    return "".join(char if char.isprintable() or char == "\n" else _escape(char) for char in text)


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode()


def said(text: Any, style: str = "") -> Text:
    """Text from the world, or any JSON value, as a renderable."""
    return Text(visible(text if isinstance(text, str) else json.dumps(text, ensure_ascii=False)), style=style)


@dataclass(frozen=True, slots=True)
class ToolTable:
    """Tools as rows, a line per argument. A function's access is known; a schema from a file doesn't tell it."""

    tools: Iterable[Tool]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False)
        for heading in ("tool", "arguments", "", "what it does"):
            table.add_column(Text(heading, style="dim"), overflow="fold")
        for tool in self.tools:
            access = Text(str(tool.access) if tool.function else "", style="dim")
            table.add_row(said(tool.name, "bold cyan"), _arguments(tool), access, said(tool.description))
        yield table


@dataclass(frozen=True, slots=True)
class Checked:
    """Calls with what is wrong with each: a line per violation, numbered as the calls come, and a sentence."""

    calls: Sequence[tuple[ToolCall, Sequence[Violation]]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False)
        for heading in ("call", "tool", "what is wrong", "where", "expected", "came"):
            table.add_column(Text(heading, style="dim"), overflow="fold")
        for number, (call, violations) in enumerate(self.calls):
            for violation in violations:
                name, code = said(shown(call.name), "bold cyan"), said(str(violation.code), "red")
                came = said(shown(violation.came, 60))
                table.add_row(str(number), name, code, said(shown(violation.path)), _expected(violation), came)
        invalid = sum(bool(violations) for _, violations in self.calls)
        if invalid:
            yield table
        yield Text(f"{len(self.calls)} calls, {invalid or 'none'} invalid")


def _expected(violation: Violation) -> Text:
    text = said(shown(violation.expected))
    return text if violation.suggestion is None else text + said(f"; did you mean {violation.suggestion!r}?", "dim")


def _arguments(tool: Tool) -> Text:
    lines = []
    for name, schema in properties_of(tool.parameters).items():
        optional = "" if name in tool.required else f" ({_default(schema)})"
        lines.append(Text.assemble(said(name), ": ", said(_kind(schema), "dim"), optional))
    return Text("\n").join(lines) if lines else Text("none", style="dim")


def _default(schema: Any) -> str:
    return f"else {json.dumps(schema['default'])}" if isinstance(schema, dict) and "default" in schema else "optional"


def _kind(schema: Any) -> str:
    """What values a schema asks for, in a word or a few."""
    if not isinstance(schema, dict):
        return "any JSON"
    if "enum" in schema or "const" in schema:
        choices = schema.get("enum", [schema.get("const")])
        return " | ".join(choice if isinstance(choice, str) else json.dumps(choice) for choice in choices)
    if "anyOf" in schema:
        return " or ".join(map(_kind, schema["anyOf"]))
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items'))}"
    wanted = schema.get("type") or schema.get("$ref", "any JSON").rpartition("/")[2]
    return wanted if isinstance(wanted, str) else " or ".join(wanted)
