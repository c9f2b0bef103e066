"""Rollouts into a file: what is kept whatever happens, what is done again, and what a file says of where it comes from.

Policies here fail on purpose, in this process; those that fail over HTTP are in test_server_policy.py.
"""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from critics.rates import measure
from critics.rules import criticize
from envs import Archive, StopReason, Trajectory, read_trajectories
from envs.__main__ import main
from envs.manifest import check_config, keep_manifest, manifest_path
from envs.policies import Context, ContextTooLong, ExpertPolicy, HabitualPolicy, RandomPolicy, Reply, load_policy
from envs.policies.spent import Spent
from envs.progress import Tally, watched
from envs.resume import RolloutFile
from envs.rollout import Limits, rollout
from tools import InfrastructureFault
from tools.command import InputError

ROOT = Path(__file__).parents[1]


class Failing(ExpertPolicy):
    """An expert whose machine fails in a batch that holds one of some tasks."""

    def __init__(self, seeds: Sequence[int], error: Exception) -> None:
        self.seeds, self.error = seeds, error

    def act(self, contexts: Sequence[Context]) -> list[Reply]:
        if any(context.env.task_record()["seed"] in self.seeds for context in contexts):
            raise self.error
        return super().act(contexts)


def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[Any, str, str]:
    """Exit code, standard output and standard error."""
    monkeypatch.setattr(sys, "argv", ["envs", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    return end.value.code, *capsys.readouterr()


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (InfrastructureFault("out of memory"), "out of memory"),
        (ConnectionResetError("gone"), "ConnectionResetError: gone"),
        (TimeoutError(), "TimeoutError"),
    ],
)
def test_a_policys_fault_ends_the_episodes_of_its_batch_only(error: Exception, fault: str) -> None:
    trajectories = list(rollout(Failing([5], error), "store-v0", range(12), batch=4))
    assert Counter(trajectory.stop_reason for trajectory in trajectories) == {"answered": 8, "infrastructure_fault": 4}
    assert {trajectory.fault for trajectory in trajectories} == {"", fault}
    measured = measure((trajectory, criticize(trajectory)) for trajectory in trajectories)
    assert (measured.tasks, measured.faults, measured.success.rate) == (8, 4, 1.0)


def test_a_bug_is_raised() -> None:
    with pytest.raises(KeyError):
        list(rollout(Failing([5], KeyError("bug")), "store-v0", range(12)))


@pytest.mark.parametrize("error", [InfrastructureFault("no user"), ContextTooLong("long talk"), ConnectionError("cut")])
def test_a_fault_of_the_user_is_one_of_the_world(error: Exception) -> None:
    trajectories = list(rollout(ExpertPolicy(), "store-v1", range(4), user=Failing([2], error)))
    assert Counter(trajectory.stop_reason for trajectory in trajectories) == {"answered": 3, "infrastructure_fault": 1}
    assert all(criticize(trajectory) for trajectory in trajectories if trajectory.fault)


def test_rollouts_of_a_task_are_a_group() -> None:
    trajectories = list(rollout(RandomPolicy(), "store-v0", range(3), n=3, sampling_seed=4, batch=2))
    wanted = {f"store-v0/test/{seed}/{number}" for seed in range(3) for number in range(4, 7)}
    assert {trajectory.id for trajectory in trajectories} == wanted
    [alone] = rollout(RandomPolicy(), "store-v0", [1], sampling_seed=5)
    assert alone in trajectories
    skipped = rollout(RandomPolicy(), "store-v0", range(3), n=3, sampling_seed=4, skip=wanted - {alone.id})
    assert list(skipped) == [alone]


@pytest.mark.parametrize(
    ("limits", "stop"),
    [
        (Limits(turns=1), StopReason.TURN_LIMIT),
        (Limits(seconds=1e-9), StopReason.INFRASTRUCTURE_FAULT),
        (Limits(errors_in_row=1), StopReason.ERROR_LIMIT),
        (Limits(tokens=1), StopReason.ANSWERED),
    ],
)
def test_limits_hold_in_this_process_too(limits: Limits, stop: StopReason) -> None:
    stops = {trajectory.stop_reason for trajectory in rollout(HabitualPolicy(1.0), "store-v0", [0], limits=limits)}
    assert stops == {stop}


def test_limits_of_nothing_are_refused() -> None:
    for name in ("turns", "tokens", "errors_in_row", "seconds"):
        with pytest.raises(InputError, match=f"{name.replace('_', '-')} must be more than 0"):
            Limits(**{name: 0})


def write(path: Path, trajectories: Sequence[Trajectory]) -> None:
    with Archive(path) as archive:
        for trajectory in trajectories:
            archive.write(trajectory.to_json())


def opened(path: Path, *ids: str) -> RolloutFile:
    return RolloutFile(path, env="store-v0", policy="expert", wanted=ids)


def test_faults_are_taken_out_when_they_are_tried_again_and_only_then(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    write(path, list(rollout(Failing([1, 2], TimeoutError()), "store-v0", range(4), batch=1)))
    before = path.read_bytes().splitlines()
    with opened(path, "store-v0/test/1/0", "store-v0/test/9/0") as file:
        assert file.finished == {"store-v0/test/0/0", "store-v0/test/3/0"}
        assert file.faulted == {"store-v0/test/1/0"}
        assert path.read_bytes().splitlines() == [before[0], *before[2:]]
        for trajectory in rollout(ExpertPolicy(), "store-v0", [1]):
            file.write(trajectory)
        assert [trajectory.task["seed"] for trajectory in read_trajectories(path)] == [0, 2, 3, 1]
    assert [name.name for name in tmp_path.iterdir()] == ["run.jsonl"]


def test_a_last_line_without_its_end_is_kept_and_a_cut_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    write(path, list(rollout(Failing([0], TimeoutError()), "store-v0", range(3), batch=1)))
    whole = path.read_bytes()
    for kept, seeds in ((whole[:-1], [1, 2]), (whole[:-5], [1])):
        path.write_bytes(kept)
        with opened(path, "store-v0/test/0/0"):
            pass
        assert [trajectory.task["seed"] for trajectory in read_trajectories(path)] == seeds


def test_one_rollout_writes_to_a_file_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    write(path, list(rollout(Failing([0], TimeoutError()), "store-v0", range(3), batch=1)))
    with opened(path, "store-v0/test/0/0"), pytest.raises(InputError, match="by another rollout"):
        opened(path)
    opened(path).__exit__(None, None, None)


def test_a_file_that_can_not_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file" / "below.jsonl"):
        with pytest.raises(InputError, match="can't be written to"):
            opened(path)


def test_another_config_is_shown_as_a_diff(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    check_config(path, {"temperature": 0.5})
    keep_manifest(path, {"temperature": 0.5, "user": None}, {"commit": "a"})
    keep_manifest(path, {"temperature": 0.5, "user": None}, {"commit": "a"})
    keep_manifest(path, {"user": None, "temperature": 0.5}, {"commit": "b"})
    assert json.loads(manifest_path(path).read_text())["made_with"] == [{"commit": "a"}, {"commit": "b"}]
    with pytest.raises(InputError) as refused:
        keep_manifest(path, {"temperature": 1.0, "user": None, "split": "test"}, {"commit": "c"})
    assert str(refused.value).splitlines()[1:] == [
        "  - temperature: 0.5",
        "  + temperature: 1.0",
        "  - split: null",
        '  + split: "test"',
    ]
    for text in ("{", "[]", '{"schema_version": 2}', '{"schema_version": 1, "config": 1}'):
        manifest_path(path).write_text(text)
        with pytest.raises(InputError, match="move it away"):
            check_config(path, {})


def test_a_file_says_where_it_comes_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tiny.jsonl"
    command = ("rollout", "store-v0", "-n", "2", "--per-task", "2", "--out", str(path))
    code, said, _ = cli(capsys, monkeypatch, *command)
    assert (code, said.split(",")[0]) == (None, "4 trajectories")
    assert "tokens/s" in said
    manifest = json.loads(manifest_path(path).read_text())
    config, [made] = manifest["config"], manifest["made_with"]
    assert (config["policy"], config["env"], config["renderer"]) == ("tiny", "store-v0", "Qwen3Renderer")
    assert len(config["weights_sha256"]) == 64
    assert config["max_tokens"] == 96
    assert made["seeds"] == [0, 2]
    assert made["sampling_seeds"] == [0, 2]
    assert {"python", "torch", "transformers"} <= made["versions"].keys()
    assert Path(made["model_path"]).is_dir()
    before = path.read_bytes()
    code, _, errors = cli(capsys, monkeypatch, *command, "--limits.turns", "3")
    assert code == 2
    assert '+ limits: {"turns": 3' in errors
    code, _, errors = cli(capsys, monkeypatch, *command, "--max-tokens", "200")
    assert (code, "+ max_tokens: 200" in errors) == (2, True)
    assert path.read_bytes() == before
    code, said, _ = cli(capsys, monkeypatch, *command, "--per-task", "3")
    assert said.startswith("2 trajectories (4 skipped: already there)")


def test_a_killed_rollout_has_lost_nothing_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.jsonl"
    command = ("rollout", "store-v0", "--policy", "expert", "--batch", "1", "-n", "3000", "--out", str(path))
    running = subprocess.Popen([sys.executable, "-m", "envs", *command], cwd=ROOT, stdout=subprocess.DEVNULL)
    while not path.exists() or path.read_bytes().count(b"\n") < 40:
        assert running.poll() is None
        time.sleep(0.005)
    running.send_signal(signal.SIGKILL)
    running.wait()
    kept = [trajectory.id for trajectory in read_trajectories(path)]
    assert 40 <= len(kept) < 3000
    shorter = ("60" if part == "3000" else part for part in command)
    monkeypatch.setattr("envs.recording.commit", lambda: "another")
    cli(capsys, monkeypatch, *shorter)
    ids = [trajectory.id for trajectory in read_trajectories(path)]
    assert ids[: len(kept)] == kept
    assert len(ids) == len(set(ids)) >= 60


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("place", ["fsync", "replace"])
def test_a_rollout_that_is_killed_while_it_takes_faults_out_leaves_a_whole_file(tmp_path: Path, place: str) -> None:
    path = tmp_path / "run.jsonl"
    write(path, list(rollout(Failing([1], TimeoutError()), "store-v0", range(3), batch=1)))
    code = (
        "import os, signal, sys; from pathlib import Path; from envs.resume import RolloutFile\n"
        f"real = os.{place}\n"
        f"os.{place} = lambda *given: (real(*given), os.kill(os.getpid(), signal.SIGKILL))\n"
        "RolloutFile(Path(sys.argv[1]), env='', policy='', wanted=['store-v0/test/1/0'])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT, timeout=60)
    assert done.returncode == -signal.SIGKILL
    seeds = [trajectory.task["seed"] for trajectory in read_trajectories(path)]
    assert seeds == ([0, 1, 2] if place == "fsync" else [0, 2])
    with opened(path, "store-v0/test/1/0") as file:
        assert len(file.finished) == 2


def test_what_was_recorded_is_said_again(tmp_path: Path) -> None:
    path = tmp_path / "tiny.jsonl"
    write(path, first := list(rollout(load_policy("tiny"), "store-v0", range(4), n=2)))
    policy = load_policy(f"replay:{path}")
    again = {trajectory.id: trajectory for trajectory in rollout(policy, "store-v0", range(4), n=2)}
    for trajectory in first:
        replayed = again[trajectory.id]
        assert replayed.messages == trajectory.messages
        assert replayed.turns == trajectory.turns
        assert (replayed.reward, replayed.stop_reason) == (trajectory.reward, trajectory.stop_reason)
        assert replayed.policy == f"replay:{path}"
    assert len(list(rollout(policy, "store-v0", [2], sampling_seed=9))) == 1
    for world, seeds, options in (("store-v0", [7], {}), ("store-v0", [1], {"split": "train"}), ("store-v1", [1], {})):
        with pytest.raises(InputError, match=f"has no trajectory of {world}/"):
            list(rollout(policy, world, seeds, **options))  # type: ignore[arg-type]


def test_a_world_that_answers_otherwise_is_no_replay(tmp_path: Path) -> None:
    path = tmp_path / "expert.jsonl"
    [trajectory] = rollout(ExpertPolicy(), "store-v0", [0])
    record = trajectory.to_json()
    messages = [dict(message) for message in record["messages"]]
    for changed, said in (
        (
            [*messages[:3], {**messages[3], "content": "other"}, *messages[4:]],
            "answers otherwise .*message 3 was tool 'o",
        ),
        (messages[:4], "the record ends at message 4"),
    ):
        path.write_text(json.dumps({**record, "messages": changed}))
        with pytest.raises(InputError, match=said):
            list(rollout(load_policy(f"replay:{path}"), "store-v0", [0]))
    with pytest.raises(InputError, match="is no file"):
        load_policy("replay:nowhere.jsonl")


def test_a_person_plays_task_after_task(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "human.jsonl"
    lines = ":help\n:tools\n:undo\n\n:schema find_order\nfind_order order_id=1\nanswer Bye.\nanswer Hm.\n:task\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
    command = ("rollout", "store-v0", "--policy", "human", "-n", "3", "--out", str(path))
    code, said, errors = cli(capsys, monkeypatch, *command)
    assert (code, errors) == (130, "interrupted: what was finished is kept\n")
    assert "store-v0/test/2/0" in said
    assert ":undo is for python -m envs play" in said
    first, second = read_trajectories(path)
    assert [message["role"] for message in first.messages[2:]] == ["assistant", "tool", "assistant"]
    assert (first.policy, second.messages[-1]["content"]) == ("human", "Hm.")
    monkeypatch.setattr(sys, "stdin", io.StringIO("answer Well.\n"))
    assert cli(capsys, monkeypatch, *command)[1].count("store-v0/test/2/0") == 1
    assert len(list(read_trajectories(path))) == 3


def test_a_folder_may_be_said_to_be_hugging_faces() -> None:
    assert load_policy("hf:tiny").name == "tiny"
    with pytest.raises(InputError, match="no policy 'nowhere'"):
        load_policy("hf:nowhere")


def test_progress_says_how_fast_and_what_it_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    monkeypatch.setattr("envs.progress.SECONDS_BETWEEN_LINES", -1)
    console = Console(file=io.StringIO(), width=20, highlight=False)
    spent = Spent(price_in=1.0, price_out=2.0)
    spent.add(1_000_000, 500_000)
    tally = Tally(spent=spent, notes=["odd"])
    trajectories = list(rollout(Failing([1], TimeoutError()), "store-v0", range(3), batch=1))
    assert list(watched(trajectories, 3, tally, console)) == trajectories
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert lines[:2] == ["note: odd", lines[1]]
    assert lines[1].startswith("1 of 3 tasks, ")
    assert "infrastructure fault: store-v0/test/1/0: TimeoutError" in lines
    assert " left" in lines[-1]
    assert (tally.tasks, tally.faults, tally.ended) == (2, 1, 3)
    assert "tokens/s, 1 faults" in tally.line()
    assert spent.line() == "1,000,000 tokens in, 500,000 out, cost 2"
