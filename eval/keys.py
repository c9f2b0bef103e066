"""Single keys from a terminal, by name: letters as they are, `left`, `pagedown`, `enter`, ...

Left out: terminals without termios, where nothing is asked of a person (`eval.replay` prints everything there).
"""

import codecs
import os
import re
import select
import sys
from types import TracebackType
from typing import Any

NAMES = {
    "\x1b[A": "up", "\x1b[B": "down", "\x1b[C": "right", "\x1b[D": "left",
    "\x1bOA": "up", "\x1bOB": "down", "\x1bOC": "right", "\x1bOD": "left",
    "\x1b[5~": "pageup", "\x1b[6~": "pagedown", "\x1b[H": "home", "\x1b[F": "end",
    "\r": "enter", "\n": "enter", "\x7f": "backspace", "\x08": "backspace", "\x1b": "escape", "\x04": "q", "\t": "tab",
}  # fmt: skip
_KEY = re.compile(r"\x1b\[[0-9;]*[A-Za-z~]|\x1bO.|.", re.DOTALL)


def keys_in(text: str) -> list[str]:
    """The names of the keys that a terminal sent; what has no name and can't be printed is left out."""
    names = (NAMES.get(part, part) for part in _KEY.findall(text))
    return [name for name in names if name.isprintable() and not name.startswith("\x1b")]


class Keyboard:
    """The terminal behind standard input, which gives its keys one by one while this is open."""

    def __init__(self) -> None:
        self.descriptor = sys.stdin.fileno()
        self.decoder = codecs.getincrementaldecoder("utf-8")("ignore")
        self.waiting: list[str] = []
        self.before: Any = None

    def __enter__(self) -> "Keyboard":
        import termios
        import tty

        self.before = termios.tcgetattr(self.descriptor)
        tty.setcbreak(self.descriptor)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        import termios

        termios.tcsetattr(self.descriptor, termios.TCSADRAIN, self.before)

    def read(self, seconds: float) -> str | None:
        """The next key; None where none came in time. `q` where the terminal is gone."""
        if not self.waiting and select.select([self.descriptor], [], [], seconds)[0]:
            sent = os.read(self.descriptor, 1024)
            if not sent:
                return "q"
            self.waiting = keys_in(self.decoder.decode(sent))
        return self.waiting.pop(0) if self.waiting else None
