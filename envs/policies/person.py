"""A person as the policy: each task comes up at the terminal, each line is a turn. `envs.line` says what may be typed.

Left out: what `python -m envs play` has beside it for one task: undo, the expert's hints, the state of the world.
"""

import json
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.text import Text

from envs.policies.base import Context, Reply
from envs.trajectory import Message
from tools import Toolset
from tools.command import InputError, did_you_mean
from tools.screen import ToolTable, said

COMMANDS = (":help", ":task", ":tools", ":schema", ":quit")
"""Those of `play` that only look, and the one that leaves."""


class PersonPolicy:
    """Asks the person at the terminal for each turn, one task after the other."""

    name = "human"
    largest_batch = 1

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, markup=False, emoji=False)
        self._toolset: Toolset | None = None
        self._lines: Iterator[str] | None = None

    def act(self, contexts: Sequence[Context]) -> list[Reply]:
        return [Reply(message=self._turn(context)) for context in contexts]

    def _turn(self, context: Context) -> Message:
        from envs.line import Command, read_line

        self._toolset = context.env.toolset
        self._show(context)
        for line in self._typed():
            if not line.strip():
                continue
            try:
                read = read_line(line, context.env.toolset, f"call_{context.env.turns}")
                if not isinstance(read, Command):
                    return read
                self._respond(read.name, read.text, context)
            except InputError as error:
                self.console.print(said(str(error), "yellow"))
        raise KeyboardInterrupt  # who leaves in the middle of a task keeps those that were finished

    def _typed(self) -> Iterator[str]:
        from envs.play import typed_lines

        if self._lines is None:
            self._lines = typed_lines(lambda: self._toolset or Toolset([]), self.console)
        return self._lines

    def _show(self, context: Context) -> None:
        """The task at its start; later what came since the person's last turn."""
        from envs.screen import Opening

        turns = [place for place, message in enumerate(context.messages) if message.get("role") == "assistant"]
        if turns:
            self.console.print(Opening(context.messages[turns[-1] + 1 :]))
            return
        self.console.print(Text(f"\n{context.id}", style="bold"))
        self._respond(":task", "", context)
        self._respond(":tools", "", context)
        self.console.print(Text("Call a tool, write  answer TEXT  to speak, or :help", style="dim"))

    def _respond(self, name: str, text: str, context: Context) -> None:
        from envs.screen import Opening

        offered = context.env.toolset.offered
        match name:
            case ":task":
                self.console.print(Opening([part for part in context.messages if part.get("role") != "assistant"][:2]))
            case ":tools":
                self.console.print(ToolTable(offered.values()))
            case ":schema" if text in offered:
                schema = offered[text].to_openai()["function"]
                self.console.print(said(json.dumps(schema, indent=2, ensure_ascii=False)))
            case ":schema":
                raise InputError(f"no tool {text!r}: {did_you_mean(text, list(offered))}")
            case ":help":
                self.console.print(said(f"a call (TOOL ARGUMENT=VALUE), answer TEXT, or one of {', '.join(COMMANDS)}"))
            case ":quit":
                raise KeyboardInterrupt
            case _:
                raise InputError(f"{name} is for python -m envs play; here there are {', '.join(COMMANDS)}")
