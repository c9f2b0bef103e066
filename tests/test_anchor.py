"""What is held to the start model: sure tokens of right turns, final answers, acting or answering; never an error."""

from copy import deepcopy
from itertools import islice
from math import exp, log
from random import Random
from typing import Any

import pytest
import torch
from msgspec.structs import replace

from critics import Criticized, criticize
from critics.finding import CERTAIN
from distill.anchor import Anchor, anchors, endless, held
from distill.config import Update
from distill.learner import Learner
from distill.lesson import Objective
from distill.teacher import Reader, Teacher
from envs import calls_of
from envs.policies.hf import LocalPolicy
from envs.rollout import rollout


@pytest.fixture(scope="module")
def policy() -> LocalPolicy:
    return LocalPolicy.load("tiny")


@pytest.fixture(scope="module")
def criticized(policy: LocalPolicy) -> list[Criticized]:
    return [(trajectory, criticize(trajectory)) for trajectory in rollout(policy, "store-v0", range(24), split="train")]


def test_held_are_sure_tokens_of_right_turns_and_in_solved_trajectories_first_tokens_and_the_answer(
    criticized: list[Criticized],
) -> None:
    assert {trajectory.success for trajectory, _ in criticized} == {True, False}
    for trajectory, findings in criticized:
        wrong = {finding.message_index for finding in findings if finding.confidence == CERTAIN}
        expected: list[int] = []
        for turn in trajectory.turns:
            answers = not calls_of(trajectory.messages[turn.message_index])
            for place, (token, logprob) in enumerate(zip(turn.token_ids, turn.logprobs, strict=True)):
                sure = exp(logprob) >= 0.9 and turn.message_index not in wrong
                if sure or (trajectory.success and (answers or place == 0)):
                    expected.append(token)
        trunk = held((trajectory, findings))
        assert [trunk.ids[position] for position in trunk.asked] == expected if trunk else not expected


def test_where_the_model_was_in_two_minds_nothing_is_held(criticized: list[Criticized]) -> None:
    """Another episode's error may have been decided at that very place."""
    for trajectory, findings in criticized:
        unsure = [replace(turn, logprobs=[log(0.5)] * len(turn.logprobs)) for turn in trajectory.turns]
        assert held((replace(trajectory, turns=unsure, success=False), findings)) is None


def test_no_error_token_is_held(policy: LocalPolicy, criticized: list[Criticized]) -> None:
    corrections, *_ = Learner(deepcopy(policy.model), policy.writer, Update()).prepare(criticized, Random(0))
    kept = {each[0].id: held(each) for each in criticized}
    for correction in corrections:
        trunk = kept[correction.id]
        assert trunk is None or not set(trunk.asked) & set(correction.error_tokens)


def test_a_trajectory_without_turns_holds_nothing(criticized: list[Criticized]) -> None:
    assert held((replace(criticized[0][0], success=True, turns=()), [])) is None


def test_the_start_model_has_not_moved_and_another_has(policy: LocalPolicy, criticized: list[Criticized]) -> None:
    found = anchors(Reader(policy.model), criticized)
    assert moved(policy.model, policy.model, found[:4]).item() == pytest.approx(0, abs=1e-5)
    other = shifted(policy.model)
    distance = moved(policy.model, other, found[:4])
    assert distance.item() > 0.001
    distance.backward()
    assert any(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in other.parameters())


def moved(start: Any, now: Any, found: list[Anchor]) -> torch.Tensor:
    """Nats a held token."""
    return Objective(now, Teacher(start, Update()), Update()).of_anchors(found).mean()


def shifted(model: Any) -> Any:
    other = deepcopy(model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    return other


def test_anchors_come_again_and_none_is_left_out(policy: LocalPolicy, criticized: list[Criticized]) -> None:
    found = anchors(Reader(policy.model), criticized)
    drawn = list(islice(endless(found, Random(0)), 2 * len(found)))
    assert sorted(map(id, drawn)) == sorted([*map(id, found)] * 2)
    assert list(endless([], Random(0))) == []


def test_a_round_with_an_anchor_moves_what_is_held_less(policy: LocalPolicy, criticized: list[Criticized]) -> None:
    found = anchors(Reader(policy.model), criticized)

    def after(weight: float) -> float:
        student = Learner(deepcopy(policy.model), policy.writer, Update(anchor=weight, learning_rate=1e-3, epochs=2))
        _, figures = student.learn(criticized)
        assert (figures.anchor_loss > 0) == (weight > 0)
        with torch.no_grad():
            return moved(policy.model, student.model, found).item()

    assert after(1.0) < 0.5 * after(0.0)


@pytest.mark.parametrize("teacher", ["frozen", "live", "ema"])
def test_the_start_model_stays_what_it_was(policy: LocalPolicy, criticized: list[Criticized], teacher: Any) -> None:
    student = Learner(deepcopy(policy.model), policy.writer, Update(teacher=teacher))
    student.learn(criticized[:8])
    for was, is_ in zip(policy.model.parameters(), student.teacher.start.model.parameters(), strict=True):
        assert torch.equal(was, is_)
    assert Learner(deepcopy(policy.model), policy.writer, Update(teacher=teacher, anchor=0)).teacher.start is None
