"""Charts as SVG text: curves with bands, before and after as two dots with intervals, falls of probability.

Colours come from the page (classes), so that they follow its light or dark. Each has a title and a description for who
can't see it; the same figures stand in a table beside it. Left out: anything that moves, and any data.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import NamedTuple

from markupsafe import Markup, escape

WIDTH = 400
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 12, 36
ROW = 34
DIGIT, APART = 6.5, 14
"""How wide a digit below a chart is, and what keeps two labels apart."""


class Point(NamedTuple):
    """A figure with its 95% interval."""

    y: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A line through points at x = 1, 2, ... `kind` is the class that its colour comes from; `crossed` are the numbers
    of points that don't count."""

    name: str
    kind: str
    points: Sequence[Point]
    band: bool = True
    crossed: frozenset[int] = frozenset()


def curves(
    series: Sequence[Curve],
    *,
    title: str,
    description: str,
    width: int = WIDTH,
    height: int = 210,
    share: bool = False,
    up_to: float = 0.0,
    axis: str = "round",
    step: int = 0,
) -> Markup:
    """Curves over rounds, from zero to the highest, or to `up_to` if that is more; a share goes up to 1. With a `step`
    the points are at 0, `step`, 2 `step`, ... of what `axis` says."""
    rounds = max((len(curve.points) for curve in series), default=0)
    most = max((max(point.y, point.high if curve.band else 0) for curve in series for point in curve.points), default=1)
    ticks = [0, 0.25, 0.5, 0.75, 1] if share else _ticks(max(most, up_to))
    inner_width, inner_height = width - LEFT - RIGHT, height - TOP - BOTTOM

    def x(number: float) -> float:
        return LEFT + inner_width * ((number - 1) / (rounds - 1) if rounds > 1 else 0.5)

    def y(value: float) -> float:
        return TOP + inner_height * (1 - min(1.0, value / ticks[-1]))

    def label(number: int) -> str:
        return str(step * (number - 1) if step else number)

    parts = [_grid_line(tick, y(tick), width - RIGHT) for tick in ticks]
    every = max(1, ceil(rounds * (DIGIT * len(label(rounds)) + APART) / inner_width))
    parts += [_text(x(n), height - 19, label(n), "tick middle") for n in range(1, rounds + 1) if (n - 1) % every == 0]
    parts.append(_text(width - RIGHT, height - 3, axis, "tick end"))
    for curve in series:
        numbered = list(enumerate(curve.points, 1))
        line = " ".join(f"{x(n):.1f},{y(point.y):.1f}" for n, point in numbered)
        if curve.band and len(numbered) > 1:
            edge = [f"{x(n):.1f},{y(point.high):.1f}" for n, point in numbered]
            edge += [f"{x(n):.1f},{y(point.low):.1f}" for n, point in reversed(numbered)]
            parts.append(Markup('<polygon class="band {}" points="{}"/>').format(curve.kind, " ".join(edge)))
        parts.append(Markup('<polyline class="line {}" points="{}"/>').format(curve.kind, line))
        for n, point in numbered:
            mark = "crossed" if n in curve.crossed else ""
            parts.append(
                _dot(x(n), y(point.y), f"dot {curve.kind} {mark}", f"{curve.name}, {axis} {label(n)}: {point.y:.3g}")
            )
    return _svg(height, title, description, parts, width)


def before_after(rows: Sequence[tuple[str, Point | None, Point | None]], *, title: str, description: str) -> Markup:
    """For each row the figure before and after on one scale, with intervals."""
    most = max((point.high for _, *pair in rows for point in pair if point), default=1)
    ticks, height = _ticks(most), TOP + ROW * len(rows) + 22

    def x(value: float) -> float:
        return LEFT / 3 + (WIDTH - LEFT / 3 - RIGHT) * min(1.0, value / ticks[-1])

    bottom = TOP + ROW * len(rows)
    parts = [
        Markup('<line class="grid" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/>').format(x(tick), TOP - 6, bottom)
        for tick in ticks
    ]
    parts += [_text(x(tick), bottom + 14, f"{tick:g}", "tick middle") for tick in ticks]
    for number, (label, before, after) in enumerate(rows):
        top = TOP + ROW * number
        parts.append(_text(x(0) + 4, top + 8, label, "label"))
        for offset, kind, point in ((17, "before", before), (24, "after", after)):
            if point:
                rail = '<line class="rail {}" x1="{:.1f}" x2="{:.1f}" y1="{}" y2="{}"/>'
                ends = x(point.low), x(point.high)
                parts.append(Markup(rail).format(kind, *ends, top + offset, top + offset))
                parts.append(_dot(x(point.y), top + offset, f"dot {kind}", f"{label} {kind}: {point.y:.1f}"))
    return _svg(height, title, description, parts)


def falls(pairs: Sequence[tuple[float, float]], *, title: str, description: str) -> Markup:
    """Probabilities before (left) and after (right), a line each, and the median's as a thick one."""
    height, left, right = 156, LEFT, WIDTH - 60

    def y(value: float) -> float:
        return TOP + (height - TOP - BOTTOM) * (1 - value)

    parts = [_grid_line(tick, y(tick), right) for tick in (0, 0.5, 1)]
    shape = '<line class="{}" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>'
    inner = left + 14, right - 14
    parts += [Markup(shape).format("fall", *inner, y(plain), y(hinted)) for plain, hinted in pairs]
    middle = tuple(sorted(side)[len(pairs) // 2] for side in zip(*pairs, strict=True))
    parts.append(Markup(shape).format("fall median", *inner, y(middle[0]), y(middle[1])))
    parts.append(_dot(inner[0], y(middle[0]), "dot before", f"median without the hint: {middle[0]:.2f}"))
    parts.append(_dot(inner[1], y(middle[1]), "dot after", f"median with the hint: {middle[1]:.2f}"))
    parts.append(_text(right + 4, y(middle[1]) + 4, f"{middle[1]:.2f}", "label"))
    parts.append(_text(inner[0] + 8, y(middle[0]) - 6, f"{middle[0]:.2f}", "label"))
    parts += [
        _text(inner[0], height - 14, "without", "tick middle"),
        _text(inner[1], height - 14, "with the hint", "tick middle"),
    ]
    return _svg(height, title, description, parts)


def _svg(height: float, title: str, description: str, parts: Iterable[Markup], width: int = WIDTH) -> Markup:
    head = Markup('<svg role="img" viewBox="0 0 {} {}" aria-label="{}"><title>{}</title><desc>{}</desc>')
    name = f"{title}. {description}"
    return head.format(width, height, name, title, description) + Markup("").join(parts) + Markup("</svg>")


def _ticks(most: float) -> list[float]:
    """From zero, in steps of 1, 2 or 5 times a power of ten, three to six of them, up to at least `most`."""
    if most <= 0:
        return [0, 1]
    power = 10 ** floor(log10(most / 4))
    step = next(factor * power for factor in (1, 2, 5, 10) if most / (factor * power) <= 5)
    return [step * number for number in range(ceil(most / step - 1e-9) + 1)]


def _grid_line(tick: float, y: float, right: float) -> Markup:
    kind = "axis" if tick == 0 else "grid"
    line = Markup('<line class="{}" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(kind, LEFT, right, y, y)
    return line + _text(LEFT - 5, y + 4, f"{tick:g}", "tick end")


def _text(x: float, y: float, text: str, kind: str) -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}">{}</text>').format(kind, x, y, escape(text))


def _dot(x: float, y: float, kind: str, said: str) -> Markup:
    shape = '<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="3.4"><title>{}</title></circle>'
    return Markup(shape).format(kind, x, y, said)
