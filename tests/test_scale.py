"""Several processes train as one does; adapters, bf16 and micro-batches; and a state that is of another model."""

import json
import os
import subprocess
import sys
import time
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file

from critics import Criticized, criticize
from distill.config import Scale, Update
from distill.learner import Learner
from distill.ranks import Ranks, micro_batches
from envs import Archive, read_records
from envs.policies.hf import LocalPolicy
from envs.rollout import rollout
from tools.command import InputError

ROOT = Path(__file__).parents[1]
UPDATE = Update(epochs=1, minibatch=3)

SCRIPT = """
import sys
from pathlib import Path
from critics import criticize
from distill.config import Scale, Update
from distill.learner import Learner
from distill.ranks import Ranks
from envs import read_trajectories
from envs.policies.hf import LocalPolicy
from envs.rollout import rollout

folder, ranks = Path(sys.argv[1]), Ranks(cpu=True)
criticized = [(t, criticize(t)) for t in read_trajectories(folder / "trajectories.jsonl")]
for spread in ("ddp", "fsdp2"):
    policy = LocalPolicy.load("tiny")
    student = Learner(policy.model, policy.writer, Update(epochs=1, minibatch=3),
                      scale=Scale(spread=spread, micro_batch=1), ranks=ranks)
    student.learn(criticized)
    (state := folder / f"{spread}-state").mkdir(exist_ok=True)
    ranks.wait()
    student.save(state)
    student.learn(criticized, number=1)
    student.load(state)
    with student.student.whole():  # ranks need not do the same here
        list(rollout(policy, "store-v0", range(1 + ranks.rank)))
    student.learn(criticized, number=1)
    student.student.save(folder / spread, policy.writer.tokenizer)
"""


@pytest.fixture(scope="module")
def policy() -> LocalPolicy:
    return LocalPolicy.load("tiny")


@pytest.fixture(scope="module")
def criticized(policy: LocalPolicy) -> list[Criticized]:
    return [(trajectory, criticize(trajectory)) for trajectory in rollout(policy, "store-v0", range(6), split="train")]


def learner(policy: LocalPolicy, update: Update = UPDATE, **options: Any) -> Learner:
    return Learner(deepcopy(policy.model), policy.writer, update, **options)


def started(*arguments: str) -> subprocess.Popen[str]:
    """Two processes."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", *arguments]
    paths = os.environ.get("PYTHONPATH", "")
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}{os.pathsep}{paths}"}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=env, cwd=ROOT)


def torchrun(*arguments: str) -> subprocess.CompletedProcess[str]:
    running = started(*arguments)
    out, err = running.communicate()
    return subprocess.CompletedProcess(running.args, running.returncode, out, err)


def farthest(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    assert set(one) == set(other)
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def test_two_processes_learn_what_one_does_with_ddp_and_fsdp2_also_from_a_saved_state(
    policy: LocalPolicy, criticized: list[Criticized], tmp_path: Path
) -> None:
    with Archive(tmp_path / "trajectories.jsonl") as archive:
        for trajectory, _ in criticized:
            archive.write(trajectory.to_json())
    (tmp_path / "script.py").write_text(SCRIPT)
    done = torchrun(str(tmp_path / "script.py"), str(tmp_path))
    assert done.returncode == 0, done.stderr
    alone = learner(policy)
    for number in range(2):
        alone.learn(criticized, number=number)
    alone.student.save(tmp_path / "alone", policy.writer.tokenizer)
    start, expected = (
        load_file(folder / "model.safetensors") for folder in (ROOT / "envs/policies/tiny", tmp_path / "alone")
    )
    moved = farthest(start, expected)
    for spread in ("ddp", "fsdp2"):
        assert farthest(load_file(tmp_path / spread / "model.safetensors"), expected) < 0.1 * moved


@pytest.mark.slow
def test_a_run_of_two_processes_is_the_run_of_one(tmp_path: Path) -> None:
    sizes = ["--rounds", "2", "--rollouts", "12", "--tasks", "12", "--held-out-tasks", "6", "--band.tasks", "8"]
    two, one = tmp_path / "two", tmp_path / "one"
    done = torchrun("-m", "distill", "--out", str(two), "--epochs", "1", *sizes)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("invalid calls") == 1
    alone = subprocess.run([sys.executable, "-m", "distill", "--out", str(one), "--epochs", "1", *sizes])
    assert alone.returncode == 0
    for name in ("trajectories", "findings", "corrections"):
        ids, expected = ([record["id"] for record in read_records(out / f"{name}.jsonl")] for out in (two, one))
        assert ids == expected
    for ours, theirs in zip(*(read_records(out / "metrics.jsonl") for out in (two, one)), strict=True):
        assert ours["losses"] == pytest.approx(theirs["losses"], rel=1e-4)
    assert (
        json.loads((two / "summary.json").read_text())["after"]
        == json.loads((one / "summary.json").read_text())["after"]
    )
    resumed = subprocess.run(
        [sys.executable, "-m", "distill", "--out", str(two), "--epochs", "1", *sizes, "--resume"],
        capture_output=True,
        text=True,
    )
    assert resumed.returncode == 2
    assert "holds a run of 2 processes, and this is one of 1" in resumed.stderr


def killed_once_there_is(path: Path, *arguments: str) -> None:
    """Start two processes, and kill -9 both of them, and what started them, as soon as there is a file."""
    running = started(*arguments)
    try:
        while not path.exists():
            assert running.poll() is None, running.communicate()[1]
            time.sleep(0.05)
    finally:
        if running.poll() is None:
            launcher = psutil.Process(running.pid)
            for process in [launcher, *launcher.children(recursive=True)]:
                process.kill()
            running.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("spread", ["ddp", "fsdp2"])
def test_two_processes_go_on_after_kill_9_as_if_nothing_had_happened(spread: str, tmp_path: Path) -> None:
    sizes = ["--rounds", "3", "--rollouts", "8", "--tasks", "4", "--held-out-tasks", "4", "--band.tasks", "4"]
    options = ["--epochs", "1", "--spread", spread, *sizes]
    cut, whole = tmp_path / "cut", tmp_path / "whole"
    done = torchrun("-m", "distill", "--out", str(whole), *options)
    assert done.returncode == 0, done.stderr
    # In the second round, and once more in the middle of the third one's update or guard.
    killed_once_there_is(cut / "state" / "0001", "-m", "distill", "--out", str(cut), *options)
    killed_once_there_is(cut / "state" / "0002", "-m", "distill", "--out", str(cut), *options, "--resume")
    assert not (cut / "summary.json").exists()
    done = torchrun("-m", "distill", "--out", str(cut), *options, "--resume")
    assert done.returncode == 0, done.stderr
    ours, theirs = (list(read_records(out / "metrics.jsonl")) for out in (cut, whole))
    assert [record["losses"] for record in ours] == [record["losses"] for record in theirs]
    assert sum(len(record["losses"]) for record in ours) >= 3
    for name in ("trajectories", "findings", "corrections"):
        assert (cut / f"{name}.jsonl").read_bytes() == (whole / f"{name}.jsonl").read_bytes()
    weights = (load_file(out / "checkpoint" / "model.safetensors") for out in (cut, whole))
    assert farthest(*weights) == 0.0


def test_micro_batches_add_up_to_the_step(policy: LocalPolicy, criticized: list[Criticized]) -> None:
    whole, parts = (learner(policy, scale=Scale(micro_batch=size)) for size in (0, 1))
    losses = [student.learn(criticized)[1].losses for student in (whole, parts)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


class Two:
    """One of two ranks."""

    world = 2

    def __init__(self, rank: int) -> None:
        self.rank = rank

    def share(self, items: Any) -> Any:
        return Ranks.share(self, items)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [0, 1, 2])
def test_ranks_make_as_many_passes_and_count_each_item_once(size: int) -> None:
    counted, passes = [], set()
    for rank in range(2):
        parts = micro_batches(list(range(5)), ["a", "b"], Two(rank), size)  # type: ignore[arg-type]
        passes.add(len(parts))
        assert all(part.items and part.beside for part in parts)
        counted += [item for part in parts if part.items_count for item in part.items]
        counted += [item for part in parts if part.beside_counts for item in part.beside]
    assert len(passes) == 1
    assert sorted(map(str, counted)) == ["0", "1", "2", "3", "4", "a", "b"]


def test_an_adapter_alone_is_trained_and_its_folder_is_a_policy(
    policy: LocalPolicy, criticized: list[Criticized], tmp_path: Path
) -> None:
    student = learner(policy, Update(teacher="live", epochs=1), scale=Scale(lora=4))
    _, figures = student.learn(criticized)
    assert figures.steps
    assert sum(part.numel() for part in student.student.parameters()) < 0.1 * policy.model.num_parameters()
    student.save(tmp_path / "state")
    student.student.save(tmp_path / "adapter", policy.writer.tokenizer)
    assert (tmp_path / "adapter" / "adapter_config.json").is_file()
    again = LocalPolicy.load(tmp_path / "adapter")
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        ours, theirs, start = (model(input_ids=ids).logits for model in (student.model, again.model, policy.model))
    assert torch.allclose(ours, theirs, atol=1e-4)
    assert not torch.allclose(ours, start, atol=1e-4)


def test_bf16_passes_learn_with_weights_in_fp32(policy: LocalPolicy, criticized: list[Criticized]) -> None:
    full, half = (learner(policy, scale=Scale(precision=precision)) for precision in ("as-loaded", "bf16"))
    losses = [student.learn(criticized)[1].losses for student in (full, half)]
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.1)
    assert {part.dtype for part in half.student.parameters()} == {torch.float32}


def test_a_model_that_was_loaded_in_bf16_learns_with_weights_in_fp32_too(
    policy: LocalPolicy, criticized: list[Criticized]
) -> None:
    model = deepcopy(policy.model).bfloat16()
    student = Learner(model, policy.writer, replace(UPDATE, learning_rate=1e-6))
    start = [part.detach().clone() for part in student.student.parameters()]
    assert student.learn(criticized)[1].steps
    assert {part.dtype for part in student.student.parameters()} == {torch.float32}
    assert any(not torch.equal(*pair) for pair in zip(start, student.student.parameters(), strict=True))


def test_a_state_of_another_model_is_refused(policy: LocalPolicy, criticized: list[Criticized], tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    learner(policy).save(tmp_path)
    config = deepcopy(policy.model.config)
    config.intermediate_size *= 2
    other = Learner(AutoModelForCausalLM.from_config(config), policy.writer, UPDATE)
    with pytest.raises(InputError, match="of another model, or broken"):
        other.load(tmp_path)


@pytest.mark.parametrize(
    ("update", "scale", "said"),
    [
        (Update(), Scale(spread="fsdp2"), "torchrun"),
        (Update(refresh=True), Scale(lora=4), "leave out one"),
        (Update(refresh=True, teacher="live"), Scale(), "moves by itself"),
        (Update(), Scale(micro_batch=-1), "from 0"),
    ],
)
def test_what_does_not_go_together_is_refused(policy: LocalPolicy, update: Update, scale: Scale, said: str) -> None:
    with pytest.raises(InputError, match=said):
        learner(policy, update, scale=scale)


def test_a_refreshed_teacher_is_the_student_and_is_saved(
    policy: LocalPolicy, criticized: list[Criticized], tmp_path: Path
) -> None:
    update = Update(refresh=True, epochs=1)
    student, again = learner(policy, update), learner(policy, update)
    student.learn(criticized)
    student.refresh()
    student.save(tmp_path)
    again.load(tmp_path)
    for teacher in (student.teacher, again.teacher):
        pairs = zip(teacher.model.parameters(), student.model.parameters(), strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)
        pairs = zip(teacher.start.model.parameters(), policy.model.parameters(), strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)
