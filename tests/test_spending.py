"""What a manifest says was spent: it belongs to one policy's file, and stays there."""

import json
from pathlib import Path

import pytest

from envs import Archive
from envs.manifest import keep_manifest, keep_spent, manifest_path
from envs.policies import ExpertPolicy
from envs.rollout import rollout
from eval.leaderboard import leaderboards
from eval.source import source
from tools.command import InputError


def test_what_was_spent_belongs_to_one_policy_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "file.jsonl"
    with Archive(path) as archive:
        for trajectory in rollout(ExpertPolicy(), "store-v0", range(2)):
            archive.write(trajectory.to_json())
    spent = {"trajectories": 2, "prompt_tokens": 10, "completion_tokens": 4, "cost": 0.5}
    config = {"env": "store-v0", "split": "test", "policy": "expert"}
    keep_manifest(path, config, {"seeds": [0, 2]})
    keep_spent(path, spent)
    keep_manifest(path, config, {"seeds": [0, 3]})
    [board] = leaderboards([path])
    assert (board.rows[0].cost_per_task, board.rows[0].tokens_per_task) == (0.25, 2)
    assert "seeds 0 to 1" in source(board).plain
    manifest_path(path).unlink()
    keep_manifest(path, {**config, "policy": "another"}, {})
    keep_spent(path, spent)
    assert leaderboards([path])[0].rows[0].spent is None
    keep_spent(path, {"cost": 1})
    manifest = json.loads(manifest_path(path).read_text())
    manifest_path(path).write_text(json.dumps({**manifest, "config": config}))
    with pytest.raises(InputError, match="what was spent"):
        leaderboards([path])
