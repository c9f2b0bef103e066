"""`python -m eval study`: carry it out as far as it isn't, write `study.json` after every arm, and print its tables."""

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from rich.console import Console

from envs.manifest import commit
from eval.study.carry import carry_out
from eval.study.figures import read_study
from eval.study.plan import PRESETS, places
from eval.study.table import tables
from eval.study.taken import take_up
from tools.command import InputError


def study(
    out: Path,
    preset: str,
    settings: Sequence[str],
    arms: Sequence[str],
    *,
    seeds: int = 0,
    policy: str = "",
    taken: Path | None = None,
    jobs: int,
    only_show: bool = False,
) -> int:
    """Gives the exit code: 1 where an arm failed. Raises InputError for names that there are not."""
    if jobs < 1 or seeds < 0:
        raise InputError(f"expected at least 1 job and no fewer than 0 seeds, came {jobs} and {seeds}")
    whole = replace(PRESETS[preset], seeds=seeds or PRESETS[preset].seeds)
    if policy:
        whole = whole.started_by(policy, settings=settings)
    console, stage = Console(highlight=False, emoji=False), Console(stderr=True, highlight=False, emoji=False)
    failed: dict[str, str] = {}

    def watch(line: str) -> None:
        stage.print(line, style="dim", soft_wrap=True, markup=False)
        write(out, read_study(out, whole))

    if taken:
        take_up(taken, whole, out)
    if not only_show:
        failed = carry_out(places(whole.only(settings=settings, arms=arms), out), jobs=jobs, watch=watch)
    found = read_study(out, whole)
    if not any(setting["arms"] for setting in found["settings"].values()):
        raise InputError(
            f"{out} has no finished arm of the preset {preset!r}: leave out --show, or choose another --out"
        )
    if not only_show:
        write(out, found)
    for part in tables(found):
        console.print(part)
    for name, reason in failed.items():
        stage.print(f"{name} failed: {reason}", style="yellow", soft_wrap=True, markup=False)
    return int(bool(failed))


def write(out: Path, found: dict[str, Any]) -> None:
    """Write `study.json` whole or not at all; `made_with` says where and when."""
    out.mkdir(parents=True, exist_ok=True)
    made_with = {"date": date.today().isoformat(), "commit": commit(), "cores": os.cpu_count(), "device": _device()}
    path, unfinished = out / "study.json", out / "study.json.unfinished"
    unfinished.write_text(json.dumps({**found, "made_with": made_with}, indent=1) + "\n", encoding="utf-8")
    os.replace(unfinished, path)


def _device() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
