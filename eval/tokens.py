"""A turn's tokens with the probability that student and teacher give them, and what else could stand at the error.

Where there are colours the turn is shown twice, as the student and as the teacher sees it; where there are none the
numbers say it all. Left out: the same in a page (`eval.report`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from eval.scored import Choice, Scored, Token
from tools.screen import said

STEPS = ((0.1, "#1c1b1a on #ff8787"), (0.5, "#1c1b1a on #ffaf5f"), (0.9, "#1c1b1a on #ffff87"), (1.1, "green"))
"""The colour of a probability below a bound: the redder, the less the model would have said this."""
FELL, ROSE, QUIET = "red", "green", "dim"
MOST_CHOICES, LEAST = 6, 0.005
BAR = 12


@dataclass(frozen=True, slots=True)
class TokenView:
    """The picture of a correction."""

    scored: Scored

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        scored = self.scored
        if not scored.tokens:
            yield Text("its correction has no probabilities", QUIET)
            return
        if console.color_system and not console.no_color and scored.tokens[0].text:
            grid = Table.grid(padding=(0, 1, 0, 0))
            grid.add_column(style=QUIET, no_wrap=True)
            grid.add_column(overflow="fold")
            grid.add_row("student", _strip((token.text, token.plain, token.is_error) for token in scored.tokens))
            grid.add_row("teacher", _strip((token.text, token.hinted, token.is_error) for token in scored.tokens))
            grid.add_row("", _legend())
            yield grid
        yield _errors(scored)
        choices = shown_choices(scored.choices)
        if choices:
            yield _choices(choices, options)


def shown_choices(choices: Sequence[Choice]) -> list[Choice]:
    """The choices that are likely enough to be looked at."""
    return [choice for choice in choices if max(choice.plain or 0, choice.hinted or 0) >= LEAST][:MOST_CHOICES]


def probability(value: float) -> str:
    return f"{value:.2f}" if value >= 0.01 else "<0.01"


def flat(text: str) -> str:
    """The text on one line: a line end is written as an escape too."""
    return text.replace("\n", "\\n")


def _legend() -> Text:
    labels = ("<0.1", "<0.5", "<0.9", "likely")
    steps = [Text(label, style) for label, (_, style) in zip(labels, STEPS, strict=True)]
    return Text.assemble(("probability ", QUIET), Text(" ").join(steps))


def _strip(parts: Iterable[tuple[str, float, bool]]) -> Text:
    strip = Text()
    for text, value, is_error in parts:
        style = next(style for bound, style in STEPS if value < bound)
        strip.append_text(said(flat(text), f"{style} bold underline" if is_error else style))
    return strip


def _errors(scored: Scored) -> Text:
    """The error tokens that the hint moves, with their probability without and with it."""
    shown = [token for token in scored.errors if token is scored.decisive or abs(token.plain - token.hinted) >= 0.01]
    parts = [_change(token) for token in shown]
    label = "" if any(token.text for token in scored.errors) else "error tokens "
    unlearnt = Text("" if scored.admitted else ", not trained on", "yellow")
    return Text.assemble(("with the hint: ", QUIET), label, Text(", ").join(parts), unlearnt)


def _change(token: Token) -> Text:
    fell = token.hinted < token.plain
    return Text.assemble(
        said(f"{flat(token.text)} " if token.text else "", "bold"),
        f"{probability(token.plain)} -> ",
        (probability(token.hinted), ROSE if fell else FELL),
    )


def _choices(choices: Sequence[Choice], options: ConsoleOptions) -> Table:
    wide = options.max_width >= 60
    bar = BAR if wide else 0
    table = Table(box=None, padding=(0, 1 + wide, 0, 0), pad_edge=False, header_style=QUIET)
    table.add_column("at the error" if wide else "token", overflow="fold")
    table.add_column("student", no_wrap=True, min_width=6 + bar)
    table.add_column("with hint" if wide else "hint", no_wrap=True, min_width=6 + bar)
    for choice in choices:
        rose = (choice.hinted or 0) > (choice.plain or 0)
        cells = (
            _cell(value, ROSE if rose else FELL, bar, ascii_only=options.ascii_only)
            for value in (choice.plain, choice.hinted)
        )
        table.add_row(said(flat(choice.text), "bold"), *cells)
    return table


def _cell(value: float | None, style: str, width: int, *, ascii_only: bool) -> Text:
    """A probability with a bar in eighths of a column; a dash where it is not known, which means small."""
    if value is None:
        return Text("-", QUIET)
    eighths = round(value * width * 8)
    full, rest = divmod(eighths, 8)
    bar = "#" * round(value * width) if ascii_only else "█" * full + ("" if rest == 0 else " ▏▎▍▌▋▊▉"[rest])
    return Text.assemble(f"{probability(value):<6}", (bar, style))
