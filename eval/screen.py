"""What a person sees of a trajectory: its opening, its turns with the errors marked in them, its end.

Everything from files goes in as `Text` and through `visible`, so that nothing in it is read as markup or moves the
cursor; what stands in the right column can't look like a label. Marks are `>>` and `<<`, so that they need no colours.
Left out: which turn is shown when (`eval.replay`).
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.highlighter import JSONHighlighter
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from critics.finding import NAME_CODES, WARNING, Finding, content_of, text_of
from critics.hints import joined
from critics.spans import Span
from envs.trajectory import Message, Trajectory, calls_of
from eval.film import Review
from eval.tokens import TokenView
from tools import Tool, ToolCall
from tools.screen import ToolTable, said

LABEL = 8
MOST_TOOLS = 12
SIDE_BY_SIDE = 72
"""With fewer columns two trajectories stand one above the other."""
MARKED, HINT, RIGHT = "bold red reverse", "yellow", "green"


@dataclass(frozen=True, slots=True)
class Opening:
    """What a trajectory is of, and what was said before its first turn; long texts and lists are cut at `longest`."""

    review: Review
    longest: int | None = None
    unfolded: bool = False

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        trajectory = self.review.trajectory
        grid = _grid()
        grid.add_row("id", said(trajectory.id, "bold"))
        for label, text in (("task", _task(trajectory)), ("policy", trajectory.policy), ("tools", self._tools())):
            if text:
                grid.add_row(label, said(text))
        grid.add_row("found", _found(self.review.findings))
        first = self.review.turns[0] if self.review.turns else len(trajectory.messages)
        for message in trajectory.messages[:first]:
            grid.add_row(*_heard(message, self.longest))
        yield Rule(f"trajectory {self.review.number + 1}", align="left", style="dim")
        yield grid
        if self.unfolded:
            yield Text()
            yield ToolTable(_offered(trajectory))

    def _tools(self) -> str:
        names = [str(tool.get("function", tool).get("name")) for tool in self.review.trajectory.tools]
        shown = names if self.longest is None else names[:MOST_TOOLS]
        return f"{len(names)}: {', '.join(shown)}{', ...' if len(shown) < len(names) else ''}" if names else "none"


@dataclass(frozen=True, slots=True)
class TurnView:
    """One turn: the hint above it, what the model wrote with the errors marked, what is wrong, what the world said."""

    review: Review
    turn: int
    longest: int | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        review, index = self.review, self.review.turns[self.turn]
        findings, scored = review.found(index), review.scored.get(index)
        grid = _grid()
        hint = scored.hint if scored else joined(finding.hint for finding in findings if finding.hint)
        if hint:
            place = "in the teacher's context only" if scored else "would be inserted here"
            grid.add_row(Text("hint", HINT), Text.assemble(said(hint, HINT), (f" ({place})", "dim")))
        grid.add_row(Text(f"turn {self.turn + 1}", "bold"), _written(review.trajectory, index, findings, self.longest))
        for finding in findings:
            grid.add_row("", _explained(review.trajectory, finding))
        if scored:
            grid.add_row("", TokenView(scored))
        for message in review.heard(self.turn):
            grid.add_row(*_heard(message, self.longest))
        yield Text()
        yield grid


@dataclass(frozen=True, slots=True)
class Ending:
    """How it came out. A finding that stands at no turn is named here."""

    review: Review

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        trajectory = self.review.trajectory
        grid = _grid()
        for finding in self.review.findings:
            if finding.message_index not in self.review.turns:
                grid.add_row("", _explained(trajectory, finding))
        stopped = said(trajectory.stop_reason)
        if trajectory.env:
            solved = ("solved", RIGHT) if trajectory.success else ("not solved", "red")
            stopped = Text.assemble(solved, f", reward {trajectory.reward:g}, ", stopped)
        grid.add_row("end", stopped)
        yield Text()
        yield grid


@dataclass(frozen=True, slots=True)
class Pair:
    """The same task before and after, side by side where there is room, else one above the other."""

    before: Review
    after: Review | None
    longest: int | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Opening(self.before, self.longest)
        sides = [Group(Text("before", "bold"), *_acted(self.before, self.longest))]
        if self.after is None:
            sides.append(Group(Text("after", "bold"), Text("this task is not in the other file", "dim")))
        else:
            policy = said(f" {self.after.trajectory.policy}", "dim")
            sides.append(Group(Text("after", "bold") + policy, *_acted(self.after, self.longest)))
        yield Text()
        if options.max_width < SIDE_BY_SIDE:
            yield from sides
            return
        grid = Table.grid(padding=(0, 2, 0, 0), expand=True)
        grid.add_column(ratio=1)
        grid.add_column(ratio=1)
        grid.add_row(*sides)
        yield grid


def _acted(review: Review, longest: int | None) -> list[RenderableType]:
    return [*(TurnView(review, turn, longest) for turn in range(len(review.turns))), Ending(review)]


def marked(text: str, spans: Iterable[Span], *, longest: int | None = None) -> Text:
    """The text with `>>` where a span starts and `<<` where it ends; what is within any span is styled.

    Between two marks at most `longest` characters are shown.
    """
    whole = sorted({(min(start, len(text)), min(end, len(text))) for start, end in spans})
    places = sorted({0, len(text), *(place for span in whole for place in span)})
    shown, depth = Text(), 0
    for place, following in zip(places, [*places[1:], len(text)], strict=True):
        closing = sum(start < end == place for start, end in whole)
        opening = sum(start == place < end for start, end in whole)
        shown.append("<<" * closing + ">><<" * ((place, place) in whole) + ">>" * opening, MARKED)
        depth += opening - closing
        shown.append(shortened(text[place:following], longest, MARKED if depth else ""))
    return shown


def shortened(text: str, longest: int | None, style: str = "") -> Text:
    """The text, without its middle if it has more than `longest` characters."""
    if longest is None or len(text) <= longest:
        return said(text, style)
    half = longest // 2
    left_out = f" ... {len(text) - 2 * half:,} characters ... "
    return Text.assemble(said(text[:half], style), (left_out, "dim"), said(text[-half:], style))


def _offered(trajectory: Trajectory) -> Iterator[Tool]:
    for tool in trajectory.tools:
        with suppress(ValueError):
            yield Tool.from_openai(tool)


def _grid() -> Table:
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(width=LABEL, style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    return grid


def _task(trajectory: Trajectory) -> str:
    parts = [trajectory.env] if trajectory.env else []
    for key in ("split", "seed", "family"):
        if key in trajectory.task:
            parts.append(f"{key} {trajectory.task[key]}")
    return ", ".join(parts)


def _found(findings: Sequence[Finding]) -> Text:
    codes = [f"{finding.code}{' (guess)' * (finding.confidence == WARNING)}" for finding in findings]
    counts = {code: codes.count(code) for code in codes}
    words = [code if number == 1 else f"{code} x{number}" for code, number in counts.items()]
    return Text(", ".join(words), "red") if words else Text("nothing wrong", RIGHT)


def _heard(message: Message, longest: int | None) -> tuple[Text, Text]:
    """What came from the world or the user, with a label."""
    is_error = bool(message.get("is_error"))
    role = str(message.get("role"))
    label = ("error" if is_error else "result") if role == "tool" else role
    style = "red" if is_error else "bold" if role == "user" else ""
    return said(label[:LABEL]), shortened(content_of(message), longest, style)


def _written(trajectory: Trajectory, index: int, findings: Sequence[Finding], longest: int | None) -> Text:
    """The turn's raw text where it is known; else what it says, and a line for each call."""
    placed = [finding for finding in findings if not _is_whole_turn(trajectory, finding)]
    number = trajectory.turn_at(index)
    if number is not None:
        raw = trajectory.turns[number].raw
        return _as_json(marked(raw, (finding.span for finding in placed), longest=longest))
    message = trajectory.messages[index]
    spans = (finding.span for finding in placed if finding.call_index is None)
    lines = [marked(content_of(message), spans, longest=longest)]
    for place, part in enumerate(calls_of(message)):
        call = ToolCall.from_openai(part)
        here = [finding for finding in placed if finding.call_index == place]
        names = (finding.span for finding in here if finding.code in NAME_CODES)
        arguments = (finding.span for finding in here if finding.code not in NAME_CODES)
        shown = _as_json(marked(call.arguments, arguments, longest=longest))
        lines.append(Text.assemble(marked(call.name, names), " ", shown))
    return Text("\n").join(line for line in lines if line) or Text("(empty)", "dim")


def _as_json(text: Text) -> Text:
    """The text with what is JSON in it highlighted, under the marks that are there."""
    shown = JSONHighlighter()(text)
    shown.spans = [*shown.spans[len(text.spans) :], *text.spans]
    return shown


def _is_whole_turn(trajectory: Trajectory, finding: Finding) -> bool:
    """Whether a finding is about all of its turn, so that marking a part of it would say nothing."""
    known = trajectory.turn_at(finding.message_index) is not None
    return (known or finding.call_index is None) and finding.span == (0, len(text_of(trajectory, finding)))


def _explained(trajectory: Trajectory, finding: Finding) -> Text:
    guess = " (a guess)" if finding.confidence == WARNING else ""
    where = ", the whole turn" if _is_whole_turn(trajectory, finding) else ""
    style = "bold yellow" if guess else "bold red"
    return Text.assemble((f"{finding.code}{guess}{where}: ", style), said(finding.explanation))
