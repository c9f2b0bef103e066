"""What a person sees of an episode: renderables for `rich`, and text of the world made safe for a terminal.

All text goes in as `Text`, so that nothing in it is read as markup, and through `visible`, so that nothing in it moves
the cursor. Left out: whether a terminal has colours and how wide it is, which is rich's to know.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from envs.env import State
from envs.game import PERSON, Change, Move
from envs.line import COMMANDS
from envs.trajectory import Message, StopReason, calls_of
from tools import ErrorCode, Tool
from tools.command import did_you_mean
from tools.screen import said


@dataclass(frozen=True, slots=True)
class Opening:
    """The messages that open an episode."""

    messages: Sequence[Message]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table = Table.grid(padding=(0, 2, 0, 0))
        for message in self.messages:
            style = "bold" if message["role"] == "user" else "dim"
            table.add_row(Text(message["role"], style="dim"), said(message["content"], style))
        yield table


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a turn: results or errors, changes of the world, and the end if it was one."""

    move: Move
    errors: int
    max_errors: int

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        move = self.move
        if move.by != PERSON:
            yield Text.assemble((f"{move.by}: ", "dim"), said(move_text(move.message)))
        for result, violations in zip(move.results, move.violations, strict=False):
            yield Padding(_errors(violations) if violations else _answer(result["content"]), (0, 0, 0, 2))
        for change in move.changes:
            yield Padding(Text.assemble(("changed: ", "yellow"), said(_change(change))), (0, 0, 0, 2))
        for message in move.results[len(move.violations) :]:
            yield Text.assemble((f"{message['role']}: ", "dim"), said(message["content"], "bold"))
        if any(move.violations):
            yield Padding(Text(f"error {self.errors} of {self.max_errors}", style="dim"), (0, 0, 0, 2))
        if move.stop_reason is not None:
            yield _ending(move, move.stop_reason)


def move_text(message: Message) -> str:
    """A turn in a line: its calls, or its answer."""
    calls = [call["function"] for call in calls_of(message)]
    return "; ".join(f"{call['name']} {call['arguments']}" for call in calls) or f"answer {message.get('content')}"


def _answer(content: str) -> RenderableType:
    """A result as it came, but with texts of several lines below it, line by line."""
    try:
        record = json.loads(content)
    except (ValueError, RecursionError):
        return said(content)
    if not isinstance(record, dict):
        return said(content)
    texts = {name: text for name, text in record.items() if isinstance(text, str) and "\n" in text}
    if not texts:
        return said(content)
    short = {name: value for name, value in record.items() if name not in texts}
    parts: list[RenderableType] = [said(short)] if short else []
    for name, text in texts.items():
        parts += [Text.assemble(said(name, "dim"), ":"), Padding(said(text.rstrip("\n")), (0, 0, 0, 2))]
    return Group(*parts)


def _errors(violations: Sequence[Mapping[str, Any]]) -> RenderableType:
    table = Table.grid(padding=(0, 2, 0, 0))
    for violation in violations:
        table.add_row(Text(violation["code"], style="bold red"), Group(*_explained(violation)))
    return table


def _explained(violation: Mapping[str, Any]) -> Iterator[Text]:
    if violation["code"] == ErrorCode.DOMAIN_REJECTION:
        yield said(violation["expected"])
        return
    yield Text.assemble(("at        ", "dim"), said(violation["path"]))
    yield Text.assemble(("expected  ", "dim"), said(violation["expected"]))
    if violation["code"] != ErrorCode.MISSING_ARGUMENT:
        came = violation["came"] if isinstance(violation["came"], str) else json.dumps(violation["came"])
        shown = json.dumps(came, ensure_ascii=False) if isinstance(violation["came"], str) else came
        yield Text.assemble(("came      ", "dim"), said(shown))
        if violation.get("allowed"):
            wrong = came if violation["code"] != ErrorCode.UNEXPECTED_ARGUMENT else violation["path"].rpartition(".")[2]
            yield said(did_you_mean(wrong, [str(choice) for choice in violation["allowed"]]), "green")


def _change(change: Change) -> str:
    """`order 417: status open -> cancelled`, `new refund: order_id 417, amount 30`."""
    before, after = change.before, change.after
    if before is None or after is None:
        word, row = ("new", after) if before is None else ("gone", before)
        return f"{word} {change.table}: " + ", ".join(f"{name} {_value(value)}" for name, value in (row or {}).items())
    changed = [
        f"{name} {_value(before.get(name))} -> {_value(value)}"
        for name, value in after.items()
        if before.get(name) != value
    ]
    return f"{change.table} {_value(next(iter(after.values())))}: {', '.join(changed)}"


def _value(value: Any) -> str:
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _ending(move: Move, stop_reason: StopReason) -> Text:
    solved = ("solved", "bold green") if move.success else ("not solved", "bold red")
    return Text.assemble(solved, f": reward {move.reward:g}, {stop_reason}. :undo, :save FILE or :quit")


@dataclass(frozen=True, slots=True)
class StateTables:
    """The state of the world, a table per table."""

    state: State

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if not self.state:
            yield Text("this world doesn't show its state")
        for name, rows in self.state.items():
            if not rows:
                yield Text.assemble(said(name, "bold"), (": empty", "dim"))
                continue
            table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False)
            for column in rows[0]:
                table.add_column(said(column, "dim"), overflow="fold")
            for row in rows:
                table.add_row(*(said(_value(value)) for value in row.values()))
            yield Group(said(name, "bold"), Padding(table, (0, 0, 0, 2)))


@dataclass(frozen=True, slots=True)
class Help:
    """How to act. The examples use tools and arguments of this very episode."""

    tools: Sequence[Tool]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table = Table.grid(padding=(0, 2, 0, 0))
        for typed, meaning in [*self._ways(), *COMMANDS.items()]:
            table.add_row(said(typed, "bold"), Text(meaning))
        yield table

    def _ways(self) -> Iterator[tuple[str, str]]:
        tool = next((tool for tool in self.tools if tool.required), None)
        name, argument = (tool.name, tool.required[0]) if tool else ("TOOL", "ARGUMENT")
        yield f"{name} {argument}=7", "call a tool; the value becomes what its schema asks for"
        yield f'{name} {argument}="7"', "in quotes it stays text"
        yield f"{name} {argument}:=7", "exactly this JSON"
        yield f'{{"name": "{name}", "arguments": {{...}}}}', "the whole call in JSON"
        yield "answer TEXT", "answer the user, which ends the episode unless there is more to come"
