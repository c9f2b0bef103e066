"""What must not move: the turns that are watched, how far a model has moved there, and which rounds are undone."""

from copy import deepcopy
from math import inf, nan

import pytest
import torch
from msgspec.structs import replace

from critics import Criticized, criticize
from distill import head as heads
from distill.config import Band
from distill.divergence import forward_kl
from distill.guard import Divergences, Probe, broken, right_turns
from distill.prefill import plain_prefill
from envs import Message, Trajectory, calls_of, make
from envs.policies.hf import LocalPolicy
from envs.rollout import rollout
from tools import ErrorCode

STILL = Divergences(clean=0.0, final=0.0)


@pytest.fixture(scope="module")
def policy() -> LocalPolicy:
    return LocalPolicy.load("tiny")


@pytest.fixture(scope="module")
def criticized(policy: LocalPolicy) -> list[Criticized]:
    return [(trajectory, criticize(trajectory)) for trajectory in rollout(policy, "store-v0", range(32))]


def test_right_turns_are_answers_and_calls_where_no_habit_applies(
    policy: LocalPolicy, criticized: list[Criticized]
) -> None:
    plain = 0
    for trajectory, findings in criticized:
        calls, answer = right_turns(trajectory, findings)
        last = len(trajectory.turns) - 1
        ids = [*trajectory.prompt_ids(last), *trajectory.turns[last].token_ids]
        assert policy.writer.decode([ids[position] for position in answer]) == (
            trajectory.turns[last].raw if trajectory.success else ""
        )
        said = policy.writer.decode([ids[position] for position in calls])
        env = make("store-v0", split="test")
        env.reset(seed=trajectory.task["seed"])
        wrong = {finding.message_index for finding in findings}
        for turn in trajectory.turns if trajectory.success else ():
            message = trajectory.messages[turn.message_index]
            # A habitual expert would say the same: that is what it means that no habit applies.
            same = env.expert_action() == env.expert_action(env.habits)
            assert not (turn.message_index in wrong and turn.raw in said)
            if calls_of(message) and same and turn.message_index not in wrong:
                assert turn.raw in said
                plain += 1
            env.step(message)
        env.close()
    assert plain > 5


def test_a_model_that_has_not_moved_has_no_divergence_and_one_that_has_does(
    policy: LocalPolicy, criticized: list[Criticized]
) -> None:
    probe = Probe(policy.model, criticized)
    still = probe.divergences(policy.model)
    assert (still.clean, still.final) == (0.0, 0.0)
    moved = deepcopy(policy.model)
    with torch.no_grad():
        for parameter in moved.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    far = probe.divergences(moved)
    assert far.clean > 0.001
    assert far.final > 0.001


def test_a_probe_keeps_no_distributions_and_says_what_they_would_of_a_model_that_learns_in_place(
    policy: LocalPolicy, criticized: list[Criticized], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = deepcopy(policy.model)
    probe = Probe(model, criticized)
    width = model.config.hidden_size
    assert {states.shape[1] for states in probe.start.values()} == {width}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    start, now = (dict(plain_prefill(one, probe.trunks)) for one in (policy.model, model))
    moved = torch.cat([forward_kl(start[place], now[place]) for place in range(len(probe.trunks))])
    final = torch.cat(probe.final)
    for chunk in (heads.CHUNK, 100):
        monkeypatch.setattr(heads, "CHUNK", chunk)
        found = probe.divergences(model)
        assert found.final == pytest.approx(float(moved[final].mean()), rel=1e-4)
        assert found.clean == pytest.approx(float(moved[~final].mean()), rel=1e-4)


def test_in_an_unsolved_trajectory_those_calls_are_right_that_the_expert_would_make(
    criticized: list[Criticized],
) -> None:
    right = 0
    for trajectory, findings in criticized:
        calls, _ = right_turns(trajectory, findings)
        assert right_turns(replace(trajectory, success=False), findings) == (calls, [])
        elsewhere = replace(trajectory, success=False, messages=[*map(_of_another, trajectory.messages)])
        assert right_turns(elsewhere, findings) == ([], [])
        right += len(calls)
    assert right > 100


def _of_another(message: Message) -> Message:
    """The same calls of another tool, which nobody would call here."""
    calls = [{**call, "function": {**call["function"], "name": "another"}} for call in calls_of(message)]
    return {**message, "tool_calls": calls} if calls else message  # type: ignore[typeddict-item]


def test_a_probe_without_right_turns_says_nothing(policy: LocalPolicy, criticized: list[Criticized]) -> None:
    unsolved = [(replace(trajectory, success=False), findings) for trajectory, findings in criticized if findings]
    wrong = [
        (trajectory, [replace(findings[0], message_index=turn.message_index) for turn in trajectory.turns])
        for trajectory, findings in unsolved
    ]
    assert wrong
    assert Probe(policy.model, wrong).divergences(policy.model) == STILL


def episodes(success: int, calls: int = 3, malformed: int = 0, tasks: int = 32) -> list[Criticized]:
    """Tasks with some calls each, the first of them solved, the first calls of some malformed."""
    call = {"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    said: list[Message] = [{"role": "assistant", "content": "", "tool_calls": [call]} for _ in range(calls)]
    broken_call = {"id": "c", "type": "function", "function": {"name": "", "arguments": "{"}}
    bad: list[Message] = [{"role": "assistant", "content": "", "tool_calls": [broken_call]}, *said[1:]]
    trajectories = [
        Trajectory(
            id=str(task),
            env="store-v0",
            task={},
            policy="p",
            tools=[],
            messages=bad if task < malformed else said,
            success=task < success,
        )
        for task in range(tasks)
    ]
    return [
        (part, [finding for finding in criticize(part) if finding.code is ErrorCode.MALFORMED_CALL])
        for part in trajectories
    ]


@pytest.mark.parametrize(
    ("now", "moved", "said"),
    [
        (episodes(28), STILL, ""),
        (episodes(30, calls=4), Divergences(clean=0.04, final=0.01), ""),
        ([], Divergences(clean=0.06, final=0.01), "divergence on right calls is 0.060"),
        (episodes(25), STILL, ""),
        (episodes(18), STILL, "success fell from 88% to 56%"),
        (episodes(28, calls=2), STILL, "valid calls per task fell from 3.00 to 2.00"),
        (episodes(28, calls=4, malformed=20), STILL, "malformed calls rose to 15.6 per 100"),
        ([], Divergences(clean=0.0, final=0.06), "divergence on final answers is 0.060"),
        ([], Divergences(clean=0.0, final=nan), "divergence on final answers is nan"),
    ],
)
def test_a_round_is_undone_when_a_figure_leaves_its_band(now: list[Criticized], moved: Divergences, said: str) -> None:
    reasons = broken(episodes(28), now, moved, Band())
    assert len(reasons) == bool(said)
    assert said in "".join(reasons)


def test_a_guard_can_be_switched_off() -> None:
    far = Divergences(clean=1.0, final=1.0)
    assert len(broken(episodes(28), episodes(5, calls=1), far, Band())) == 4
    assert broken(episodes(28), episodes(5, calls=1), far, Band(off=True)) == []
    each_off = Band(success=1.0, valid_calls=0.0, malformed=inf, final_divergence=inf, clean_divergence=inf)
    assert broken(episodes(28), episodes(5, calls=1, malformed=20), far, each_off) == []
