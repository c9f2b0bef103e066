"""A run folder, from the command line: what it holds, that it can be read back, and what is refused."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from critics.rates import measure
from critics.rules import criticize
from distill.config import Config
from distill.run import Run
from envs import read_records, read_trajectories
from envs.policies.hf import LocalPolicy
from tools.command import InputError

SMALL = ["--rounds", "2", "--rollouts", "12", "--tasks", "12", "--held-out-tasks", "6"]


def distill(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "distill", *arguments], capture_output=True, text=True)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "small"
    finished = distill("--out", str(out), "--seed", "3", *SMALL)
    assert finished.returncode == 0, finished.stderr
    for said in ("invalid calls", "held-out tools", "success", "round 2 of 2", str(out)):
        assert said in finished.stdout
    return out


def test_the_table_is_made_from_the_trajectories_in_the_folder(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    for when in ("before", "after"):
        trajectories = list(read_trajectories(run / "evaluation" / f"{when}-test.jsonl"))
        assert len(trajectories) == 12
        assert measure((t, criticize(t)) for t in trajectories).to_json() == summary[when]
    assert summary["rollouts"] == 24


def test_every_stage_leaves_its_file(run: Path) -> None:
    trajectories = list(read_trajectories(run / "trajectories.jsonl"))
    assert [trajectory.task["split"] for trajectory in trajectories] == ["train"] * 24
    assert len({trajectory.id for trajectory in trajectories}) == 24
    assert [record["id"] for record in read_records(run / "findings.jsonl")] == [t.id for t in trajectories]
    assert [record["round"] for record in read_records(run / "metrics.jsonl")] == [0, 1]
    corrections = list(read_records(run / "corrections.jsonl"))
    assert corrections
    for correction in corrections:
        lengths = {len(correction[key]) for key in ("error_tokens", "student_logprobs", "teacher_logprobs")}
        assert lengths == {len(correction["error_tokens"])}
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["config"]["seed"] == 3


def test_no_hint_names_a_held_out_tool(run: Path) -> None:
    hints = " ".join(record["hint"] for record in read_records(run / "corrections.jsonl"))
    for name in ("return_order", "accept_order", "restore_order", "reroute_shipment", "redirect_shipment", "divert"):
        assert name not in hints


def test_the_checkpoint_is_a_policy_again_and_not_the_model_it_was(run: Path) -> None:
    trained, start = LocalPolicy.load(run / "checkpoint"), LocalPolicy.load("tiny")
    pairs = zip(trained.model.parameters(), start.model.parameters(), strict=True)
    assert any(not after.equal(before) for after, before in pairs)


def test_eval_prints_the_table_again(run: Path) -> None:
    shown = subprocess.run([sys.executable, "-m", "eval", str(run)], capture_output=True, text=True)
    assert shown.returncode == 0
    assert "invalid calls" in shown.stdout


def test_the_same_run_gives_the_same_numbers(run: Path, tmp_path: Path) -> None:
    config = Config(out=tmp_path / "again", seed=3, rounds=2, rollouts=12, tasks=12, held_out_tasks=6)
    again = Run(config).go()
    first = json.loads((run / "summary.json").read_text())
    same = ("before", "after", "held_out_tools", "corrections", "admitted")
    assert {key: again[key] for key in same} == {key: first[key] for key in same}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--env", "stor-v0"], "did you mean 'store-v0'"),
        (["--policy", "nowhere"], "nowhere is no model folder"),
        (["--rounds", "0"], "rounds must be at least 1"),
        (["--update.learning-rate", "3"], "0 < learning rate < 1"),
    ],
)
def test_a_users_mistake_is_one_sentence(tmp_path: Path, arguments: list[str], said: str) -> None:
    finished = distill("--out", str(tmp_path / "run"), *arguments)
    assert finished.returncode == 2
    assert said in finished.stderr
    assert len(finished.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(InputError, match="choose another folder"):
        Run(Config(out=tmp_path))
    assert [file.name for file in tmp_path.iterdir()] == ["note.txt"]
