"""A person acts in a world: `python -m envs play store-v0 --seed 7`.

At a terminal there is a prompt with completion (tab) and history; from a pipe each line is read and shown.
"""

import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from rich.console import Console
from rich.text import Text

from envs.game import Game, Move
from envs.line import Command, completions, read_line
from envs.policies import ExpertPolicy, Policy, load_policy
from envs.resume import resume
from envs.screen import Help, Opening, Outcome, StateTables, move_text
from envs.trajectory import calls_of
from tools import Toolset
from tools.command import InputError, did_you_mean
from tools.screen import ToolTable, said

PROMPT = "> "


def play(game: Game, console: Console, lines: Iterable[str]) -> None:
    """Play until the lines end or the person quits."""
    player = _Player(game, console)
    player.open()
    for line in lines:
        if not line.strip():
            continue
        try:
            if not player.respond(line):
                return
        except InputError as error:
            console.print(said(str(error), "yellow"))


def typed_lines(toolset: Callable[[], Toolset], console: Console) -> Iterator[str]:
    """The lines of standard input: prompted for at a terminal, else shown as they are read."""
    if sys.stdin.isatty():
        _complete_from(toolset)
        with suppress(EOFError):
            while True:
                yield input(PROMPT)
        console.print()
        return
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
    for line in sys.stdin:
        console.print(Text.assemble((PROMPT, "dim"), said(line.rstrip("\n"))))
        yield line


class _Player:
    """A game and the console that it is played at."""

    def __init__(self, game: Game, console: Console) -> None:
        self.game, self.console = game, console
        self.policies: dict[str, Policy] = {}
        self.commands: dict[str, Callable[[str], None]] = {
            ":help": self._help,
            ":task": self._task,
            ":tools": self._tools,
            ":schema": self._schema,
            ":state": self._state,
            ":hint": self._hint,
            ":expert": self._expert,
            ":model": self._model,
            ":undo": self._undo,
            ":save": self._save,
        }

    def open(self) -> None:
        game = self.game
        self.console.print(Text(f"{game.env_id}, split {game.env.split}, task {game.seed}", style="bold"))
        self._task("")
        self.console.print()
        self._tools("")
        self.console.print()
        self.console.print(Text("Call a tool, write  answer TEXT  to speak, or :help", style="dim"))

    def respond(self, line: str) -> bool:
        """Do what a line says; False once the person wants to leave."""
        read = read_line(line, self.game.env.toolset, self.game.call_id)
        if not isinstance(read, Command):
            self._show(self.game.act(read))
        elif read.name == ":quit":
            return False
        else:
            self.commands[read.name](read.text)
        return True

    def _show(self, move: Move) -> None:
        self.console.print(Outcome(move, self.game.env.errors, self.game.env.max_errors))

    def _help(self, _: str) -> None:
        self.console.print(Help(list(self.game.env.toolset.offered.values())))

    def _task(self, _: str) -> None:
        self.console.print(Opening(self.game.opening))

    def _tools(self, _: str) -> None:
        self.console.print(ToolTable(self.game.env.toolset.offered.values()))

    def _schema(self, name: str) -> None:
        offered = self.game.env.toolset.offered
        if name not in offered:
            raise InputError(f"no tool {name!r}: {did_you_mean(name, list(offered))}")
        self.console.print(said(json.dumps(offered[name].to_openai()["function"], indent=2, ensure_ascii=False)))

    def _state(self, _: str) -> None:
        self.console.print(StateTables(self.game.env.state()))

    def _expert(self, _: str) -> None:
        self._show(self.game.let(ExpertPolicy()))

    def _hint(self, _: str) -> None:
        if self.game.ended:
            raise InputError("the episode has ended")
        calls = calls_of(self.game.env.expert_action())
        name = calls[0]["function"]["name"] if calls else None
        hint = f"call {name}; :schema {name} shows what it takes" if name else "all is done: write  answer TEXT"
        self.console.print(said(hint, "green"))

    def _model(self, name: str) -> None:
        name = name or "tiny"
        if name not in self.policies:
            self.policies[name] = load_policy(name)
        self._show(self.game.let(self.policies[name]))

    def _undo(self, _: str) -> None:
        undone = self.game.undo()
        self.console.print(Text.assemble(("undone: ", "dim"), said(move_text(undone.message))))

    def _save(self, name: str) -> None:
        if not name:
            raise InputError("give a file: write  :save FILE")
        path = Path(name).expanduser()
        task = self.game.trajectory().id.removesuffix("0")
        archive, ids = resume(path)
        with archive:
            archive.write(self.game.trajectory(sum(earlier.startswith(task) for earlier in ids)).to_json())
        self.console.print(said(f"saved in {path}"))


def _complete_from(toolset: Callable[[], Toolset]) -> None:
    """Let the tab key complete; without readline (Windows) it doesn't."""
    try:
        import readline
    except ImportError:
        return

    def complete(_: str, place: int) -> str | None:
        found = completions(readline.get_line_buffer()[: readline.get_endidx()], toolset())
        return found[place] if place < len(found) else None

    readline.set_completer_delims(" ")
    readline.set_completer(complete)
    libedit = "libedit" in (readline.__doc__ or "")
    readline.parse_and_bind("bind ^I rl_complete" if libedit else "tab: complete")
