"""Hints at inference time: what a study's arms could reach at most, with a critic at every turn and no training."""

import json
from pathlib import Path
from typing import Any

from critics.finding import Criticized
from critics.rules import criticize
from critics.told import Told
from distill.summary import compared
from envs import Archive, read_trajectories
from envs.policies.base import Policy
from envs.policies.hf import LocalPolicy
from envs.rollout import rollout
from eval.study.plan import Place


def told(place: Place, seed: int) -> dict[str, Any]:
    """The start model without and with its hints on the tasks that the arms are evaluated on; a finished one is read.

    Writes trajectories and `summary.json` as a run's folder has them.
    """
    folder = place.seed_folder(seed)
    summary = folder / "summary.json"
    if summary.is_file():
        record: dict[str, Any] = json.loads(summary.read_text(encoding="utf-8"))
        return record
    (folder / "evaluation").mkdir(parents=True, exist_ok=True)
    policy = LocalPolicy.load(place.setting.policy)
    found = {
        (when, split): _acted(by, place, split, tasks, seed, folder / "evaluation" / f"{when}-{split}.jsonl")
        for when, by in (("before", policy), ("after", Told(policy)))
        for split, tasks in (("test", place.preset.tasks), ("held_out", place.preset.held_out_tasks))
    }
    record = {
        **compared(found["before", "test"], found["after", "test"]),
        "held_out_tools": compared(found["before", "held_out"], found["after", "held_out"]),
        "rollouts": 0,
        "clean_divergence": 0.0,
        "final_divergence": 0.0,
        "undone": [],
    }
    summary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return record


def _acted(policy: Policy, place: Place, split: str, tasks: int, seed: int, path: Path) -> list[Criticized]:
    path.unlink(missing_ok=True)
    with Archive(path) as archive:
        for trajectory in rollout(policy, place.setting.env, range(tasks), split=split, sampling_seed=seed):
            archive.write(trajectory.to_json())
    return [(trajectory, criticize(trajectory)) for trajectory in read_trajectories(path)]
