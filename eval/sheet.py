"""Leaderboards for other programs and other pages: CSV, a Markdown table, an HTML page. A row is a policy.

Left out: JSON, which has everything (`eval.show`).
"""

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

from rich.console import Console, RenderableType
from rich.terminal_theme import DEFAULT_TERMINAL_THEME

from critics.rates import Rate
from eval.leaderboard import Leaderboard, Row
from tools import ErrorCode
from tools.screen import visible

Cells = dict[str, Any]


def to_csv(boards: Sequence[Leaderboard]) -> str:
    """A line a policy, with the ends of intervals in columns of their own. Rates are per 100 calls, success a share."""
    rows = [cells for board in boards for cells in _rows(board)]
    names = list(dict.fromkeys(name for cells in rows for name in cells))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _rows(board: Leaderboard) -> Iterator[Cells]:
    for row in board.rows:
        measured, figures = row.measured, row.figures
        cells: Cells = {"env": board.env, "split": board.split, "policy": row.policy, "best": row is board.best}
        cells |= {"tasks": measured.tasks, "calls": measured.calls, "faults": measured.faults}
        cells |= _ends("invalid_per_100", measured.invalid_per_100) | _ends("success", measured.success)
        for each in figures.passes:
            cells |= {f"pass@{each.k}": each.at, f"pass^{each.k}": each.hat}
        cells["valid_calls_per_task"] = measured.valid_calls_per_task
        cells |= {"calls_per_task": figures.calls_per_task, "tokens_per_task": figures.tokens_per_task}
        for code, rate in measured.codes.items():
            cells |= _ends(str(code), rate)
        yield cells


def _ends(name: str, rate: Rate) -> Cells:
    return {name: rate.rate, f"{name}_low": rate.low, f"{name}_high": rate.high} if rate.total else {}


def to_markdown(boards: Sequence[Leaderboard], sources: Sequence[str]) -> str:
    """A table for each leaderboard, with what it was made from below it."""
    return "\n".join(_markdown(board, source) for board, source in zip(boards, sources, strict=True))


def _markdown(board: Leaderboard, source: str) -> str:
    codes = [code for code in ErrorCode if any(code in row.measured.codes for row in board.rows)]
    attempts = max((len(row.figures.passes) for row in board.rows), default=0)
    columns: Mapping[str, Callable[[Row], str]] = {
        "policy": lambda row: _plain(row.policy),
        "tasks": lambda row: str(row.measured.tasks),
        "calls": lambda row: str(row.measured.calls),
        "invalid calls per 100": lambda row: _bold(_shown(row.measured.invalid_per_100), row is board.best),
        "success %": lambda row: _shown(row.measured.success, 100),
        **({f"pass^{attempts} %": lambda row: _pass(row, attempts)} if attempts > 1 else {}),
        "valid calls per task": lambda row: f"{row.measured.valid_calls_per_task:.2f}",
        "faults": lambda row: str(row.measured.faults),
        **{str(code): _of_code(code) for code in codes},
    }
    lines = [f"**{_plain(board.env) or 'world not known'}**, split {_plain(board.split) or 'not known'}", ""]
    lines += [f"| {' | '.join(columns)} |", f"|---{'|---:' * (len(columns) - 1)}|"]
    lines += [f"| {' | '.join(cell(row) for cell in columns.values())} |" for row in board.rows]
    return "\n".join([*lines, "", *(f"    {line}" for line in source.splitlines()), ""])


def _of_code(code: ErrorCode) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        rate = row.measured.codes.get(code)
        return f"{rate.rate:.1f}" if rate else "-"

    return cell


def _plain(text: str) -> str:
    return visible(text).replace("|", "\\|").replace("\n", " ")


def _bold(text: str, is_best: bool) -> str:
    return f"**{text}**" if is_best else text


def _shown(rate: Rate, scale: float = 1.0) -> str:
    return f"{rate.rate * scale:.1f} ({rate.low * scale:.1f} to {rate.high * scale:.1f})" if rate.total else "-"


def _pass(row: Row, k: int) -> str:
    return next((f"{each.hat:.0%}".rstrip("%") for each in row.figures.passes if each.k == k), "-")


def to_html(parts: Sequence[RenderableType], *, title: str) -> str:
    """What a wide terminal would show, as one page that needs nothing else."""
    console = Console(
        record=True, width=160, file=io.StringIO(), highlight=False, emoji=False, color_system="truecolor"
    )
    for part in parts:
        console.print(part)
    body = console.export_html(theme=DEFAULT_TERMINAL_THEME, inline_styles=True)
    return body.replace("<head>", f'<head>\n<title>{escape(title)}</title>\n<meta name="viewport" content="width=640">')
