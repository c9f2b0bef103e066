"""A study's tables: what each way to learn came to, what that took, and whether the project's goals are met."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from eval.study.means import mean_of


def tables(study: Mapping[str, Any]) -> Iterator[RenderableType]:
    for name, setting in study["settings"].items():
        if setting["arms"]:
            yield _methods(name, setting)


def _methods(name: str, setting: Mapping[str, Any]) -> Table:
    table = Table(title=f"{name}: {setting['env']}, {setting['says']}", title_justify="left", box=None, pad_edge=False)
    table.add_column("arm")
    for column in ("invalid", "held out", "success", "valid calls", "halved at", "quartered at", "clean", "rate"):
        table.add_column(column, justify="right")
    for arm, record in setting["arms"].items():
        seeds = record["seeds"]
        table.add_row(
            Text(arm),
            str(mean_of(seeds, lambda seed: seed["after"]["invalid_per_100"]["rate"])),
            str(mean_of(seeds, lambda seed: seed["after"]["held_out"]["invalid_per_100"]["rate"])),
            mean_of(seeds, lambda seed: seed["after"]["success"]["rate"]).percent,
            str(mean_of(seeds, lambda seed: seed["after"]["valid_calls_per_task"])),
            taken(seeds, "halved"),
            taken(seeds, "quartered"),
            f"{mean_of(seeds, lambda seed: seed['clean_divergence']).mean:.3f}",
            f"{record['rate']:g}" if record["rate"] else "",
        )
    return table


def taken(seeds: list[Mapping[str, Any]], what: str) -> str:
    """How many rollouts it took, or that it never came to it in some of the seeds."""
    found = [seed[what]["rollouts"] for seed in seeds if seed[what]]
    if not seeds[0]["curve"]:
        return ""
    if not found:
        return "never"
    said = f"{sum(found) / len(found):.0f}"
    return said if len(found) == len(seeds) else f"{said} ({len(found)} of {len(seeds)})"
