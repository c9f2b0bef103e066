"""Where a person is in a film, and what each key does; what is to be seen then.

Left out: the terminal that the keys come from and the frames go to (`eval.replay`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from rich.console import Group, RenderableType
from rich.text import Text

from eval.film import Film, Review
from eval.screen import Ending, Opening, Pair, TurnView
from tools.command import InputError
from tools.screen import said

LONGEST = 1_000
"""Characters of a text that are shown, unless all of it is asked for."""
HELP = """\
Enter space right n   next turn               down j  up k     scroll
left p                turn before             PgDn PgUp        scroll a page
e  E                  next, previous error    o                tools in full
t  T                  next, previous task     l                long texts in whole
g                     go to: 4, 12: or 12:4   s                before and after side by side
/                     search; empty: again    a                play by itself
f                     only one error code     + -              faster, slower
h ?                   this help               q                quit"""
SPEEDS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Turns a second when it plays by itself."""

Films = Callable[[], tuple[Film, Film]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a person is typing an answer to, letter by letter."""

    label: str
    answer: Callable[[str], None]
    typed: str = ""


class Player:
    """`press` does what a key says; `frame` and `status` are what is to be seen after it.

    `pairs` gives the same tasks before and after. Raises InputError where no trajectory is wanted.
    """

    def __init__(
        self, film: Film, *, pairs: Films | None = None, paired: bool = False, longest: int | None = LONGEST
    ) -> None:
        self.films: list[tuple[Film, Film | None]] = [pairs() if pairs and paired else (film, None)]
        self.pairs, self.longest = pairs, longest
        self.turn = self.top = self.tall = 0
        self.page = 20
        self.note, self.sought, self.speed = "", "", 2
        self.unfolded = self.playing = self.helping = False
        self.question: Question | None = None
        self.review = self._first()

    @property
    def film(self) -> Film:
        return self.films[-1][0]

    @property
    def beside(self) -> Film | None:
        return self.films[-1][1]

    @property
    def pause(self) -> float | None:
        """Seconds until the next turn comes by itself."""
        return 1 / SPEEDS[self.speed] if self.playing else None

    def frame(self) -> RenderableType:
        if self.helping:
            return Text(HELP)
        review = self.review
        if self.beside:
            return Pair(review, self.beside.named(review.trajectory.id), self.longest)
        parts: list[RenderableType] = []
        if self.turn == 0:
            parts.append(Opening(review, self.longest, self.unfolded))
        if review.turns:
            parts.append(TurnView(review, self.turn, self.longest))
        if self.turn >= len(review.turns) - 1:
            parts.append(Ending(review))
        return Group(*parts)

    def status(self) -> Text:
        if self.question:
            return said(f"{self.question.label}: {self.question.typed}_", "reverse")
        if self.note:
            return said(self.note, "yellow")
        turn = "before, after" if self.beside else f"turn {self.turn + 1}/{len(self.review.turns)}"
        parts = [f"trajectory {self.review.number + 1} ({self.film.share(self.review.number):.0%})", turn]
        parts += [part for part in (str(self.film.wanted),) if part]
        parts += [f"{SPEEDS[self.speed]:g} a second"] if self.playing else []
        parts += ["more below"] if self.top + self.page < self.tall else []
        return said(" | ".join([*parts, "h help"]), "reverse")

    def tick(self) -> None:
        """Time has passed: play on, and stop at the end."""
        try:
            self._next()
        except InputError:
            self.playing = False

    def press(self, key: str) -> bool:
        """Do what a key says; False where it says to quit."""
        self.note = ""
        try:
            if self.question:
                self._type(self.question, key)
            elif key in ("q", "escape"):
                return self._closes_help()
            else:
                self._do(key)
        except InputError as slip:
            self.note = str(slip)
        return True

    def _closes_help(self) -> bool:
        was, self.helping = self.helping, False
        return was

    def _do(self, key: str) -> None:
        self.helping = key in ("h", "?") and not self.helping
        match key:
            case "enter" | " " | "right" | "n":
                self._next()
            case "left" | "p":
                self._previous()
            case "e":
                self._to(self._errors(1), "there is no further error")
            case "E":
                self._to(self._errors(-1), "there is no error before this")
            case "t":
                self._to(self._beginnings(1), "this is the last trajectory")
            case "T":
                self._to(self._beginnings(-1), "this is the first trajectory")
            case "down" | "j" | "up" | "k" | "pagedown" | "pageup" | "home" | "end":
                self._scroll(key)
            case "g":
                self.question = Question(label="go to turn, trajectory: or trajectory:turn", answer=self._go_to)
            case "/":
                self.question = Question(label="search", answer=self._search)
            case "f":
                self.question = Question(label="only this error code (empty: all)", answer=self._filter)
            case "o" | "l" | "s" | "a" | "+" | "-":
                self._set(key)
            case "h" | "?":
                pass
            case _:
                raise InputError("h shows the keys")

    def _set(self, key: str) -> None:
        match key:
            case "o":
                self.unfolded, self.turn, self.top = not self.unfolded, 0, 0
            case "l":
                self.longest = LONGEST if self.longest is None else None
            case "s":
                self._side_by_side()
            case "a":
                self.playing = not self.playing
            case "+" | "-":
                self.speed = max(0, min(len(SPEEDS) - 1, self.speed + (1 if key == "+" else -1)))

    def _type(self, question: Question, key: str) -> None:
        match key:
            case "enter":
                self.question = None
                question.answer(question.typed.strip())
            case "escape":
                self.question = None
            case "backspace":
                self.question = replace(question, typed=question.typed[:-1])
            case _ if len(key) == 1:
                self.question = replace(question, typed=question.typed + key)

    def _scroll(self, key: str) -> None:
        step = {"down": 1, "j": 1, "up": -1, "k": -1, "pagedown": self.page, "pageup": -self.page}
        last = max(0, self.tall - self.page)
        self.top = 0 if key == "home" else max(0, min(last, self.top + step.get(key, last)))

    def _enter(self, review: Review, turn: int = 0) -> None:
        self.review, self.turn, self.top = review, turn, 0

    def _to(self, places: Iterator[tuple[Review, int]], nothing: str) -> None:
        place = next(places, None)
        if place is None:
            raise InputError(nothing)
        self._enter(*place)

    def _next(self) -> None:
        if not self.beside and self.turn + 1 < len(self.review.turns):
            self._enter(self.review, self.turn + 1)
        else:
            self._to(self._beginnings(1), "this is the last trajectory")

    def _previous(self) -> None:
        if not self.beside and self.turn > 0:
            self._enter(self.review, self.turn - 1)
            return
        earlier = next(self.film.onwards(self.review.number - 1, step=-1), None)
        if earlier is None:
            raise InputError("this is the first turn")
        self._enter(earlier, 0 if self.beside else max(0, len(earlier.turns) - 1))

    def _beginnings(self, step: int) -> Iterator[tuple[Review, int]]:
        return ((review, 0) for review in self.film.onwards(self.review.number + step, step))

    def _places(self, step: int) -> Iterator[tuple[Review, int]]:
        """Every turn from the one after this on, or from the one before back."""
        turns = self.review.turns
        if not self.beside:
            here = range(self.turn + 1, len(turns)) if step > 0 else range(self.turn - 1, -1, -1)
            yield from ((self.review, turn) for turn in here)
        for review in self.film.onwards(self.review.number + step, step):
            yield from ((review, turn) for turn in range(len(review.turns))[::step])

    def _errors(self, step: int) -> Iterator[tuple[Review, int]]:
        for review, turn in self._places(step):
            if any(map(self.film.wanted.is_error, review.found(review.turns[turn]))):
                yield review, turn

    def _search(self, text: str) -> None:
        self.sought = text or self.sought
        if self.sought:
            found = ((review, turn) for review, turn in self._places(1) if review.says(turn, self.sought))
            self._to(found, f"no later turn says {self.sought!r}")

    def _filter(self, code: str) -> None:
        before = self.film.wanted
        self.film.wanted = replace(before, code=code or None)
        found = next(self.film.onwards(0), None)
        if found is None:
            self.film.wanted = before
            raise InputError(f"no trajectory has {code}")
        self._enter(found)
        if code:
            self.turn = -1
            self._to(self._errors(1), f"no turn has {code}")

    def _go_to(self, text: str) -> None:
        trajectory, colon, turn = text.partition(":") if ":" in text else ("", "", text)
        if not all(part.strip().isdecimal() or not part.strip() for part in (trajectory, turn)) or not text:
            raise InputError("type 4 for turn 4, 12: for trajectory 12, 12:4 for turn 4 of it")
        review = self.review
        if colon and trajectory.strip():
            number = int(trajectory)
            found = self.film.review(number - 1) if number else None
            if found is None:
                raise InputError(f"there is no trajectory {number}: the file has {len(self.film.lines.places)}")
            review = found
        wanted = int(turn) if turn.strip() else 1
        if turn.strip() and not 1 <= wanted <= len(review.turns):
            raise InputError(f"there is no turn {wanted}: the trajectory has {len(review.turns)}")
        self._enter(review, wanted - 1)

    def _side_by_side(self) -> None:
        """To the evaluation before and after, or back to where that was asked for."""
        if len(self.films) > 1:
            self.films.pop()
        elif self.pairs is None:
            raise InputError("there is nothing to put beside it: give another file with --after, or a run folder")
        elif self.beside is None:
            self.films.append(self.pairs())
        else:
            raise InputError("before and after are what was asked for")
        self._enter(self._first())

    def _first(self) -> Review:
        found = next(self.film.onwards(0), None)
        if found is None:
            raise InputError(nothing(self.film))
        return found


def nothing(film: Film) -> str:
    """That no trajectory is wanted; where the task itself is not there, what ids and seeds there are."""
    wanted, total = film.wanted, len(film.lines.places)
    none = f"none of the {total:,} trajectories in {film.path} is one {wanted}"
    if wanted.id is None and wanted.seed is None:
        return none
    first = film.review(0)
    assert first is not None
    trajectory = first.trajectory
    return f"{none}; the first has id {trajectory.id!r} and seed {trajectory.task.get('seed')}"
