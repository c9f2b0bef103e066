"""What a person sees of a leaderboard: a row per policy; error codes as columns, or as rows where those don't fit.

Rates of errors are per 100 calls; `30.9 25.5..36.8` is a rate with its 95% interval.
Left out: the figures themselves (`eval.leaderboard`).
"""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from critics.rates import Measured, Rate
from eval.leaderboard import Leaderboard, Row
from tools import ErrorCode
from tools.screen import said

UNBOUNDED = 10_000
"""Columns that no table needs."""

ROWS_WITH_INTERVALS, ROWS_ABREAST = 3, 8
"""How many policies stand beside each other in 80 columns: with intervals, and with bare rates."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """A leaderboard as a table, with what it was made from below it."""

    board: Leaderboard

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        split = f", split {self.board.split}" if self.board.split else ""
        yield said(f"{self.board.env or 'world not known'}{split}", "bold")
        wide = self._table(codes=True)
        if Measurement.get(console, options.update(width=UNBOUNDED), wide).maximum <= options.max_width:
            yield wide
        else:
            yield self._table(codes=False)
            yield from self._codes_as_rows()
        yield Text()
        if self.board.best:
            yield Text("* best: its interval lies below all others", style="dim")
        elif len(self.board.rows) > 1:
            yield Text("no best: the first interval overlaps another", style="dim")

    def _table(self, *, codes: bool) -> Table:
        table = _table("", "policy")
        for heading in ("tasks", "calls", "invalid calls\nper 100", "success", "valid calls\nper task", "faults"):
            table.add_column(heading, justify="right", no_wrap=True)
        shown = _codes(self.board.rows) if codes else []
        for code, is_warning in shown:
            heading = _name(code, is_warning).replace("_", "\n").replace(" ", "\n")
            table.add_column(heading, justify="right", no_wrap=True)
        for place, row in enumerate(self.board.rows, 1):
            measured = row.measured
            mark = ("*", "bold green") if row is self.board.best else " "
            table.add_row(
                str(place),
                said(row.policy),
                str(measured.tasks),
                str(measured.calls),
                Text.assemble(_interval(measured.invalid_per_100), mark),
                _success(measured.success),
                f"{measured.valid_calls_per_task:.2f}",
                Text(str(measured.faults), style="yellow" if measured.faults else ""),
                *(_rate(measured, code, is_warning) for code, is_warning in shown),
            )
        return table

    def _codes_as_rows(self) -> Iterator[Table | Text]:
        """The rates by code: a row per code, a column per policy, as many abreast as fit."""
        rows, codes = self.board.rows, _codes(self.board.rows)
        with_intervals, named = len(rows) <= ROWS_WITH_INTERVALS, 1 < len(rows) <= ROWS_WITH_INTERVALS
        for first in range(0, len(rows) if codes else 0, ROWS_ABREAST):
            abreast = rows[first : first + ROWS_ABREAST]
            yield Text()
            table = _table("error, per 100 calls")
            for place, row in enumerate(abreast, first + 1):
                heading = Text.assemble(f"{place} ", said(row.policy)) if named else Text(str(place))
                table.add_column(heading, justify="right", overflow="fold", max_width=17)
            for code, is_warning in codes:
                cells = [_rate(row.measured, code, is_warning, interval=with_intervals) for row in abreast]
                table.add_row(_name(code, is_warning), *cells)
            yield table


def source(board: Leaderboard) -> Text:
    """What a leaderboard was made from and how to print it again: one line, to be copied whole."""
    counts = " + ".join(map(str, board.files.values()))
    command = shlex.join(["python", "-m", "eval", *map(str, board.files)])
    return Text.assemble((f"{counts} trajectories: ", "dim"), said(command))


def _table(*headings: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _codes(rows: Sequence[Row]) -> list[tuple[ErrorCode, bool]]:
    """The codes that occur, each with whether it is a guess; the errors first."""
    errors = [(code, False) for code in ErrorCode if any(code in row.measured.codes for row in rows)]
    return errors + [(code, True) for code in ErrorCode if any(code in row.measured.warnings for row in rows)]


def _name(code: ErrorCode, is_warning: bool) -> str:
    return f"{code} (guess)" if is_warning else str(code)


def _rate(measured: Measured, code: ErrorCode, is_warning: bool, *, interval: bool = False) -> Text:
    rate = (measured.warnings if is_warning else measured.codes).get(code)
    if rate is None:
        return Text("-", style="dim")
    return _interval(rate) if interval else Text(f"{rate.rate:.1f}")


def _interval(rate: Rate) -> Text:
    """A rate with its interval; a dash where there was nothing to have a rate of."""
    if rate.total == 0:
        return Text("-", style="dim")
    return Text.assemble(f"{rate.rate:.1f} ", (f"{rate.low:.1f}..{rate.high:.1f}", "dim"))


def _success(rate: Rate) -> Text:
    if rate.total == 0:
        return Text("-", style="dim")
    return Text.assemble(f"{rate.rate:.0%} ", (f"{100 * rate.low:.0f}..{100 * rate.high:.0f}", "dim"))
