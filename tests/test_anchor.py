"""What is held to the start model: final answers, and whether a turn acts or answers; never an error's tokens."""

from copy import deepcopy
from dataclasses import replace
from itertools import islice
from random import Random
from typing import Any

import pytest
import torch

from critics import Criticized, criticize
from distill.anchor import anchors, endless, held, moved
from distill.config import Update
from distill.head import Head
from distill.learner import Learner
from distill.teacher import Reader
from envs import calls_of
from envs.policies.hf import LocalPolicy
from envs.rollout import rollout


@pytest.fixture(scope="module")
def policy() -> LocalPolicy:
    return LocalPolicy.load("tiny")


@pytest.fixture(scope="module")
def criticized(policy: LocalPolicy) -> list[Criticized]:
    return [(trajectory, criticize(trajectory)) for trajectory in rollout(policy, "store-v0", range(24), split="train")]


def test_held_are_the_first_token_of_each_turn_and_the_whole_answer(
    policy: LocalPolicy, criticized: list[Criticized]
) -> None:
    solved = [trajectory for trajectory, _ in criticized if trajectory.success]
    assert solved
    for trajectory in solved:
        trunk = held(trajectory)
        assert trunk is not None
        *calls, answer = trajectory.turns
        said = [trunk.ids[position] for position in trunk.asked]
        assert said == [*(turn.token_ids[0] for turn in calls), *answer.token_ids]
        assert not calls_of(trajectory.messages[answer.message_index])


def test_no_error_token_is_held(policy: LocalPolicy, criticized: list[Criticized]) -> None:
    corrections, *_ = Learner(deepcopy(policy.model), policy.writer, Update()).prepare(criticized, Random(0))
    kept = {trajectory.id: held(trajectory) for trajectory, _ in criticized}
    for correction in corrections:
        trunk = kept[correction.id]
        assert trunk is None or not set(trunk.asked) & set(correction.error_tokens)


def test_an_unsolved_trajectory_holds_nothing(criticized: list[Criticized]) -> None:
    assert [held(replace(trajectory, success=False)) for trajectory, _ in criticized] == [None] * len(criticized)
    assert held(replace(criticized[0][0], success=True, turns=())) is None


def test_the_start_model_has_not_moved_and_another_has(policy: LocalPolicy, criticized: list[Criticized]) -> None:
    found = anchors(Reader(policy.model), (trajectory for trajectory, _ in criticized))
    assert moved(policy.model, Head(policy.model), found[:4]).item() == pytest.approx(0, abs=1e-5)
    other = shifted(policy.model)
    distance = moved(other, Head(policy.model), found[:4])
    assert distance.item() > 0.001
    distance.backward()
    assert any(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in other.parameters())


def shifted(model: Any) -> Any:
    other = deepcopy(model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    return other


def test_anchors_come_again_and_none_is_left_out(policy: LocalPolicy, criticized: list[Criticized]) -> None:
    found = anchors(Reader(policy.model), (trajectory for trajectory, _ in criticized))
    drawn = list(islice(endless(found, Random(0)), 2 * len(found)))
    assert sorted(map(id, drawn)) == sorted([*map(id, found)] * 2)
    assert list(endless([], Random(0))) == []


def test_a_round_with_an_anchor_moves_what_is_held_less(policy: LocalPolicy, criticized: list[Criticized]) -> None:
    found = anchors(Reader(policy.model), (trajectory for trajectory, _ in criticized))

    def after(weight: float) -> float:
        student = Learner(deepcopy(policy.model), policy.writer, Update(anchor=weight, learning_rate=1e-3, epochs=2))
        _, figures = student.learn(criticized)
        assert (figures.anchor_loss > 0) == (weight > 0)
        with torch.no_grad():
            return moved(student.model, Head(policy.model), found).item()

    assert after(1.0) < 0.5 * after(0.0)


@pytest.mark.parametrize("teacher", ["frozen", "live", "ema"])
def test_the_start_model_stays_what_it_was(policy: LocalPolicy, criticized: list[Criticized], teacher: Any) -> None:
    student = Learner(deepcopy(policy.model), policy.writer, Update(teacher=teacher))
    student.learn(criticized[:8])
    for was, is_ in zip(policy.model.parameters(), student.teacher.start.model.parameters(), strict=True):
        assert torch.equal(was, is_)
    assert Learner(deepcopy(policy.model), policy.writer, Update(teacher=teacher, anchor=0)).teacher.start is None
