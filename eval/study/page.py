"""A study as a page and as a picture: curves of invalid calls against rollouts, the arms' figures, and the goals.

The page is one file without scripts or network; the picture is an SVG file of its own, for a README, as its tables are
in Markdown. Left out: how the page looks (`eval/templates/`), and the charts (`eval.charts`).
"""

from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any

from markupsafe import Markup

from eval.charts import Curve, Point, curves
from eval.study.arms import DEFAULT, LONG, NO_GUARD, Arm
from eval.study.figures import study_file
from eval.study.goals import goals
from eval.study.table import COLUMNS, cells, markdown, start
from tools.command import InputError

DRAWN = ("targeted", "rejection", "grpo", "unlikelihood", "hints-at-top", "expert", "placebo")
"""The arms that are drawn in this order of colours."""

COLOURED = (*DRAWN, NO_GUARD.name)
COLOURS = "#2450b8 #b4491f #8a6d00 #7a3d9a #137a6c #5b6470 #b03060 #7d5a3c".split()
DARK_COLOURS = "#86abff #f0935f #d9b93c #c497e8 #4fc3b0 #a3adb9 #f08ab0 #c9a27e".split()
PICTURE, PANEL = 860, 250
"""The picture's width, and a panel's height."""
AVERAGED = 16
"""Rounds of a long run that make a point of its curve."""


def page(path: Path, suffix: str, *, against: Sequence[Path] = ()) -> str:
    """A study's page, or, for the suffix .svg, its picture, which has panels of other studies too, or for .md its
    tables. Raises InputError for what is no study, or an empty one."""
    if against and suffix != ".svg":
        raise InputError("other studies are drawn beside a study in its picture alone: give an --out that ends in .svg")
    study, *others = map(_finished, (path, *against))
    try:
        match suffix:
            case ".svg":
                return picture(study, others)
            case ".md":
                return markdown(study)
            case _:
                return html(study, path.resolve().parent.name)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise InputError(f"{path} holds what this hintsight does not write ({error!r}): do the study again") from error


def _finished(path: Path) -> dict[str, Any]:
    study = study_file(path)
    if not any(DEFAULT.name in setting["arms"] for setting in study["settings"].values()):
        raise InputError(f"{path} has no finished arm {DEFAULT.name!r}, which the others are compared with")
    return study


def html(study: Mapping[str, Any], name: str) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("eval"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page: str = environment.get_template("study.html.jinja").render(
        name=name,
        made_with=study.get("made_with", {}),
        preset=study["preset"],
        goals=list(goals(study)),
        columns=list(COLUMNS.items()),
        settings=[
            _shown(label, setting) for label, setting in study["settings"].items() if DEFAULT.name in setting["arms"]
        ],
        colours=Markup(_colour_rules()),
    )
    return page


def _shown(name: str, setting: Mapping[str, Any]) -> dict[str, Any]:
    arms: Mapping[str, Any] = setting["arms"]
    drawn = [arm for arm in DRAWN if arm in arms]
    return {
        "name": name,
        "env": setting["env"],
        "policy": setting["policy"],
        "says": setting["says"],
        "legend": [(arm, _kind(arm)) for arm in drawn],
        "charts": [*_charts(arms, drawn), *_long(arms)],
        "start": start(setting),
        "rows": [(arm, record["kind"], record["says"], cells(record)) for arm, record in arms.items()],
        "codes": list(_codes(arms, drawn)),
        "failures": list(_failures(arms)),
    }


def _invalid(point: Mapping[str, Any]) -> float:
    return float(point["invalid_per_100"]["rate"])


def _charts(arms: Mapping[str, Any], drawn: Sequence[str]) -> Iterator[tuple[str, Markup]]:
    kinds = (
        ("invalid calls per 100", _invalid, False),
        ("tasks solved", lambda point: point["success"]["rate"], True),
        ("valid calls per task", lambda point: point["valid_calls_per_task"], False),
        ("divergence on right calls, nats a token", lambda point: point["clean_divergence"], False),
    )
    for label, figure, share in kinds:
        yield label, _chart(arms, drawn, label, figure, share=share)
    yield "invalid calls per 100, by CPU seconds", _by_time(arms, drawn)


def _chart(
    arms: Mapping[str, Any], drawn: Sequence[str], label: str, figure: Any, *, height: int = 230, **how: Any
) -> Markup:
    """A curve for each arm over rollouts; of several seeds their mean, with the lowest and the highest as a band."""
    series = _series(arms, drawn, figure)
    said = "; ".join(f"{curve.name} from {curve.points[0].y:.3g} to {curve.points[-1].y:.3g}" for curve in series)
    title, step = f"{label} by rollouts", _step(arms[drawn[0]])
    return curves(series, title=title, description=said, height=height, axis="rollouts", step=step, **how)


def _series(arms: Mapping[str, Any], drawn: Sequence[str], figure: Any) -> list[Curve]:
    """What is drawn first lies on top."""
    return [_curve(arm, arms[arm]["seeds"], figure) for arm in reversed(drawn) if arms[arm]["seeds"][0]["curve"]]


def _curve(arm: str, seeds: Sequence[Mapping[str, Any]], figure: Any) -> Curve:
    shortest = min(len(seed["curve"]) for seed in seeds)
    values = [[figure(seed["curve"][place]) for seed in seeds] for place in range(shortest)]
    points = [Point(sum(part) / len(part), min(part), max(part)) for part in values]
    return Curve(name=arm, kind=_kind(arm), points=points, band=len(seeds) > 1)


def _long(arms: Mapping[str, Any]) -> Iterator[tuple[str, Markup]]:
    """What becomes of the arms that go on long: means over some rounds each."""
    found = [arm for arm in LONG if arm.name in arms]
    for label, name, share in (("invalid calls per 100", "invalid_per_100", False), ("tasks solved", "success", True)):
        if found:
            series = [_thinned(arm, arms[arm.name]["seeds"][0]["curve"], name) for arm in found]
            step = AVERAGED * _step(arms[found[0].name])
            title = f"{label}, in runs that go on long"
            said = "; ".join(f"{curve.name} ends at {curve.points[-1].y:.3g}" for curve in series)
            chart = curves(series, title=title, description=said, height=230, share=share, axis="rollouts", step=step)
            keys = (Markup('<span class="key {}">{}</span>').format(curve.kind, curve.name) for curve in series)
            yield Markup("{}: {}").format(title, Markup(" ").join(keys)), chart


def _thinned(arm: Arm, curve: Sequence[Mapping[str, Any]], figure: str) -> Curve:
    """The start, then the mean of each so many rounds."""
    rates = [float(point[figure]["rate"]) for point in curve]
    parts = [rates[:1], *(rates[place : place + AVERAGED] for place in range(1, len(rates), AVERAGED))]
    points = [Point(sum(part) / len(part), min(part), max(part)) for part in parts]
    like = arm.longer_than.name if arm.longer_than else arm.name
    return Curve(name=arm.name, kind=_kind(like), points=points)


def _by_time(arms: Mapping[str, Any], drawn: Sequence[str]) -> Markup:
    """What a machine has to pay: each arm's first seed, at the CPU seconds that its points took."""
    longest = max(arms[arm]["seeds"][0]["curve"][-1]["cpu_seconds"] for arm in drawn)
    step = max(1.0, longest / 20)
    series = []
    for arm in reversed(drawn):
        points = []
        curve = arms[arm]["seeds"][0]["curve"]
        for number in range(ceil(curve[-1]["cpu_seconds"] / step) + 1):
            rate = [point for point in curve if point["cpu_seconds"] <= number * step][-1]["invalid_per_100"]["rate"]
            points.append(Point(rate, rate, rate))
        series.append(Curve(name=arm, kind=_kind(arm), points=points, band=False))
    return curves(
        series,
        title="invalid calls per 100 by CPU seconds",
        description="what each method takes on this machine",
        height=230,
        axis="CPU seconds",
        step=round(step),
    )


def _codes(arms: Mapping[str, Any], drawn: Sequence[str]) -> Iterator[tuple[str, Markup]]:
    """Each error code that the start model makes, by rollouts."""
    first = arms[drawn[0]]["seeds"][0]["before"]["codes"]
    for code in sorted(first, key=lambda code: -first[code])[:6]:
        yield code, _chart(arms, drawn, code, lambda point, code=code: point["codes"].get(code, 0.0), height=190)


def _failures(arms: Mapping[str, Any]) -> Iterator[str]:
    """What did not work, in a sentence each."""
    for arm, record in arms.items():
        seeds = [seed for seed in record["seeds"] if seed["curve"]]
        if not seeds or record["kind"] == "control":
            continue
        never = sum(not seed["halved"] for seed in seeds)
        if never:
            yield f"{arm} did not halve invalid calls in {never} of {len(seeds)} seeds."
        worse = [seed for seed in seeds if seed["after"]["success"]["high"] < seed["before"]["success"]["low"]]
        if worse:
            yield f"{arm} solves surely fewer tasks afterwards in {len(worse)} of {len(seeds)} seeds."
        if any(seed["after"]["valid_calls_per_task"] < 0.8 * seed["before"]["valid_calls_per_task"] for seed in seeds):
            yield f"{arm} makes fewer valid calls per task afterwards."
        if undone := sum(seed["undone"] for seed in seeds):
            yield f"{arm}: {undone} rounds were undone by the guard."


def picture(study: Mapping[str, Any], others: Sequence[Mapping[str, Any]] = ()) -> str:
    """The picture that a README leads with: a panel for each setting, invalid calls against rollouts. Those of other
    studies say their preset."""
    settings = [*study["settings"].items()]
    settings += [(f"{name}, {other['preset']}", each) for other in others for name, each in other["settings"].items()]
    panels = [
        (name, setting["env"], setting["arms"], [arm for arm in DRAWN if arm in setting["arms"]])
        for name, setting in settings
        if DEFAULT.name in setting["arms"]
    ]
    names = [arm for arm in DRAWN if any(arm in drawn for _, _, _, drawn in panels)]
    parts = [Markup("<style>") + Markup(_FIGURE_STYLE + _colour_rules()) + Markup("</style>")]
    parts.append(Markup('<rect class="paper" width="100%" height="100%" rx="10"/>'))
    x = 20.0
    for arm in names:
        parts.append(Markup('<line class="line {0}" x1="{1}" x2="{2}" y1="24" y2="24"/>').format(_kind(arm), x, x + 18))
        parts.append(Markup('<text class="label" x="{}" y="28">{}</text>').format(x + 23, arm))
        x += 40 + 7.0 * len(arm)
    room = PICTURE // len(panels)
    every = [curve for _, _, arms, drawn in panels for curve in _series(arms, drawn, _invalid)]
    highest = max(point.high for curve in every for point in curve.points)
    for number, (name, env, arms, drawn) in enumerate(panels):
        left, width = 10 + number * room, room - 20
        parts.append(Markup('<text class="label title" x="{}" y="58">{}</text>').format(left + 10, name))
        parts.append(Markup('<text x="{}" y="75">{}, invalid calls per 100</text>').format(left + 10, env))
        label = f"{name}, invalid calls per 100"
        chart = _chart(arms, drawn, label, _invalid, width=width, height=PANEL, up_to=highest)
        place = f'<svg x="{left}" y="82" width="{width}" height="{PANEL}" '
        parts.append(Markup(str(chart).replace("<svg ", place, 1)))
    whole = Markup('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {} {}">').format(PICTURE, PANEL + 92)
    return str(whole + Markup("").join(parts) + Markup("</svg>")) + "\n"


def _step(record: Mapping[str, Any]) -> int:
    curve = record["seeds"][0]["curve"]
    return int(curve[1]["rollouts"] - curve[0]["rollouts"]) if len(curve) > 1 else 1


def _kind(arm: str) -> str:
    return f"arm-{COLOURED.index(arm)}"


def _colour_rules() -> str:
    def rules(colours: Sequence[str]) -> str:
        return "".join(
            f".line.arm-{n}{{stroke:{colour}}}.dot.arm-{n},.band.arm-{n}{{fill:{colour}}}"
            f".key.arm-{n}::before{{background:{colour}}}"
            for n, colour in enumerate(colours)
        )

    ours = ".line.arm-0{stroke-width:3.2}"
    return f"{rules(COLOURS)}{ours}@media (prefers-color-scheme:dark){{{rules(DARK_COLOURS)}}}"


_FIGURE_STYLE = (
    ".paper{fill:#fff}text{font:11.5px system-ui,sans-serif;fill:#5f5b54}.label{fill:#1d1c1a;font-size:12.5px}"
    ".title{font-weight:600}.middle{text-anchor:middle}.end{text-anchor:end}.grid{stroke:#ece8df}.axis{stroke:#5f5b54}"
    ".line{fill:none;stroke-width:2;stroke-linejoin:round}.band{opacity:.14}.dot{r:2.6px}"
    "@media (prefers-color-scheme:dark){.paper{fill:#1b1d21}text{fill:#a8a39a}.label{fill:#eae7e0}"
    ".grid{stroke:#31333a}.axis{stroke:#a8a39a}}"
)
