"""A run's summary as a table: errors per 100 calls before and after, by code, and what must not move with them."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tools.screen import said


def run_table(summary: Mapping[str, Any]) -> RenderableType:
    """The table of what `summary.json` holds. Raises KeyError or TypeError for what is no summary."""
    return Group(*(_hinted(summary) if summary.get("dry_run") else _before_after(summary)))


def _before_after(summary: Mapping[str, Any]) -> Iterator[RenderableType]:
    yield said(f"errors per 100 calls on held-out tasks, {summary['rollouts']} rollouts, {summary['hint']} hints")
    yield _errors(summary)
    clean, final = summary["clean_divergence"], summary["final_divergence"]
    yield said(f"divergence from the start model, nats a token: right calls {clean:.4f}, final answers {final:.4f}")
    effect = ", ".join(f"{code} {share:.0%}" for code, share in summary["hint_effect"].items())
    yield said(f"errors that at least halve in probability under the hint: {effect or 'there were no corrections'}")
    yield _corrections(summary)
    if watched := summary.get("watched"):
        first, last = watched[0], watched[-1]
        said_of = {"entropy": "entropy, nats a token", "turn_tokens": "tokens a turn", "gap": "the hint's gap, nats"}
        yield said("; ".join(f"{label}: {first[name]:.2g} to {last[name]:.2g}" for name, label in said_of.items()))
    for round_ in summary["undone"]:
        yield said(f"round {round_['round'] + 1} was undone: {'; '.join(round_['reasons'])}")


def _errors(summary: Mapping[str, Any]) -> Table:
    parts = [("", summary), ("  held-out tools", summary["held_out_tools"])]
    parts = [(label, compared) for label, compared in parts if compared["before"]["tasks"]]  # not all worlds have them
    before, after, changes = summary["before"], summary["after"], summary["difference"]
    table = _table("", "before", "after", "difference", "times fewer")
    for code in sorted(changes["codes"], key=lambda code: -float(before["codes"].get(code, {"rate": 0})["rate"])):
        rates = (interval(figures["codes"].get(code)) for figures in (before, after))
        table.add_row(said(code), *rates, signed(changes["codes"][code]))
    for label, compared in parts:
        rates = (interval(compared[when]["invalid_per_100"]) for when in ("before", "after"))
        change = signed(compared["difference"]["invalid_per_100"])
        table.add_row(Text(label or "invalid calls", style="bold"), *rates, change, times(compared["drop"]))
    for label, compared in parts:
        rates = (interval(compared[when]["success"], 100, "%") for when in ("before", "after"))
        table.add_row(
            Text(label or "success", style="bold"), *rates, signed(compared["difference"]["success"], 100, "%")
        )
    for label, compared in parts:
        valid = (f"{compared[when]['valid_calls_per_task']:.2f}" for when in ("before", "after"))
        table.add_row(Text(label or "valid calls per task", style="bold"), *valid)
    return table


def _hinted(summary: Mapping[str, Any]) -> Iterator[RenderableType]:
    yield said(f"a dry run: {summary['rollouts']} rollouts, {summary['hint']} hints, no update")
    table = _table("", "errors", "halved by the hint", "probability", "with the hint")
    for code, row in summary["hinted"].items():
        table.add_row(
            said(code), str(row["errors"]), f"{row['halved']:.0%}", f"{row['plain']:.2g}", f"{row['hinted']:.2g}"
        )
    yield table
    yield _corrections(summary)


def _corrections(summary: Mapping[str, Any]) -> Text:
    dropped = "".join(f"; {count} dropped: {reason}" for reason, count in summary["dropped"].items())
    return said(f"{summary['corrections']} corrections, {summary['admitted']} of them admitted{dropped}")


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    return table


def interval(rate: Mapping[str, float] | None, scale: float = 1.0, unit: str = "") -> Text:
    """A rate with its 95% interval; a dash where there is none."""
    if rate is None:
        return Text("-", style="dim")
    low, high = (_short(rate[end] * scale) for end in ("low", "high"))
    return Text.assemble(f"{rate['rate'] * scale:.1f}{unit} ", (f"{low}..{high}", "dim"))


def signed(change: Mapping[str, float], scale: float = 1.0, unit: str = "") -> Text:
    """A paired difference with its 95% interval."""
    low, high = (_short(change[end] * scale) for end in ("low", "high"))
    return Text.assemble(f"{change['difference'] * scale:+.1f}{unit} ", (f"{low}..{high}", "dim"))


def _short(end: float) -> str:
    """The end of an interval, to two digits or so."""
    return f"{end:.1f}" if abs(end) < 9.95 else f"{end:.0f}"


def times(ratio: Mapping[str, Any]) -> Text:
    """A ratio with its 95% interval, which may have no upper end."""
    high = "?" if ratio["high"] is None else _short(ratio["high"])
    return Text.assemble(f"{ratio['ratio']:.1f} ", (f"{_short(ratio['low'])}..{high}", "dim"))
