"""Trajectories turn by turn: at a terminal one turn at a time, in a pipe all of them.

    python -m eval replay runs/demo --errors
    python -m eval replay runs/tiny.jsonl --code nonexistent_tool | less

Left out: single keys (a command is a line), changing anything, comparing two trajectories of one task.
"""

import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress

from rich.console import Console, RenderableType
from rich.text import Text

from eval.film import Film, Review
from eval.screen import Ending, Opening, TurnView
from tools.command import InputError
from tools.screen import said

PROMPT = "> "
LONGEST = 1_000
"""Characters of a text that are shown, unless all of it is asked for."""
HELP = "Enter next turn, p previous, e next error, t next trajectory, g N, q quit"


def replay(film: Film, *, longest: int | None = LONGEST) -> int:
    """Show a film, as the terminal or the pipe asks for; gives the exit code. Texts longer than `longest` are cut.

    Raises InputError for a file that can't be read further, and where no trajectory is of the wanted id or seed.
    """
    console = Console(highlight=False, markup=False, emoji=False)
    if not (console.is_terminal and sys.stdin.isatty()):
        for part in everything(film, longest=longest):
            console.print(part)
        return 0
    try:
        Player(film, console, longest=longest).play(_typed(console))
    except KeyboardInterrupt:
        console.print()
        return 130
    return 0


def everything(film: Film, *, longest: int | None = LONGEST) -> Iterator[RenderableType]:
    """All that is wanted of a film, part by part, or a sentence that there is none."""
    nothing = True
    for review in film.onwards(0):
        if not nothing:
            yield Text()
        nothing = False
        yield Opening(review, longest)
        for turn in range(len(review.turns)):
            yield TurnView(review, turn, longest)
        yield Ending(review)
    if nothing:
        yield _nothing(film)


class Player:
    """Where a person is in a film: a trajectory and a turn of it."""

    def __init__(self, film: Film, console: Console, *, longest: int | None = LONGEST) -> None:
        self.film, self.console, self.longest = film, console, longest
        self.review: Review | None = next(film.onwards(0), None)
        self.turn = 0

    def play(self, lines: Iterable[str]) -> None:
        """Show the first turn, then what each line asks for, until the lines end or one says to quit."""
        if self.review is None:
            self.console.print(_nothing(self.film))
            return
        self._enter(self.review)
        self.console.print(Text(HELP, style="dim"))
        for line in lines:
            if line.strip() in ("q", "quit"):
                return
            try:
                self.respond(line.strip())
            except InputError as error:
                self.console.print(said(str(error), "yellow"))

    def respond(self, line: str) -> None:
        """Do what a line says. Raises InputError, with what to type instead, for a line that says nothing known."""
        review = self.review
        assert review is not None
        word, _, rest = line.partition(" ")
        match word:
            case "" | "n":
                self._next_turn(review)
            case "p":
                self._previous_turn(review)
            case "e":
                self._next_error(review)
            case "t":
                self._enter(self._later(review))
            case "g" if rest.strip().isdecimal():
                self._go_to(int(rest))
            case _:
                raise InputError(HELP)

    def _enter(self, review: Review, turn: int = 0) -> None:
        """Show a trajectory from its opening on."""
        self.review = review
        self.console.print(Opening(review, self.longest))
        self._show(review, turn)

    def _show(self, review: Review, turn: int) -> None:
        self.turn = turn
        if review.turns:
            self.console.print(TurnView(review, turn, self.longest))
        if turn >= len(review.turns) - 1:
            self.console.print(Ending(review))

    def _next_turn(self, review: Review) -> None:
        if self.turn + 1 < len(review.turns):
            self._show(review, self.turn + 1)
        else:
            self._enter(self._later(review))

    def _previous_turn(self, review: Review) -> None:
        if self.turn > 0:
            self._show(review, self.turn - 1)
            return
        earlier = next(self.film.onwards(review.number - 1, step=-1), None)
        if earlier is None:
            raise InputError("this is the first turn")
        self._enter(earlier, max(0, len(earlier.turns) - 1))

    def _next_error(self, review: Review) -> None:
        turn = self._error_from(review, self.turn + 1)
        if turn is not None:
            self._show(review, turn)
            return
        for later in self.film.onwards(review.number + 1):
            turn = self._error_from(later, 0)
            if turn is not None:
                self._enter(later, turn)
                return
        raise InputError("there is no further error")

    def _error_from(self, review: Review, first: int) -> int | None:
        """The first turn, from one on, with an error that is looked for."""
        for turn, message_index in enumerate(review.turns):
            if turn >= first and any(map(self.film.wanted.is_error, review.found(message_index))):
                return turn
        return None

    def _later(self, review: Review) -> Review:
        later = next(self.film.onwards(review.number + 1), None)
        if later is None:
            raise InputError("this is the last trajectory: p goes back, g N to another one, q quits")
        return later

    def _go_to(self, number: int) -> None:
        review = self.film.review(number - 1) if number else None
        if review is None:
            raise InputError(f"there is no trajectory {number}: the file has {len(self.film.lines.places)}")
        self._enter(review)


def _nothing(film: Film) -> Text:
    """That no trajectory is wanted. Raises InputError where the task itself is not there: a slip, not a finding."""
    wanted, total = film.wanted, len(film.lines.places)
    if wanted.id is None and wanted.seed is None:
        return said(f"none of the {total:,} trajectories in {film.path} is one {wanted}")
    first = film.review(0)
    assert first is not None
    raise InputError(
        f"none of the {total:,} trajectories in {film.path} is one {wanted}; "
        f"the first has id {first.trajectory.id!r} and seed {first.trajectory.task.get('seed')}"
    )


def _typed(console: Console) -> Iterator[str]:
    with suppress(EOFError):
        while True:
            yield input(PROMPT)
    console.print()
