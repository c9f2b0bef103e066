"""A study's tables: what each way to learn came to, what that took, and whether the goals are met."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from eval.study.goals import goals
from eval.study.means import mean_of

COLUMNS = {
    "invalid": "invalid calls per 100, on tasks that were never trained on",
    "held out": "the same with tools that no hint named and no training rollout used",
    "solved": "tasks solved",
    "valid": "valid calls per task",
    "halved": "rollouts until invalid calls were halved and stayed so, in whole rounds",
    "quartered": "rollouts until they were a quarter",
    "CPU s": "CPU seconds until they were halved, with rollouts and guard",
    "nats": "divergence from the start model a token, on right calls where no habit applies",
    "rate": "the learning rate, tuned on other tasks",
}
"""An arm's figures, and what they are."""


def tables(study: Mapping[str, Any]) -> Iterator[RenderableType]:
    """A table for each setting, what its columns are, and the goals."""
    for name, setting in study["settings"].items():
        if setting["arms"]:
            yield _of_setting(name, setting)
    yield Text("\n".join(f"{name}: {says}" for name, says in COLUMNS.items()), style="dim")
    if found := list(goals(study)):
        table = Table(title="goals", title_justify="left", box=None, pad_edge=False)
        for column in ("", "setting", "goal", "came"):
            table.add_column(column)
        for goal in found:
            mark = Text("holds", style="green") if goal.holds else Text("misses", style="red")
            table.add_row(mark, goal.setting, goal.says, goal.came)
        yield table


def _of_setting(name: str, setting: Mapping[str, Any]) -> Table:
    title = f"{name}: {setting['env']}, {setting['says']}"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    for column in COLUMNS:
        table.add_column(column, justify="right")
    table.add_row(Text("at the start", style="dim"), *start(setting))
    for arm, record in setting["arms"].items():
        table.add_row(Text(arm), *cells(record))
    return table


def markdown(study: Mapping[str, Any]) -> str:
    """The settings' tables as one in Markdown, and the goals as another."""
    rows = [["", *COLUMNS], ["---"] * (1 + len(COLUMNS))]
    for name, setting in study["settings"].items():
        if setting["arms"]:
            rows.append([f"**{name}**, at the start", *start(setting), *[""] * (len(COLUMNS) - 4)])
            rows += [[arm, *cells(record)] for arm, record in setting["arms"].items()]
    promised = [["", "setting", "goal", "came"], ["---"] * 4]
    for goal in goals(study):
        promised.append(["holds" if goal.holds else "**misses**", goal.setting, goal.says, goal.came])
    return "\n\n".join("\n".join(f"| {' | '.join(row)} |" for row in part) for part in (rows, promised)) + "\n"


def start(setting: Mapping[str, Any]) -> list[str]:
    """The start model's figures: those of the first arm's seeds, which all arms begin with."""
    return _evaluated(next(iter(setting["arms"].values()))["seeds"], "before")


def cells(record: Mapping[str, Any]) -> list[str]:
    """An arm's figures, in the order of COLUMNS."""
    seeds = record["seeds"]
    return [
        *_evaluated(seeds, "after"),
        _taken(seeds, "halved", "rollouts"),
        _taken(seeds, "quartered", "rollouts"),
        _taken(seeds, "halved", "cpu_seconds"),
        mean_of(seeds, lambda seed: seed["clean_divergence"]).said(".3f"),
        f"{record['rate']:g}" if record["rate"] else "",
    ]


def _evaluated(seeds: Sequence[Mapping[str, Any]], when: str) -> list[str]:
    return [
        mean_of(seeds, lambda seed: seed[when]["invalid_per_100"]["rate"]).said(),
        mean_of(seeds, lambda seed: seed[when]["held_out"]["invalid_per_100"]["rate"]).said(),
        mean_of(seeds, lambda seed: seed[when]["success"]["rate"]).said(".0%"),
        mean_of(seeds, lambda seed: seed[when]["valid_calls_per_task"]).said(),
    ]


def _taken(seeds: Sequence[Mapping[str, Any]], what: str, unit: str) -> str:
    """How much it took, a mean over the seeds that came to it; how many that are, where it is not all."""
    if not seeds[0]["curve"]:
        return ""
    found = [seed[what][unit] for seed in seeds if seed[what]]
    if not found:
        return "never"
    if len(found) < len(seeds):
        return f"{sum(found) / len(found):.0f} ({len(found)} of {len(seeds)})"
    return mean_of(found, float).said(".0f")
