"""A run folder, from the command line: what it holds, that it can be read back and resumed, and what is refused."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from critics.rates import measure
from critics.rules import criticize
from distill.__main__ import main
from distill.config import Band, Config, Update
from distill.run import Run
from envs import read_records, read_trajectories
from envs.policies.hf import LocalPolicy
from tools.command import InputError
from tools.command import run as run_command

SMALL = ["--rounds", "2", "--rollouts", "8", "--tasks", "6", "--held-out-tasks", "3", "--band.tasks", "4"]
SAME = ("before", "after", "drop", "difference", "held_out_tools", "clean_divergence", "final_divergence", "rollouts")


def small(out: Path, **options: Any) -> Config:
    """The config of `SMALL`."""
    sizes = {"rounds": 2, "rollouts": 8, "tasks": 6, "held_out_tasks": 3, "band": Band(tasks=4)}
    return Config(out=out, **{"seed": 3, **sizes, **options})


def figures(summary: dict[str, Any]) -> dict[str, Any]:
    return {key: summary[key] for key in SAME}


def untimed(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if not key.endswith("seconds")}


def distill(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "distill", *arguments], capture_output=True, text=True)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "small"
    finished = distill("--out", str(out), "--seed", "3", *SMALL)
    assert finished.returncode == 0, finished.stderr
    for said in ("invalid calls", "held-out tools", "success", "round 2 of 2", "round 2 of 2, guard", f"eval {out}"):
        assert said in finished.stdout
    return out


def test_the_table_is_made_from_the_trajectories_in_the_folder(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    for when in ("before", "after"):
        trajectories = list(read_trajectories(run / "evaluation" / f"{when}-test.jsonl"))
        assert len(trajectories) == 6
        assert measure((t, criticize(t)) for t in trajectories).to_json() == summary[when]
    assert summary["rollouts"] == 16


def test_every_stage_leaves_its_file(run: Path) -> None:
    trajectories = list(read_trajectories(run / "trajectories.jsonl"))
    assert [trajectory.task["split"] for trajectory in trajectories] == ["train"] * 16
    assert len({trajectory.id for trajectory in trajectories}) == 16
    assert [record["id"] for record in read_records(run / "findings.jsonl")] == [t.id for t in trajectories]
    assert [record["round"] for record in read_records(run / "metrics.jsonl")] == [0, 1]
    corrections = list(read_records(run / "corrections.jsonl"))
    assert corrections
    for correction in corrections:
        start, end = correction["target"]
        assert len(correction["student_logprobs"]) == len(correction["teacher_logprobs"]) == end - start
        assert all(start <= token < end for finding in correction["findings"] for token in finding["tokens"])
    assert not (run / "state").exists()
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


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.is_file() else 0


@pytest.mark.parametrize(
    ("stop", "file", "number"),
    [
        (signal.SIGKILL, "trajectories.jsonl", 10),
        (signal.SIGINT, "evaluation/before-test.jsonl", 3),
        (signal.SIGKILL, "evaluation/after-test.jsonl", 2),
    ],
)
def test_a_run_that_was_cut_off_ends_at_the_same_numbers(
    run: Path, tmp_path: Path, stop: signal.Signals, file: str, number: int
) -> None:
    out = tmp_path / "cut"
    command = [sys.executable, "-m", "distill", "--out", str(out), "--seed", "3", *SMALL]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while lines(out / file) < number and running.poll() is None:
        time.sleep(0.002)
    running.send_signal(stop)
    _, said = running.communicate()
    kept = [trajectory.id for trajectory in read_trajectories(out / file)]
    assert len(kept) >= number
    if stop is signal.SIGINT:
        assert running.returncode == 130, said
        assert "--resume" in said
    resumed = distill("--out", str(out), "--seed", "3", *SMALL, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert [trajectory.id for trajectory in read_trajectories(out / file)][: len(kept)] == kept
    summary, undisturbed = (json.loads((path / "summary.json").read_text()) for path in (out, run))
    assert figures(summary) == figures(undisturbed)
    for name in ("trajectories", "findings", "corrections"):
        assert (out / f"{name}.jsonl").read_bytes() == (run / f"{name}.jsonl").read_bytes()
    rounds, undisturbed_rounds = (list(read_records(path / "metrics.jsonl")) for path in (out, run))
    assert list(map(untimed, rounds)) == list(map(untimed, undisturbed_rounds))
    for path in (out, run):
        assert LocalPolicy.load(path / "checkpoint")
    pairs = zip(*(LocalPolicy.load(path / "checkpoint").model.parameters() for path in (out, run)), strict=True)
    assert all(one.equal(other) for one, other in pairs)


def test_a_finished_run_is_not_done_again(run: Path) -> None:
    assert figures(Run(small(run, resume=True)).go()) == figures(json.loads((run / "summary.json").read_text()))


def test_a_run_goes_on_although_an_option_has_come_since(run: Path, tmp_path: Path) -> None:
    older = tmp_path / "older"
    shutil.copytree(run, older)
    manifest = json.loads((older / "manifest.json").read_text())
    del manifest["config"]["update"]["method"]
    (older / "manifest.json").write_text(json.dumps(manifest))
    assert figures(Run(small(older, resume=True)).go()) == figures(json.loads((run / "summary.json").read_text()))


def test_only_the_same_config_is_resumed(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"another config: rollouts was 8, is 13"):
        Run(small(run, resume=True, rollouts=13))
    with pytest.raises(InputError, match=r"config: band.tasks was 4, is 9, teacher was frozen, is live; use"):
        Run(small(run, resume=True, band=Band(tasks=9), update=Update(teacher="live")))
    with pytest.raises(InputError, match="holds no run to resume"):
        Run(small(tmp_path / "nothing", resume=True))
    with pytest.raises(InputError, match="add --resume"):
        Run(small(run))


def test_a_dry_run_says_what_the_hints_do_and_updates_nothing(tmp_path: Path) -> None:
    out = tmp_path / "dry"
    finished = distill("--out", str(out), "--rollouts", "12", "--dry-run")
    assert finished.returncode == 0, finished.stderr
    for said in ("no update", "halved by the hint", "nonexistent_tool", "admitted"):
        assert said in finished.stdout
    summary = json.loads((out / "summary.json").read_text())
    assert summary["hinted"]["nonexistent_tool"]["hinted"] < summary["hinted"]["nonexistent_tool"]["plain"]
    assert len(list(read_records(out / "corrections.jsonl"))) == summary["corrections"]
    assert not (out / "checkpoint").exists()
    assert (
        "no update" in subprocess.run([sys.executable, "-m", "eval", str(out)], capture_output=True, text=True).stdout
    )


def test_given_trajectories_are_trained_on_with_a_warning(run: Path, tmp_path: Path) -> None:
    given = ["--trajectories", str(run / "trajectories.jsonl"), "--findings", str(run / "findings.jsonl")]
    finished = distill("--out", str(tmp_path / "given"), "--seed", "3", *SMALL, *given)
    assert finished.returncode == 0, finished.stderr
    assert "is stale" in finished.stderr
    summary = json.loads((tmp_path / "given" / "summary.json").read_text())
    assert summary["rollouts"] == 16
    assert summary["corrections"] == lines(run / "corrections.jsonl")


def test_given_files_that_can_not_be_trained_on_are_refused(run: Path, tmp_path: Path) -> None:
    bare, other, twice = (tmp_path / name for name in ("bare.jsonl", "other.jsonl", "twice.jsonl"))
    bare.write_text('{"id": "theirs", "tools": [], "messages": []}\n')
    other.write_text('{"id": "theirs", "findings": []}\n')
    text = (run / "trajectories.jsonl").read_text()
    twice.write_text(text + text)
    ours = run / "trajectories.jsonl"
    for trajectories, findings, said in (
        (bare, None, "no trajectory with an assistant's turn"),
        (ours, other, "about other trajectories: theirs"),
        (twice, None, "twice"),
        (None, other, "needs --trajectories"),
    ):
        with pytest.raises(InputError, match=said):
            Run(small(tmp_path / "run", trajectories=trajectories, findings=findings))
    record = json.loads(text.splitlines()[0])
    record["turns"][0]["prompt_ids"][0] = 99_999
    other.write_text(json.dumps(record) + "\n")
    with pytest.raises(InputError, match="token ids of another tokenizer"):
        Run(small(tmp_path / "run", trajectories=other))
    assert not (tmp_path / "run").exists()


def test_a_round_that_leaves_its_band_is_undone_and_the_step_made_smaller(tmp_path: Path) -> None:
    wild = Update(learning_rate=0.1, epochs=1)
    summary = Run(small(tmp_path / "wild", update=wild)).go()
    assert [undone["round"] for undone in summary["undone"]] == [0, 1]
    assert all(undone["reasons"] for undone in summary["undone"])
    rates = [record["learning_rate"] for record in read_records(tmp_path / "wild" / "metrics.jsonl")]
    assert rates == [0.1, 0.1 * 0.5 * 0.5]  # halved, and on its way down
    assert (summary["clean_divergence"], summary["final_divergence"]) == (0.0, 0.0)
    trained, start = LocalPolicy.load(tmp_path / "wild" / "checkpoint"), LocalPolicy.load("tiny")
    pairs = zip(trained.model.parameters(), start.model.parameters(), strict=True)
    assert all(after.equal(before) for after, before in pairs)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--env", "stor-v0"], "did you mean 'store-v0'"),
        (["--policy", "nowhere"], "nowhere is no model folder"),
        (["--rounds", "0"], "rounds must be at least 1"),
        (["--learning-rate", "3"], "0 < learning rate < 1"),
        (["--band.success", "3"], "success and valid calls from 0 to 1"),
    ],
)
def test_a_users_mistake_is_one_sentence(
    tmp_path: Path,
    arguments: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["distill", "--out", str(tmp_path / "run"), *arguments])
    with pytest.raises(SystemExit) as left:
        run_command(main)
    told = capsys.readouterr().err
    assert left.value.code == 2
    assert said in told
    assert len(told.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(InputError, match="choose another folder"):
        Run(Config(out=tmp_path))
    assert [file.name for file in tmp_path.iterdir()] == ["note.txt"]
