"""What a person sees of a leaderboard: a row per policy; where that doesn't fit, error codes as rows, or everything.

Rates of errors are per 100 calls; `30.9 25.5..36.8` is a rate with its 95% interval.
Left out: the figures themselves (`eval.leaderboard`), and what they were made from (`eval.source`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from critics.rates import Rate
from eval.leaderboard import Leaderboard, Row
from eval.standing import LATE
from tools import ErrorCode
from tools.screen import said

UNBOUNDED = 10_000
"""Columns that no table needs."""

LABEL, WITH_INTERVAL, BARE = 24, 19, 7
"""How wide a label is, and a policy's column of rates with and without intervals."""
NAME = 10
"""A policy's name is folded, but not to less than this."""

INVALID, SUCCESS = "invalid calls\nper 100", "success"
"""The headings of what is shown beside each other in any case."""

Cell = Callable[[Row], Text]


@dataclass(frozen=True, slots=True)
class Ranking:
    """A leaderboard as a table."""

    board: Leaderboard

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        split = f", split {self.board.split}" if self.board.split else ""
        yield said(f"{self.board.env or 'world not known'}{split}", "bold")
        figures, codes, width = self._figures(), _codes(self.board), options.max_width
        fewer = {name: cell for name, cell in figures.items() if cell not in (_tokens, _cost)}
        least = {name: figures[name] for name in (INVALID, SUCCESS)}
        layouts = ((figures | _short(codes), 2), (figures, 2), (figures, 1), (fewer, 1), (least, 2), (least, 1))
        tables = [_by_policy(self.board.rows, columns, padding) for columns, padding in layouts]
        fits = (_width(table, console, options) <= width for table in tables)
        if (place := next((place for place, fit in enumerate(fits) if fit), None)) is not None:
            yield tables[place]
            left = {name: cell for name, cell in figures.items() if name not in layouts[place][0]}
            below = left | codes if place else {}
            yield from _by_figure(
                self.board.rows, below, "codes are per 100 calls" if left else "error, per 100 calls", width
            )
        else:
            yield from _by_figure(self.board.rows, figures | codes, "", width, always=True)
        yield Text()
        if self.board.best:
            yield Text("* best: its interval lies below all others", style="dim")
        elif len(self.board.rows) > 1:
            yield Text("no best: the first interval overlaps another", style="dim")

    def _figures(self) -> dict[str, Cell]:
        """The columns that stand before those of the error codes, by heading."""
        attempts = max((len(row.figures.passes) for row in self.board.rows), default=0)
        sampled = any(row.tokens_per_task for row in self.board.rows)
        priced = any(row.cost_per_task is not None for row in self.board.rows)
        return {
            "tasks": lambda row: Text(tasks_of(row)),
            "calls": lambda row: Text(str(row.measured.calls)),
            INVALID: lambda row: Text.assemble(
                _interval(row.measured.invalid_per_100), ("*", "bold green") if row is self.board.best else ""
            ),
            SUCCESS: lambda row: _success(row.measured.success),
            **({f"pass^{attempts}": lambda row: _all_pass(row, attempts)} if attempts > 1 else {}),
            **({"tokens\nper task": _tokens} if sampled else {}),
            **({"cost\nper task": _cost} if priced else {}),
            "valid calls\nper task": lambda row: Text(of_tasks(row, row.measured.valid_calls_per_task)),
            "faults": lambda row: Text(str(row.measured.faults), style="yellow" if row.measured.faults else ""),
        }


def _by_policy(rows: Sequence[Row], columns: Mapping[str, Cell], padding: int) -> Table:
    table = _table(padding=padding)
    table.add_column("")
    table.add_column("policy", overflow="fold", min_width=NAME)
    for heading in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    for place, row in enumerate(rows, 1):
        table.add_row(str(place), said(row.policy), *(cell(row) for cell in columns.values()))
    return table


def _by_figure(
    rows: Sequence[Row], figures: Mapping[str, Cell], label: str, width: int, *, always: bool = False
) -> Iterator[Table | Text]:
    """A row per figure, a column per policy, as many abreast as fit: bare rates where that saves a table, unless there
    are to be intervals `always`."""
    fit = max(1, (width - LABEL) // WITH_INTERVAL)
    with_intervals = always or len(rows) <= fit
    fit = fit if with_intervals else max(1, (width - LABEL) // BARE)
    for first in range(0, len(rows) if figures else 0, fit):
        abreast = rows[first : first + fit]
        yield Text()
        table = _table(label)
        for place, row in enumerate(abreast, first + 1):
            heading = Text.assemble(f"{place} ", said(row.policy)) if with_intervals else Text(str(place))
            table.add_column(heading, justify="right", overflow="fold", max_width=WITH_INTERVAL - 2)
        for name, cell in figures.items():
            cells = (cell(row) for row in abreast)
            shown = cells if with_intervals else (Text(text.plain.partition(" ")[0], text.style) for text in cells)
            table.add_row(name.replace("\n", " "), *shown)
        yield table


@dataclass(frozen=True, slots=True)
class Grouped:
    """Invalid calls per 100, by the number of the turn or by how many tools were offered."""

    board: Leaderboard
    by: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        numbers = sorted({number for row in self.board.rows for number in row.figures.groups[self.by]})
        label = f"{'turn' if self.by == 'turn' else 'tools offered'}, invalid per 100 calls"
        yield from _by_figure(
            self.board.rows,
            {group_name(self.by, number): self._cell(number) for number in numbers},
            label,
            options.max_width,
        )

    def _cell(self, number: int) -> Cell:
        def cell(row: Row) -> Text:
            rate = row.figures.groups[self.by].get(number)
            return _interval(rate) if rate else Text("-", style="dim")

        return cell


def group_name(by: str, number: int) -> str:
    return f"{number} and later" if by == "turn" and number == LATE else str(number)


def _table(*headings: str, padding: int = 2) -> Table:
    table = Table(box=None, padding=(0, padding, 0, 0), header_style="dim")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _width(table: Table, console: Console, options: ConsoleOptions) -> int:
    """How wide a table is with its policies' names folded as far as they may be."""
    wide = options.update(width=UNBOUNDED)
    widest = max((Measurement.get(console, wide, cell).maximum for cell in table.columns[1].cells), default=0)
    return Measurement.get(console, wide, table).maximum - max(0, widest - NAME)


def _codes(board: Leaderboard) -> dict[str, Cell]:
    """The codes that occur, by name."""
    return {f"{code} (guess)" if guess else str(code): _rate(code, guess) for code, guess in board.codes}


def _short(codes: Mapping[str, Cell]) -> dict[str, Cell]:
    """Codes as columns: a word a line, and no intervals."""

    def bare(cell: Cell) -> Cell:
        def rate(row: Row) -> Text:
            text = cell(row)
            return Text(text.plain.partition(" ")[0], text.style)

        return rate

    return {name.replace("_", "\n").replace(" ", "\n"): bare(cell) for name, cell in codes.items()}


def _rate(code: ErrorCode, guess: bool) -> Cell:
    return lambda row: _interval(row.rate(code, guess=guess))


def _interval(rate: Rate) -> Text:
    """A rate with its interval; a dash where there was nothing to have a rate of."""
    if rate.total == 0:
        return Text("-", style="dim")
    return Text.assemble(f"{rate.rate:.1f} ", (f"{rate.low:.1f}..{rate.high:.1f}", "dim"))


def _success(rate: Rate) -> Text:
    if rate.total == 0:
        return Text("-", style="dim")
    return Text.assemble(f"{rate.rate:.0%} ", (f"{100 * rate.low:.0f}..{100 * rate.high:.0f}", "dim"))


def _all_pass(row: Row, k: int) -> Text:
    """pass^k; a dash where a task has fewer attempts."""
    found = [each.hat for each in row.figures.passes if each.k == k]
    return Text(f"{found[0]:.0%}") if found else Text("-", style="dim")


def _tokens(row: Row) -> Text:
    tokens = row.tokens_per_task
    return Text(f"{tokens:.0f}") if tokens else Text("-", style="dim")


def _cost(row: Row) -> Text:
    cost = row.cost_per_task
    return Text("-", style="dim") if cost is None else Text(f"{cost:.4g}")


def of_tasks(row: Row, mean: float) -> str:
    """A mean over trajectories; a dash where a fault ended them all."""
    return f"{mean:.2f}" if row.measured.tasks else "-"


def tasks_of(row: Row) -> str:
    """How many tasks, and how often each was tried: `20x4`, or `20x3.75` where that differs from task to task."""
    tried, tasks = row.measured.tasks, row.figures.tasks
    return str(tasks) if tried == tasks else f"{tasks}x{tried / tasks:.3g}"
