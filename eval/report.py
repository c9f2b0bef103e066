"""One HTML file about a run: what went wrong how often, before and after, and what the hints did to which tokens.

Everything is in the file: no scripts, no fonts, no network. Figures are those of `summary.json` where it has them.
Left out: how the page looks (`eval/templates/`), the charts (`eval.charts`), what a run folder holds (`eval.record`).
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from markupsafe import Markup

from critics.finding import Criticized, content_of
from critics.rates import measure
from distill.table import interval, signed, times
from eval.charts import Curve, Point, before_after, curves, falls
from eval.film import Film
from eval.record import Hinted, Instructive, Record
from eval.substitution import NO_ERROR, substitution
from eval.tokens import flat, probability, shown_choices
from tools.command import InputError
from tools.screen import visible

MOST_CORRECTIONS, MOST_CODES, MOST_LINES = 10, 6, 60


def write(run: Path, out: Path, *, against: Sequence[Path] = ()) -> Path:
    """Write the report of a run; gives its path. Raises InputError for no run, or a place that can't be written."""
    return write_page(html(run, against=against), out)


def write_page(page: str, out: Path) -> Path:
    """Write a page; gives its path. Raises InputError for a place that can't be written."""
    try:
        out.write_text(page, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{out} can't be written: {error.strerror}") from error
    return out


def html(run: Path, *, against: Sequence[Path] = ()) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    record = Record.read(run)
    environment = Environment(
        loader=PackageLoader("eval"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "visible": visible,
        "flat": lambda text: visible(flat(text)),
        "breakable": _breakable,
        "probability": probability,
    }
    try:
        shown = sections(record, against)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{run} holds what this hintsight does not write ({error!r}): do the run again") from error
    page: str = environment.get_template("report.html.jinja").render(**shown)
    return page


def sections(record: Record, against: Sequence[Path] = ()) -> dict[str, Any]:
    """What the template shows, by name. A section without data is empty, and the page says so."""
    before, after = record.evaluation("before"), record.evaluation("after")
    summary = record.summary if record.summary and "before" in record.summary and "after" in record.summary else None
    figures: Mapping[str, Any] | None = summary
    if figures is None and before:
        figures = _so_far(before, after)
    hinted = Hinted.of(record, MOST_CORRECTIONS)
    config = record.manifest.get("config") or {}
    return {
        "name": record.name,
        "config": config,
        "dry": bool(config.get("dry_run")),
        "finished": record.summary is not None,
        "rounds": len(record.rounds),
        "headline": headline(figures) if figures and "after" in figures else [],
        "total": _total(record, [Record.read(path) for path in (*record.baselines(), *against)]),
        "by_code": list(_by_code(record)),
        "table": list(_table(figures)) if figures and "after" in figures else [],
        "dots": _dots(figures) if figures and "after" in figures else None,
        "matrix": _matrix(before, after),
        "hints": [_hint(code, pairs) for code, pairs in hinted.pairs.items()],
        "watched": list(_watched(record)),
        "undone": [(part["round"] + 1, part["undone"]) for part in record.rounds if part.get("undone")],
        "cost": list(_cost(record, hinted)),
        "corrections": _pictures(record, hinted.instructive),
        "manifest": [(key, _plain(value)) for key, value in record.manifest.items() if key != "config"],
        "options": [(key, _plain(value)) for key, value in config.items()],
    }


def _so_far(before: Sequence[Criticized], after: Sequence[Criticized]) -> Mapping[str, Any]:
    """The figures of a run that has no summary yet."""
    if not after:
        return {"before": measure(before).to_json()}
    from distill.summary import compared  # brings torch

    return compared(before, after)


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """A figure before and after, as it is read first."""

    label: str
    before: str
    after: str
    note: str


def headline(figures: Mapping[str, Any]) -> list[Headline]:
    before, after = figures["before"], figures["after"]
    return [
        Headline(
            label="invalid calls per 100",
            before=f"{before['invalid_per_100']['rate']:.1f}",
            after=f"{after['invalid_per_100']['rate']:.1f}",
            note="{} times fewer ({})".format(*times(figures["drop"]).plain.split()),
        ),
        Headline(
            label="tasks solved",
            before=f"{before['success']['rate']:.0%}",
            after=f"{after['success']['rate']:.0%}",
            note="{} points ({})".format(*signed(figures["difference"]["success"], 100).plain.split()),
        ),
        Headline(
            label="valid calls per task",
            before=f"{before['valid_calls_per_task']:.2f}",
            after=f"{after['valid_calls_per_task']:.2f}",
            note="it falls when a model merely stops acting",
        ),
    ]


def _point(rate: Mapping[str, float], scale: float = 1) -> Point:
    return Point(*(rate[part] * scale for part in ("rate", "low", "high")))


def _total(record: Record, others: Iterable[Record]) -> dict[str, Any] | None:
    """The rate of invalid calls by round, ours and the baselines'."""
    if not record.rounds:
        return None
    ours = Curve(
        name=record.name,
        kind="ours",
        points=[_point(part["invalid_per_100"]) for part in record.rounds],
        crossed=frozenset(part["round"] + 1 for part in record.rounds if part.get("undone")),
    )
    theirs = [
        Curve(
            name=other.name,
            kind=f"other other-{number % 3}",
            points=[_point(part["invalid_per_100"]) for part in other.rounds],
            band=False,
        )
        for number, other in enumerate(other for other in others if other.rounds)
    ]
    chart = curves(
        [*theirs, ours],
        title="Invalid calls per 100 by round",
        description=f"from {ours.points[0].y:.1f} in round 1 to {ours.points[-1].y:.1f} in round {len(ours.points)}",
        height=230,
    )
    longest = max(len(curve.points) for curve in (ours, *theirs))
    rows = [(curve.name, [f"{point.y:.1f}" for point in curve.points]) for curve in (ours, *theirs)]
    return {"chart": chart, "curves": [ours, *theirs], "rows": rows, "numbers": range(1, longest + 1)}


def _by_code(record: Record) -> Iterable[tuple[str, Markup]]:
    """A small chart for each of the most frequent codes."""
    totals: dict[str, float] = {}
    for part in record.rounds:
        for code, rate in part["codes"].items():
            totals[code] = totals.get(code, 0) + rate["rate"]
    nothing = {"rate": 0.0, "low": 0.0, "high": 0.0}
    for code in sorted(totals, key=lambda code: -totals[code])[:MOST_CODES]:
        points = [_point(part["codes"].get(code, nothing)) for part in record.rounds]
        described = f"from {points[0].y:.1f} to {points[-1].y:.1f}"
        chart = curves(
            [Curve(name=code, kind="ours", points=points)], title=f"{code} per 100 calls", description=described
        )
        yield code, chart


def _table(figures: Mapping[str, Any]) -> Iterable[tuple[str, list[str]]]:
    """The rows of before and after: label, before, after, difference, times fewer."""
    before, after, changes = figures["before"], figures["after"], figures["difference"]
    for code in _codes(figures):
        sides = (interval(side["codes"].get(code)).plain for side in (before, after))
        yield code, [*sides, signed(changes["codes"][code]).plain, ""]
    parts = [("", figures), *([(", held-out tools", figures["held_out_tools"])] if "held_out_tools" in figures else [])]
    for where, part in parts:
        sides = (interval(part[when]["invalid_per_100"]).plain for when in ("before", "after"))
        change, drop = signed(part["difference"]["invalid_per_100"]).plain, times(part["drop"]).plain
        yield f"invalid calls{where}", [*sides, change, drop]
    for where, part in parts:
        sides = (interval(part[when]["success"], 100, "%").plain for when in ("before", "after"))
        yield f"success{where}", [*sides, signed(part["difference"]["success"], 100, "%").plain, ""]
    for where, part in parts:
        sides = (f"{part[when]['valid_calls_per_task']:.2f}" for when in ("before", "after"))
        yield f"valid calls per task{where}", [*sides, "", ""]


def _codes(figures: Mapping[str, Any]) -> list[str]:
    before = figures["before"]["codes"]
    return sorted(figures["difference"]["codes"], key=lambda code: -float(before.get(code, {"rate": 0})["rate"]))


def _dots(figures: Mapping[str, Any]) -> Markup:
    rows: list[tuple[str, Point | None, Point | None]] = []
    for code in _codes(figures):
        was, is_ = (figures[when]["codes"].get(code) for when in ("before", "after"))
        rows.append((code, _point(was) if was else None, _point(is_) if is_ else None))
    described = "; ".join(f"{code} {_said(before)} to {_said(after)}" for code, before, after in rows)
    return before_after(rows, title="Errors per 100 calls before and after", description=described)


def _said(point: Point | None) -> str:
    return f"{point.y:.1f}" if point else "0"


def _matrix(before: Sequence[Criticized], after: Sequence[Criticized]) -> dict[str, Any] | None:
    """What became of the errors: rows before, columns after, each cell with its count and its share of its row."""
    theirs = {trajectory.id: (trajectory, found) for trajectory, found in after}
    pairs = [(part, theirs[part[0].id]) for part in before if part[0].id in theirs]
    if not pairs:
        return None
    counts = substitution([was for was, _ in pairs], [is_ for _, is_ in pairs])
    names = [*sorted({name for pair in counts for name in pair} - {NO_ERROR}), NO_ERROR]
    rows = []
    for was in names:
        total = sum(counts[was, is_] for is_ in names)
        if total:
            rows.append((was, [(counts[was, is_], counts[was, is_] / total) for is_ in names], total))
    return {"tasks": len(pairs), "names": names, "rows": rows, "no_error": NO_ERROR}


def _hint(code: str, pairs: Sequence[tuple[float, float]]) -> dict[str, Any]:
    plain, hinted = (median(side) for side in zip(*pairs, strict=True))
    halved = sum(after <= before / 2 for before, after in pairs) / len(pairs)
    shown = pairs[:: max(1, len(pairs) // MOST_LINES)][:MOST_LINES]
    title, described = f"Probability of the error, {code}", f"median {plain:.2f} without the hint, {hinted:.2f} with it"
    chart = falls(shown, title=title, description=described)
    return {"code": code, "errors": len(pairs), "plain": plain, "hinted": hinted, "halved": halved, "chart": chart}


def _watched(record: Record) -> Iterable[tuple[str, str, Markup]]:
    """What must not move with the errors: a label, what it is, and its course."""
    kinds = [
        ("tasks solved", "success", 1, "share of the rollouts' tasks that end as they should", True),
        ("valid calls per task", "valid_calls_per_task", 0, "falls when a model merely stops acting", False),
        (
            "divergence, right calls",
            "clean_divergence",
            0,
            "nats a token from the start model",
            False,
        ),
        ("divergence, final answers", "final_divergence", 0, "nats a token from the start model", False),
    ]
    for label, key, is_rate, note, share in kinds:
        known = [part[key] for part in record.rounds if part.get(key) is not None]
        if not known:
            continue
        points = [_point(value) if is_rate else Point(value, value, value) for value in known]
        described = f"from {points[0].y:.3g} to {points[-1].y:.3g}"
        curve = Curve(name=label, kind="ours", points=points, band=bool(is_rate))
        yield label, note, curves([curve], title=f"{label} by round", description=described, share=share)


def _cost(record: Record, hinted: Hinted) -> Iterable[tuple[str, str]]:
    summary = record.summary or {}
    rollouts = summary.get("rollouts", sum(part["tasks"] + part["faults"] for part in record.rounds))
    yield "rollouts", f"{rollouts:,}"
    if "seconds" in summary:
        yield "time", f"{summary['seconds']:,.0f} s on {record.manifest.get('device', 'an unknown device')}"
    for label, key in (("corrections", "corrections"), ("of them admitted", "admitted")):
        yield label, f"{summary.get(key, sum(part[key] for part in record.rounds)):,}"
    yield "steps of the optimizer", f"{sum(part['steps'] for part in record.rounds):,}"
    yield "tokens of hints", f"{hinted.hint_tokens:,}"
    yield "tokens of corrected turns", f"{hinted.target_tokens:,}"


def _pictures(record: Record, instructive: Sequence[Instructive]) -> list[dict[str, Any]]:
    """The corrections to look at, with what was asked for."""
    path = record.path / "trajectories.jsonl"
    film = Film(path) if instructive and path.is_file() and path.stat().st_size else None
    pictures = []
    for part in instructive:
        review = film.named(part.id) if film else None
        asked = (
            [m for m in review.trajectory.messages[: part.message_index] if m.get("role") == "user"] if review else []
        )
        scored = part.scored
        pictures.append(
            {
                "codes": ", ".join(scored.codes),
                "id": part.id,
                "request": content_of(asked[-1]) if asked else "",
                "hint": scored.hint,
                "tokens": scored.tokens,
                "error": scored.decisive,
                "choices": shown_choices(scored.choices),
            }
        )
    return pictures


def _breakable(name: str) -> Markup:
    """A name that a narrow page may break after its underscores."""
    return Markup("_<wbr>").join(visible(name).split("_"))


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
