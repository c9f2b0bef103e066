"""Rollouts of scripted policies: what they reach, that the same arguments give the same, and going on with a file."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from envs import Archive, StopReason, Trajectory, read_trajectories
from envs.policies import Context, ExpertPolicy, HabitualPolicy, Policy, RandomPolicy, Reply, load_policy
from envs.progress import Tally
from envs.resume import resume
from envs.rollout import rollout, trajectory_id
from tools.command import InputError


def run(policy: Policy, seeds: Sequence[int] = range(20), **options: object) -> list[Trajectory]:
    return sorted(rollout(policy, "store-v0", seeds, **options), key=lambda trajectory: trajectory.task["seed"])  # type: ignore[arg-type]


def codes(trajectory: Trajectory) -> set[str]:
    """The error codes in the tool results of a trajectory."""
    errors = [json.loads(message["content"])["errors"] for message in trajectory.messages if message.get("is_error")]
    return {violation["code"] for violations in errors for violation in violations}


@pytest.mark.parametrize("split", ["train", "test", "held_out", "pretrain"])
def test_the_expert_solves_every_task_without_an_error(split: str) -> None:
    for trajectory in run(ExpertPolicy(), range(40), split=split):
        assert trajectory.success
        assert trajectory.reward == 1.0
        assert trajectory.stop_reason == StopReason.ANSWERED
        assert not codes(trajectory)


def test_habits_lead_to_every_kind_of_error_that_a_desk_can_give() -> None:
    found = set().union(*map(codes, run(HabitualPolicy(rate=0.5), range(40))))
    assert {"nonexistent_tool", "wrong_type", "invalid_value", "missing_argument"} <= found


def test_without_habits_the_habitual_policy_is_the_expert() -> None:
    messages = [
        [trajectory.messages for trajectory in run(policy)] for policy in (HabitualPolicy(rate=0.0), ExpertPolicy())
    ]
    assert messages[0] == messages[1]


def test_guessing_solves_next_to_nothing() -> None:
    assert sum(trajectory.success for trajectory in run(RandomPolicy(), range(60))) <= 1


@pytest.mark.parametrize("policy", [HabitualPolicy(), RandomPolicy()])
def test_the_same_arguments_give_the_same_trajectories_whatever_the_batch(policy: Policy) -> None:
    first = run(policy, batch=64)
    assert run(policy, batch=64) == first
    assert run(policy, batch=1) == first
    assert run(policy, range(19, -1, -1), batch=7) == first


def test_another_sampling_seed_gives_other_samples_of_the_same_tasks() -> None:
    first, second = run(RandomPolicy()), run(RandomPolicy(), sampling_seed=1)
    assert [trajectory.task for trajectory in first] == [trajectory.task for trajectory in second]
    assert [trajectory.messages for trajectory in first] != [trajectory.messages for trajectory in second]


def test_a_trajectory_holds_its_task_its_tools_and_every_message() -> None:
    (trajectory,) = run(ExpertPolicy(), [7])
    assert trajectory.id == trajectory_id("store-v0", "test", 7) == "store-v0/test/7/0"
    assert trajectory.task["seed"] == 7
    assert trajectory.policy == "expert"
    assert trajectory.tools
    assert [message["role"] for message in trajectory.messages[:4]] == ["system", "user", "assistant", "tool"]
    assert trajectory.messages[-1]["role"] == "assistant"
    assert not trajectory.token_exact


def test_worlds_are_closed_when_a_rollout_is_left_in_the_middle() -> None:
    class Watching(ExpertPolicy):
        seen: Sequence[Context] = ()

        def act(self, contexts: Sequence[Context]) -> list[Reply]:
            self.seen = self.seen or contexts
            return super().act(contexts)

    policy = Watching()
    trajectories = rollout(policy, "store-v0", range(20))
    next(trajectories)
    trajectories.close()  # type: ignore[attr-defined]
    assert all(context.env.state() == {} for context in policy.seen)


def test_a_batch_of_none_is_refused() -> None:
    with pytest.raises(InputError, match="at least 1 task, came 0"):
        run(ExpertPolicy(), batch=0)


def test_a_file_is_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "expert.jsonl"
    archive, ids = resume(path, env="store-v0", policy="expert")
    assert ids == set()
    with archive:
        for trajectory in run(ExpertPolicy(), range(3)):
            archive.write(trajectory.to_json())
            assert list(read_trajectories(path))[-1].id == trajectory.id
    archive, ids = resume(path, env="store-v0", policy="expert")
    archive.close()
    assert ids == {trajectory_id("store-v0", "test", seed) for seed in range(3)}


def test_a_line_that_was_cut_off_is_not_counted(tmp_path: Path) -> None:
    path = tmp_path / "expert.jsonl"
    lines = [json.dumps(trajectory.to_json()) for trajectory in run(ExpertPolicy(), range(2))]
    path.write_text(f"{lines[0]}\n{lines[1][:50]}", encoding="utf-8")
    archive, ids = resume(path)
    archive.close()
    assert ids == {"store-v0/test/0/0"}


@pytest.mark.parametrize(("env", "policy"), [("store-v0", "random"), ("shop-v0", "expert")])
def test_a_file_of_another_policy_or_environment_is_left_alone(tmp_path: Path, env: str, policy: str) -> None:
    path = tmp_path / "expert.jsonl"
    with Archive(path) as archive:
        archive.write(run(ExpertPolicy(), [0])[0].to_json())
    before = path.read_bytes()
    with pytest.raises(InputError, match="choose another file"):
        resume(path, env=env, policy=policy)
    assert path.read_bytes() == before


def test_a_file_of_something_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("first line\nlast line without its end", encoding="utf-8")
    with pytest.raises(InputError, match="is no JSON"):
        resume(path)
    assert path.read_text(encoding="utf-8") == "first line\nlast line without its end"
    with pytest.raises(InputError, match="give the path of a JSONL file"):
        resume(tmp_path)


def test_a_file_that_can_not_be_written_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match="can't be written to"):
        resume(tmp_path / "file" / "below.jsonl")


def test_a_tally_counts_errors_by_their_flag() -> None:
    tally = Tally()
    assert "no call" in tally.line()
    for trajectory in run(HabitualPolicy(rate=0.5)):
        tally.add(trajectory)
    assert tally.tasks == 20
    assert 0 < tally.errors < tally.calls
    assert f"{100 * tally.errors / tally.calls:.1f} errors/100 calls" in tally.line()


def test_policies_are_found_by_name(tmp_path: Path) -> None:
    assert [load_policy(name).name for name in ("expert", "random", "habitual")] == ["expert", "random", "habitual"]
    with pytest.raises(InputError, match="did you mean 'expert'"):
        load_policy("exprt")
    with pytest.raises(InputError, match=r"known: .*tiny.*model folder"):
        load_policy(str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match=r"no config\.json"):
        load_policy(str(tmp_path))
