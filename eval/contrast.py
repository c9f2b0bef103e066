"""What a person sees of a comparison: errors, collateral damage, tasks that moved, which error became which.

Left out: the figures themselves (`eval.compare`).
"""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from critics.rates import Difference
from eval.compare import Change, Comparison, Moved
from eval.substitution import NO_ERROR
from tools.screen import said

MOST_TASKS = 5
"""So many tasks that moved are named; all are in --json."""
NARROW = 60
"""Below so many columns a table has no changes, only what was before and after."""


@dataclass(frozen=True, slots=True)
class Contrast:
    """A comparison as tables."""

    of: Comparison

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = options.max_width >= NARROW
        yield said(f"{self.of.policies[0]} -> {self.of.policies[1]}, {self.of.tasks} tasks", "bold")
        for line in self.of.differ:
            yield said(f"note: {line}", "yellow")
        yield Text()
        yield _changes("errors per 100 calls", self.of.errors, wide=wide)
        if wide:
            yield Text("p over tasks; among codes adjusted by Holm's method", style="dim")
        yield Text()
        yield _changes("what moved with it", self.of.collateral, wide=wide)
        yield self._shift()
        yield Text()
        yield from self._tasks()
        yield from self._matrix()

    def _shift(self) -> Text:
        moved, tokens = self.of.shift
        if not tokens:
            return Text("log-probs of right turns: not known on both sides in the same context", style="dim")
        word = "less" if moved > 0 else "more"
        nats = f"{abs(moved) / tokens:.4f} nats {word} probable"
        return Text(f"tokens of right turns that both wrote in the same context: {nats} ({tokens:.0f} tokens)")

    def _tasks(self) -> Iterator[Text]:
        for word, tasks in (("better", self.of.better), ("worse", self.of.worse)):
            named = ", ".join(map(_task, tasks[:MOST_TASKS]))
            more = f", and {len(tasks) - MOST_TASKS} more" if len(tasks) > MOST_TASKS else ""
            yield Text.assemble(f"{len(tasks)} tasks {word}", (f": {named}{more}" if tasks else "", "dim"))

    def _matrix(self) -> Iterator[Text | Table]:
        if not self.of.matrix:
            return
        yield Text()
        table = _table("error before", "became", "times")
        ordered = sorted(self.of.matrix.items(), key=lambda item: (item[0][0] == NO_ERROR, item[0][0], -item[1]))
        for (was, is_), count in ordered:
            table.add_row(said(was), said("the same" if was == is_ else is_), str(count))
        yield table


def source(comparison: Comparison) -> Text:
    """How to print it again: one line, to be copied whole."""
    command = shlex.join(["python", "-m", "eval", "compare", *map(str, comparison.paths)])
    return Text.assemble(("this again: ", "dim"), said(command))


def _task(moved: Moved) -> str:
    return said(f"{moved.task} ({moved.invalid[0]}->{moved.invalid[1]} invalid)").plain


def _changes(title: str, changes: Mapping[str, Change], *, wide: bool) -> Table:
    table = _table(title, "before", "after", *(["change", "p"] if wide else []))
    for name, part in changes.items():
        table.add_row(
            said(name),
            _number(part.before),
            _number(part.after),
            *([_difference(part.change), _p(part.p)] if wide else []),
        )
    return table


def _number(value: float | None) -> Text:
    return Text("-", style="dim") if value is None else Text(f"{value:.2f}")


def _difference(change: Difference | None) -> Text:
    if change is None:
        return Text("-", style="dim")
    return Text.assemble(f"{change.difference:+.2f} ", (f"{change.low:+.2f}..{change.high:+.2f}", "dim"))


def _p(value: float | None) -> Text:
    if value is None:
        return Text("-", style="dim")
    return Text("<0.001" if value < 0.001 else f"{value:.3f}", style="bold" if value < 0.05 else "")


def _table(first: str, *headings: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(first, overflow="fold")
    for heading in headings:
        table.add_column(heading, justify="right", overflow="fold")
    return table
