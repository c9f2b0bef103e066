"""Taking up a study that another machine began: its `study.json` is all that is needed to go on with it.

A seed of it becomes a folder with its figures in place of a run, and counts as done; an arm's learning rate stays as it
was tuned. Figures have the `made_with` of where they come from. Left out: trajectories, which a study.json has not.
"""

import json
from pathlib import Path
from typing import Any

from eval.study.figures import study_file
from eval.study.plan import EVERY, Place, Preset, places
from tools.command import InputError


def take_up(path: Path, preset: Preset, out: Path) -> None:
    """Write into `out` what the study.json at `path` has and `out` has not. Raises InputError for a study of another
    preset, world or start model, and for what is no study."""
    study = study_file(path)
    if study.get("preset") != preset.name:
        found = study.get("preset")
        raise InputError(f"{path} is of the preset {found!r}, this of {preset.name!r}: name it by --preset")
    try:
        for place in places(preset.with_arms(EVERY), out):
            setting = study["settings"].get(place.setting.name, {"arms": {}})
            if record := setting["arms"].get(place.arm.name):
                if (setting["env"], setting["policy"]) != (place.setting.env, place.setting.policy):
                    raise InputError(
                        f"{path} has {setting['env']} with {setting['policy']} as {place.setting.name!r}, here it is"
                        f" {place.setting.env} with {place.setting.policy}: they are two studies"
                    )
                _take(place, record, study["made_with"])
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} holds what this hintsight does not write ({error!r}): do the study again") from error


def _take(place: Place, record: dict[str, Any], made_with: dict[str, Any]) -> None:
    """An arm: the learning rate that it was tuned to, and each seed that there is no folder of."""
    if place.tuned:
        place.tuned.folder.mkdir(parents=True, exist_ok=True)
        if not place.tuned.tuning_file.is_file():
            _write(place.tuned.tuning_file, {"rate": record["rate"], "tried": record["tried"]})
    for seed in record["seeds"]:
        figures = place.figures(seed["seed"])
        if not figures.parent.exists():
            figures.parent.mkdir(parents=True)
            _write(figures, {"made_with": made_with, **seed})


def _write(path: Path, record: dict[str, Any]) -> None:
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
