"""What a study's run folders say, as `study.json`: curves, how many rollouts a drop took, figures before and after.

    {"schema_version", "preset", "made_with", "settings": {NAME: {"env", "policy", "start", "arms": {NAME: {"kind",
     "says", "rate", "tried", "seeds": [SEED]}}}}}

A SEED has `curve`, `halved` and `quartered` (rollouts and seconds, null where it did not come to that), and of the
evaluation the figures before and after; where another machine did it (`eval.study.taken`), also `made_with`. Left out:
what they are shown as (`eval.study.table`).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from critics.rates import Rate
from envs import read_records
from eval.folder import json_file
from eval.study.plan import EVERY, Place, Preset, places
from tools.command import InputError

SCHEMA_VERSION = 1


def read_study(out: Path, preset: Preset) -> dict[str, Any]:
    """All finished seeds, also of arms that are not the preset's. Raises InputError for a folder that holds something
    else."""
    settings: dict[str, Any] = {
        setting.name: {"env": setting.env, "policy": setting.policy, "says": setting.says, "arms": {}}
        for setting in preset.settings
    }
    for place in places(preset.with_arms(EVERY), out):
        seeds = [found for number in place.begun if (found := _seed(place, number))]
        if not seeds:
            continue
        tuned = json_file(place.tuned.tuning_file) if place.tuned else {"rate": None, "tried": {}}
        settings[place.setting.name]["arms"][place.arm.name] = {
            "kind": place.arm.kind,
            "says": place.arm.says,
            **tuned,
            "seeds": seeds,
        }
    return {"schema_version": SCHEMA_VERSION, "preset": preset.name, "settings": settings}


def study_file(path: Path) -> dict[str, Any]:
    """A study.json as it was written. Raises InputError for what is no study, or isn't there."""
    if not path.is_file():
        raise InputError(f"there is no study at {path}: expected a study's folder, or its study.json")
    study = json_file(path)
    if study.get("schema_version") != SCHEMA_VERSION or "settings" not in study:
        raise InputError(f"{path} is no study that this hintsight reads: do python -m eval study again")
    return study


def _seed(place: Place, number: int) -> dict[str, Any] | None:
    """The figures of one seed of an arm; None while it isn't finished."""
    if taken := place.taken_up(number):
        return taken
    folder = place.seed_folder(number)
    if not (folder / "summary.json").is_file():
        return None
    summary = json_file(folder / "summary.json")
    curve = _curve(folder, summary) if place.arm.trained else []
    start = float(summary["before"]["invalid_per_100"]["rate"])
    return {
        "seed": number,
        "before": _evaluated(summary, "before"),
        "after": _evaluated(summary, "after"),
        "drop": summary["drop"],
        "clean_divergence": summary["clean_divergence"],
        "final_divergence": summary["final_divergence"],
        "undone": len(summary["undone"]),
        "halved": fallen(curve, start / 2),
        "quartered": fallen(curve, start / 4),
        "curve": curve,
    }


def _evaluated(summary: Mapping[str, Any], when: str) -> dict[str, Any]:
    """Of one of the two evaluations; `held_out` is the same with tools that no hint named."""
    figures, held_out = summary[when], summary["held_out_tools"][when]
    return {
        "invalid_per_100": figures["invalid_per_100"],
        "success": figures["success"],
        "valid_calls_per_task": figures["valid_calls_per_task"],
        "codes": {code: rate["rate"] for code, rate in figures["codes"].items()},
        "held_out": {name: held_out[name] for name in ("invalid_per_100", "success", "valid_calls_per_task")},
    }


def _curve(folder: Path, summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A point for the policy after each round, from 0 on: what it did in the next round's rollouts and for the guard;
    of the last, what it did in the evaluation. An undone round's guard tried a model that is gone, and is left out."""
    points: list[dict[str, Any]] = []
    spent = {"rollouts": 0, "seconds": 0.0, "cpu_seconds": 0.0, "steps": 0}
    moved = {"clean_divergence": 0.0, "final_divergence": 0.0}
    guarded: list[Mapping[str, Any]] = []
    for record in read_records(folder / "metrics.jsonl"):
        watched = {name: record[name] for name in ("entropy", "turn_tokens")}
        points.append({**spent, **_pooled([record, *guarded]), **watched, **moved})
        spent = {
            "rollouts": spent["rollouts"] + record["tasks"] + record["faults"],
            "seconds": record["seconds"],
            "cpu_seconds": record["cpu_seconds"],
            "steps": spent["steps"] + record["steps"],
        }
        guarded = [record["guard"]] if record["guard"]["calls"] and not record["undone"] else []
        if not record["undone"]:
            moved = {name: record[name] for name in moved}
    return [*points, {**spent, **_pooled([summary["after"]]), **moved}]


def _pooled(measured: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Rates over several sets of trajectories of one policy."""
    calls, tasks = (sum(part[name] for part in measured) for name in ("calls", "tasks"))
    invalid = round(sum(part["invalid_per_100"]["rate"] * part["calls"] / 100 for part in measured))
    solved = round(sum(part["success"]["rate"] * part["tasks"] for part in measured))
    codes = {code for part in measured for code in part["codes"]}
    return {
        "invalid_per_100": Rate.share(invalid, calls, per=100).to_json(),
        "success": Rate.share(solved, tasks).to_json(),
        "valid_calls_per_task": sum(part["valid_calls_per_task"] * part["tasks"] for part in measured) / max(1, tasks),
        "codes": {
            code: sum(part["codes"].get(code, {"rate": 0})["rate"] * part["calls"] for part in measured) / max(1, calls)
            for code in sorted(codes)
        },
    }


def fallen(curve: Sequence[Mapping[str, Any]], level: float) -> dict[str, float] | None:
    """What it had taken when invalid calls per 100 were at most `level` for the first time and, on average, stayed so.

    At the end of a round, not within it: fewer would have done. None where it did not come to that.
    """
    rates = [float(point["invalid_per_100"]["rate"]) for point in curve]
    for place, rate in enumerate(rates):
        if rate <= level and sum(rates[place:]) <= level * len(rates[place:]):
            return {name: curve[place][name] for name in ("rollouts", "seconds", "cpu_seconds", "steps")}
    return None
