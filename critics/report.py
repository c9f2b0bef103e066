"""What a person sees of an overview: rates, the worst tools and arguments, examples with their spans marked.

All of it fits 80 columns, says the same without colours, and has nothing in it that a terminal would obey. Left out:
the figures themselves (`critics.overview`), whole trajectories and comparisons (`eval`).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from critics.overview import Example, Overview, Worst
from critics.rates import Rate
from tools import ErrorCode
from tools.screen import visible

WORST = 8
"""So many of the worst tools and arguments are shown."""

UNREAD = 12
"""So many places that could not be read are shown."""

LONGEST = 300
"""An explanation or a hint is cut there."""


@dataclass(frozen=True, slots=True)
class Report:
    """An overview of some logs, errors first, warnings apart, what could not be read last."""

    overview: Overview

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        measured = self.overview.measured
        yield _rates("error", [("invalid calls", measured.invalid_per_100), *measured.codes.items()])
        if measured.warnings:
            yield _rates("warning (a guess)", measured.warnings.items())
        yield Text(self._done())
        yield from _worst_tools(self.overview.tools)
        yield from _worst_arguments(self.overview.arguments)
        for title, codes in (("for example", measured.codes), ("a warning, for example", measured.warnings)):
            examples = [example for code in codes for example in self.overview.examples.get(code, ())]
            if examples:
                yield Text(f"\n{title}", style="dim")
            yield from (part for example in examples for part in _example(example))
        yield from self._oddities()

    def _done(self) -> str:
        measured, success = self.overview.measured, self.overview.measured.success
        solved = f"{success.rate:.1%} ({success.low:.1%} to {success.high:.1%})" if success.total else "not known"
        faults = f", and {measured.faults} with infrastructure faults, not counted" if measured.faults else ""
        return (
            f"{measured.tasks} tasks, {measured.calls} calls{faults}\n"
            f"success {solved}, valid calls per task {measured.valid_calls_per_task:.1f}"
        )

    def _oddities(self) -> Iterator[RenderableType]:
        if self.overview.remarks:
            yield Text("\nabout the logs", style="dim")
        for remark in self.overview.remarks:
            yield _indented(f"{remark.text}: {remark.count}, first in {remark.first}")
        if not self.overview.unread:
            return
        yield Text(f"\nnot read: {self.overview.unread}", style="bold red")
        for part in self.overview.unreadable[:UNREAD]:
            yield _indented(f"{part.place}: {part.reason}")
        if self.overview.unread > UNREAD:
            yield _indented(
                f"... and {self.overview.unread - UNREAD} more; --json names {len(self.overview.unreadable)}"
            )


def _example(example: Example) -> Iterator[RenderableType]:
    """Where a finding is, the text with the span between `>>` and `<<`, what was expected, and the hint."""
    finding = example.finding
    call = "" if finding.call_index is None else f", call {finding.call_index}"
    path = f", {finding.path}" if finding.path else ""
    where = f"  {example.place}, {example.trajectory}, message {finding.message_index}{call}{path}"
    yield Padding(Text.assemble((str(finding.code), "bold"), _plain(where)), (0, 0, 0, 2), expand=False)
    if example.before or example.within or example.after:
        text = Text.assemble(
            _plain(example.before), (f">>{_plain(example.within)}<<", "bold red"), _plain(example.after), no_wrap=True
        )
        text.overflow = "ellipsis"
        yield Padding(text, (0, 0, 0, 4), expand=False)
    else:
        yield _indented("(a turn without text)", 4, "dim")
    yield _indented(finding.explanation, 4)
    if finding.hint:
        yield _indented(finding.hint, 4, "green")


def _indented(text: str, by: int = 2, style: str = "") -> Padding:
    short = text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
    return Padding(Text(_plain(short), style=style), (0, 0, 0, by), expand=False)


def _plain(text: str) -> str:
    """On one line, and without anything that a terminal would obey."""
    return visible(text).replace("\n", r"\n")


def _worst_tools(rows: Sequence[Worst]) -> Iterator[RenderableType]:
    table = _figures("worst tools", "95% interval")
    for row in rows[:WORST]:
        interval = f"{row.wrong.low:.1f} to {row.wrong.high:.1f}"
        table.add_row(Text(_plain(row.tool) or "(no name)"), *_counts(row.wrong), interval)
    yield from _with_the_rest(table, len(rows))


def _worst_arguments(rows: Sequence[Worst]) -> Iterator[RenderableType]:
    table = _figures("worst arguments", "error")
    for row in rows[:WORST]:
        table.add_row(Text(f"{_plain(row.tool)}\n  {_plain(row.argument)}"), *_counts(row.wrong), str(row.code))
    yield from _with_the_rest(table, len(rows))


def _figures(heading: str, last: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(heading, overflow="ellipsis", no_wrap=True, max_width=34)
    for title in ("wrong", "calls", "per 100"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column(last, no_wrap=True)
    return table


def _counts(rate: Rate) -> tuple[str, str, str]:
    return str(rate.count), str(rate.total), f"{rate.rate:.1f}"


def _with_the_rest(table: Table, rows: int) -> Iterator[RenderableType]:
    if rows:
        yield Text()
        yield table
    if rows > WORST:
        yield Text(f"... and {rows - WORST} more", style="dim")


def _rates(heading: str, rates: Iterable[tuple[str | ErrorCode, Rate]]) -> Table:
    """Rates by code. The widths are fixed so that the columns of two tables stand under each other."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(heading, no_wrap=True, min_width=20)
    for name, width in (("count", 6), ("per 100 calls", 13), ("95% interval", 14)):
        table.add_column(name, justify="right", no_wrap=True, min_width=width)
    for name, rate in rates:
        table.add_row(name, str(rate.count), f"{rate.rate:.1f}", f"{rate.low:.1f} to {rate.high:.1f}")
    return table
