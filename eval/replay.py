"""Trajectories turn by turn: at a terminal one turn at a time, key by key; in a pipe all of them.

    python -m eval replay runs/demo --errors
    python -m eval replay runs/demo --pairs
    python -m eval replay runs/tiny.jsonl --code nonexistent_tool | less

Left out: what a key does (`eval.player`), how a turn looks (`eval.screen`), files to send to others (`eval.export`).
"""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.control import Control
from rich.segment import Segment
from rich.text import Text

from eval.film import Film
from eval.keys import Keyboard
from eval.player import LONGEST, Films, Player, nothing
from eval.screen import Ending, Opening, Pair, TurnView
from tools.command import InputError
from tools.screen import said

MOST_SAID = 3
"""Lines of a status; what is longer is cut."""
LOOK = 0.5
"""Seconds after which a changed size of the terminal is noticed."""


def replay(
    film: Film,
    *,
    pairs: Films | None = None,
    paired: bool = False,
    longest: int | None = LONGEST,
    most: int | None = None,
) -> int:
    """Show a film, as the terminal or the pipe asks for; gives the exit code. Texts longer than `longest` are cut.

    In a pipe `most` trajectories are printed. Raises InputError for a file that can't be read further, and where no
    trajectory is of the wanted id or seed.
    """
    console = Console(highlight=False, markup=False, emoji=False)
    if console.is_terminal and sys.stdin.isatty() and sys.platform != "win32":
        player = Player(film, pairs=pairs, paired=paired, longest=longest)
        try:
            _play(player, console)
        except KeyboardInterrupt:
            return 130
        return 0
    before, after = pairs() if pairs and paired else (film, None)
    for part in everything(before, after, longest=longest, most=most):
        console.print(part)
    return 0


def everything(
    film: Film, after: Film | None = None, *, longest: int | None = LONGEST, most: int | None = None
) -> Iterator[RenderableType]:
    """All that is wanted of a film, part by part, or a sentence that there is none.

    With `after` each task is shown beside what was done of it there. Raises InputError where the wanted id or seed
    isn't in the file: a slip, not a finding.
    """
    none = True
    for review in islice(film.onwards(0), most):
        if not none:
            yield Text()
        none = False
        if after:
            yield Pair(review, after.named(review.trajectory.id), longest)
            continue
        yield Opening(review, longest)
        for turn in range(len(review.turns)):
            yield TurnView(review, turn, longest)
        yield Ending(review)
    if none and (film.wanted.id is not None or film.wanted.seed is not None):
        raise InputError(nothing(film))
    if none:
        yield said(nothing(film))


@dataclass(frozen=True, slots=True)
class Window:
    """As much of a player's frame as the terminal has lines for, and its status in the last ones."""

    player: Player

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        player, height = self.player, options.size.height
        status = player.status()
        status.truncate(options.max_width * (MOST_SAID if player.note else 1), overflow="ellipsis")
        foot = console.render_lines(status, options.reset_height(), pad=True)
        player.page = max(1, height - len(foot))
        lines = console.render_lines(player.frame(), options.reset_height(), pad=True)
        player.tall = len(lines)
        blank = [Segment(" " * options.max_width)]
        shown = lines[player.top : player.top + player.page]
        for line in [*shown, *[blank] * (player.page - len(shown)), *foot[:-1]]:
            yield from line
            yield Segment.line()
        yield from foot[-1]


def _play(player: Player, console: Console) -> None:
    with console.screen(hide_cursor=True), Keyboard() as keyboard:
        while True:
            size, began = console.size, time.monotonic()
            console.control(Control.home())
            console.print(Window(player), end="")
            key = None
            while key is None and console.size == size:
                key = keyboard.read(min(LOOK, player.pause or LOOK))
                if key is None and player.pause and time.monotonic() - began >= player.pause:
                    player.tick()
                    break
            if key and not player.press(key):
                return
