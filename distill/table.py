"""A run's summary as a table: errors per 100 calls before and after, by code, and what must not fall with them."""

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tools.screen import said


def before_after(summary: Mapping[str, Any]) -> RenderableType:
    """The table of what `summary.json` holds. Raises KeyError or TypeError for what is no summary."""
    effect = ", ".join(f"{code} {share:.0%}" for code, share in summary["hint_effect"].items())
    return Group(
        said(f"errors per 100 calls on held-out tasks, {summary['rollouts']} rollouts, {summary['hint']} hints"),
        _errors(summary),
        said(f"corrections whose error at least halves under the hint: {effect or 'there were no corrections'}"),
        said(f"{summary['corrections']} corrections, {summary['admitted']} of them trained on"),
    )


def _errors(summary: Mapping[str, Any]) -> Table:
    before, after, held_out = summary["before"], summary["after"], summary["held_out_tools"]
    seen, unseen = (before, after), (held_out["before"], held_out["after"])
    table = Table(box=None, pad_edge=False)
    for heading in ("", "before", "after", "times fewer"):
        table.add_column(heading, justify="right" if heading else "left")
    codes = before["codes"] | after["codes"]
    for code in sorted(codes, key=lambda code: -float(codes[code]["rate"])):
        table.add_row(said(code), interval(before["codes"].get(code)), interval(after["codes"].get(code)))
    for label, pair, drop in (("invalid calls", seen, summary["drop"]), ("  held-out tools", unseen, held_out["drop"])):
        rates = (interval(figures["invalid_per_100"]) for figures in pair)
        table.add_row(Text(label, style="bold"), *rates, times(drop))
    for label, pair in (("success", seen), ("  held-out tools", unseen)):
        table.add_row(Text(label, style="bold"), *(interval(figures["success"], 100, "%") for figures in pair))
    valid = (f"{figures['valid_calls_per_task']:.2f}" for figures in seen)
    table.add_row(Text("valid calls per task", style="bold"), *valid)
    return table


def interval(rate: Mapping[str, float] | None, scale: float = 1.0, unit: str = "") -> Text:
    """A rate with its 95% interval; a dash where there is none."""
    if rate is None:
        return Text("-", style="dim")
    low, high = rate["low"] * scale, rate["high"] * scale
    return Text.assemble(f"{rate['rate'] * scale:.1f}{unit} ", (f"{low:.1f}..{high:.1f}", "dim"))


def times(ratio: Mapping[str, Any]) -> Text:
    """A ratio with its 95% interval, which may have no upper end."""
    high = "?" if ratio["high"] is None else f"{ratio['high']:.1f}"
    return Text.assemble(f"{ratio['ratio']:.1f} ", (f"{ratio['low']:.1f}..{high}", "dim"))
