"""What a person sees of a critique: a table of rates, with one example of each error and its span marked.

Left out: the figures themselves (`critics.rates`), whole trajectories and comparisons (`eval`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from critics.finding import Finding, text_of
from critics.rates import Measured, Rate
from critics.spans import Span
from envs import Trajectory
from tools import ErrorCode
from tools.screen import visible

BEFORE, WITHIN, AFTER = 12, 32, 80


@dataclass(frozen=True, slots=True)
class Examples:
    """The first place of each code: a text and the span in it."""

    places: Mapping[ErrorCode, tuple[str, Span]]

    @classmethod
    def of(cls, criticized: Iterable[tuple[Trajectory, Sequence[Finding]]]) -> "Examples":
        places: dict[ErrorCode, tuple[str, Span]] = {}
        for trajectory, findings in criticized:
            for finding in findings:
                if finding.code not in places:
                    places[finding.code] = text_of(trajectory, finding), finding.span
        return cls(places)

    def shown(self, code: ErrorCode) -> Text:
        """The span between `>>` and `<<`, so that it is marked without colours too, and a little of what is around."""
        text, (start, end) = self.places.get(code, ("", (0, 0)))
        if not text:
            return Text("(a turn without text)", style="dim")
        within = text[start:end]
        if len(within) > WITHIN:
            within = f"{within[: WITHIN // 2]}...{within[-WITHIN // 2 :]}"
        return Text.assemble(
            _on_one_line(text[max(0, start - BEFORE) : start]),
            (f">>{_on_one_line(within)}<<", "bold red"),
            _on_one_line(text[end : end + AFTER]),
            no_wrap=True,
        )


def _on_one_line(text: str) -> str:
    return visible(text).replace("\n", r"\n")


@dataclass(frozen=True, slots=True)
class Report:
    """The figures of some trajectories: errors per 100 calls by code, warnings apart, and how much was done at all."""

    measured: Measured
    examples: Examples

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        measured = self.measured
        yield _table("error", [("invalid calls", measured.invalid_per_100), *measured.codes.items()])
        if measured.warnings:
            yield _table("warning (a guess)", measured.warnings.items())
        yield Text(self._done())
        codes = [*measured.codes, *measured.warnings]
        if codes:
            examples = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
            examples.add_column("for example", no_wrap=True)
            examples.add_column("", overflow="ellipsis")
            for code in codes:
                examples.add_row(code, self.examples.shown(code))
            yield examples

    def _done(self) -> str:
        measured, success = self.measured, self.measured.success
        solved = f"{success.rate:.1%} ({success.low:.1%} to {success.high:.1%})" if success.total else "not known"
        faults = f", and {measured.faults} with infrastructure faults, not counted" if measured.faults else ""
        return (
            f"{measured.tasks} tasks, {measured.calls} calls{faults}\n"
            f"success {solved}, valid calls per task {measured.valid_calls_per_task:.1f}"
        )


def _table(heading: str, rates: Iterable[tuple[str, Rate]]) -> Table:
    """Rates by code. The widths are fixed so that the columns of two tables stand under each other."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(heading, no_wrap=True, min_width=20)
    for name, width in (("count", 6), ("per 100 calls", 13), ("95% interval", 14)):
        table.add_column(name, justify="right", no_wrap=True, min_width=width)
    for name, rate in rates:
        table.add_row(name, str(rate.count), f"{rate.rate:.1f}", f"{rate.low:.1f} to {rate.high:.1f}")
    return table
