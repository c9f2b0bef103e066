"""Leaderboards for other programs and other pages: CSV, Markdown tables, an HTML page. A row is a policy.

Left out: JSON, which has everything (`eval.show`).
"""

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from critics.rates import Rate
from eval.leaderboard import Leaderboard, Row
from eval.ranking import group_name, of_tasks, tasks_of
from tools import ErrorCode
from tools.screen import visible

Cells = dict[str, Any]

BEST = " (best)"


def to_csv(boards: Sequence[Leaderboard], by: Sequence[str] = ()) -> str:
    """A line a policy, with the ends of intervals in columns of their own. Rates are per 100 calls, success a share;
    invalid calls by turn or by tools are in columns as `turn_1`."""
    rows = [cells for board in boards for cells in _rows(board, by)]
    names = list(dict.fromkeys(name for cells in rows for name in cells))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _rows(board: Leaderboard, by: Sequence[str]) -> Iterator[Cells]:
    for row in board.rows:
        measured, figures = row.measured, row.figures
        cells: Cells = {"env": board.env, "split": board.split, "policy": row.policy, "best": row is board.best}
        cells |= {"tasks": measured.tasks, "different_tasks": figures.tasks, "calls": measured.calls}
        cells |= {"faults": measured.faults}
        cells |= _ends("invalid_per_100", measured.invalid_per_100) | _ends("success", measured.success)
        for each in figures.passes:
            cells |= {f"pass@{each.k}": each.at, f"pass^{each.k}": each.hat}
        cells |= {"valid_calls_per_task": measured.valid_calls_per_task, "calls_per_task": figures.calls_per_task}
        cells |= {"tokens_per_task": row.tokens_per_task, "cost_per_task": row.cost_per_task}
        for code, guess in board.codes:
            cells |= _ends(f"{code}_guess" if guess else str(code), row.rate(code, guess=guess))
        for name in by:
            for number, rate in sorted(figures.groups[name].items()):
                cells |= _ends(f"{name}_{number}", rate)
        yield cells


def _ends(name: str, rate: Rate) -> Cells:
    return {name: rate.rate, f"{name}_low": rate.low, f"{name}_high": rate.high} if rate.total else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A table of texts. The first cell of a row is a policy's name."""

    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


def sheets(board: Leaderboard, by: Sequence[str] = ()) -> list[Sheet]:
    """A leaderboard as tables: its figures, its error codes, and invalid calls by what is named. Names are safe for a
    terminal."""
    place = f"{visible(board.env) or 'world not known'}, split {visible(board.split) or 'not known'}"
    codes = {f"{code} (guess)" if guess else str(code): _of_code(code, guess) for code, guess in board.codes}
    by_code = [_sheet("errors per 100 calls", board, codes)] if codes else []
    return [_sheet(place, board, _columns(board), mark=BEST), *by_code, *(_grouped(board, each) for each in by)]


def _sheet(caption: str, board: Leaderboard, columns: Mapping[str, Callable[[Row], str]], *, mark: str = "") -> Sheet:
    return Sheet(
        caption=caption,
        headings=["policy", *columns],
        rows=[
            [visible(row.policy) + (mark if row is board.best else ""), *(cell(row) for cell in columns.values())]
            for row in board.rows
        ],
    )


def _grouped(board: Leaderboard, by: str) -> Sheet:
    numbers = sorted({number for row in board.rows for number in row.figures.groups[by]})
    label = "turn" if by == "turn" else "tools offered"
    columns = {group_name(by, number): _of_group(by, number) for number in numbers}
    return _sheet(f"invalid calls per 100, by {label}", board, columns)


def _columns(board: Leaderboard) -> Mapping[str, Callable[[Row], str]]:
    rows = board.rows
    attempts = max((len(row.figures.passes) for row in rows), default=0)
    sampled = any(row.tokens_per_task is not None for row in rows)
    priced = any(row.cost_per_task is not None for row in rows)
    return {
        "tasks": tasks_of,
        "calls": lambda row: str(row.measured.calls),
        "invalid calls per 100": lambda row: _shown(row.measured.invalid_per_100),
        "success %": lambda row: _shown(row.measured.success, 100),
        **({f"pass^{attempts} %": lambda row: _pass(row, attempts)} if attempts > 1 else {}),
        "calls per task": lambda row: of_tasks(row, row.figures.calls_per_task),
        "valid calls per task": lambda row: of_tasks(row, row.measured.valid_calls_per_task),
        **({"tokens per task": lambda row: _number(row.tokens_per_task, ".0f")} if sampled else {}),
        **({"cost per task": lambda row: _number(row.cost_per_task, ".4g")} if priced else {}),
        "faults": lambda row: str(row.measured.faults),
    }


def _of_code(code: ErrorCode, guess: bool) -> Callable[[Row], str]:
    return lambda row: _shown(row.rate(code, guess=guess))


def _of_group(by: str, number: int) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        rate = row.figures.groups[by].get(number)
        return _shown(rate) if rate else "-"

    return cell


def _shown(rate: Rate, scale: float = 1.0) -> str:
    return f"{rate.rate * scale:.1f} ({rate.low * scale:.1f} to {rate.high * scale:.1f})" if rate.total else "-"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _pass(row: Row, k: int) -> str:
    return next((f"{100 * each.hat:.1f}" for each in row.figures.passes if each.k == k), "-")


def to_markdown(boards: Sequence[Leaderboard], sources: Sequence[Text], by: Sequence[str] = ()) -> str:
    """Tables for each leaderboard, with what it was made from below them."""
    parts = []
    for board, source in zip(boards, sources, strict=True):
        parts += [_markdown(sheet) for sheet in sheets(board, by)]
        parts.append("".join(f"    {line}\n" for line in source.plain.splitlines()))
    return "\n".join(parts)


def _markdown(sheet: Sheet) -> str:
    lines = [f"**{_plain(sheet.caption)}**", "", _line(sheet.headings), f"|---{'|---:' * (len(sheet.headings) - 1)}|"]
    lines += [_line([_plain(row[0]), *row[1:]]) for row in sheet.rows]
    return "\n".join([*lines, ""])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _plain(text: str) -> str:
    """A text that Markdown shows as it is, in one line."""
    return "".join(f"\\{char}" if char in "\\`*_[]<>|#~&" else char for char in text.replace("\n", " "))


def to_html(boards: Sequence[Leaderboard], sources: Sequence[Text], by: Sequence[str] = ()) -> str:
    """One page that needs nothing else."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("eval"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    groups = [
        (sheets(board, by), source.plain, board.best is not None, len(board.rows))
        for board, source in zip(boards, sources, strict=True)
    ]
    page: str = environment.get_template("leaderboard.html.jinja").render(groups=groups)
    return page
