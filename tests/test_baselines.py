"""What hints are measured against learns from the same rollouts what it says it does, and from nothing else."""

from collections import Counter
from copy import deepcopy
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch

from critics import Criticized, criticize
from distill.baselines import expert_actions
from distill.config import Config, Method, Update
from distill.correction import by_turn
from distill.learner import Learner
from distill.lesson import Lesson
from distill.likelihood import imitation_loss, unlikelihood_loss
from distill.prefill import hinted_prefill, plain_prefill
from envs.policies.hf import LocalPolicy
from envs.rollout import rollout
from tools.command import InputError


@pytest.fixture(scope="module")
def policy() -> LocalPolicy:
    return LocalPolicy.load("tiny")


@pytest.fixture(scope="module")
def criticized(policy: LocalPolicy) -> list[Criticized]:
    return [(trajectory, criticize(trajectory)) for trajectory in rollout(policy, "store-v0", range(16), split="train")]


def learner(policy: LocalPolicy, method: Method, **options: Any) -> Learner:
    return Learner(deepcopy(policy.model), policy.writer, Update(method=method, epochs=1, anchor=0.0, **options))


def lessons(policy: LocalPolicy, criticized: list[Criticized], method: Method) -> list[Lesson]:
    return learner(policy, method).preparation(criticized, Random(0), {}).lessons


def surprise(model: Any, found: list[Lesson]) -> float:
    """Minus the mean log-prob of the lessons' tokens."""
    read = hinted_prefill if any(lesson.trunk.branches for lesson in found) else plain_prefill
    values = [
        -float(logprobs_NV[range(len(lesson.sampled.tokens)), list(lesson.sampled.tokens)].mean())
        for place, logprobs_NV in read(model, [lesson.trunk for lesson in found])
        if (lesson := found[place]).sampled
    ]
    return sum(values) / len(values)


def moved(policy: LocalPolicy, criticized: list[Criticized], method: Method) -> tuple[float, float]:
    """How surprising a baseline's tokens are before and after its update."""
    found = lessons(policy, criticized, method)
    student = learner(policy, method, learning_rate=1e-3)
    _, figures = student.learn(criticized)
    assert figures.corrections == 0
    assert figures.steps
    return surprise(policy.model, found), surprise(student.model, found)


def test_rejection_imitates_all_that_was_sampled_in_solved_trajectories_only(
    policy: LocalPolicy, criticized: list[Criticized]
) -> None:
    solved = [trajectory for trajectory, _ in criticized if trajectory.success]
    assert 0 < len(solved) < len(criticized)
    said = [tuple(token for turn in trajectory.turns for token in turn.token_ids) for trajectory in solved]
    found = lessons(policy, criticized, "rejection")
    assert Counter(tuple(lesson.sampled.tokens) for lesson in found if lesson.sampled) == Counter(said)
    before, after = moved(policy, criticized, "rejection")
    assert after < before


def test_unlikelihood_is_about_the_tokens_that_targeted_hints_are_about(
    policy: LocalPolicy, criticized: list[Criticized]
) -> None:
    corrections, *_ = Learner(deepcopy(policy.model), policy.writer, Update()).prepare(criticized, Random(0))
    wrong = Counter(
        (correction.id, correction.plain_ids[token]) for correction in corrections for token in correction.error_tokens
    )
    found = lessons(policy, criticized, "unlikelihood")
    assert sum(len(lesson.sampled.tokens) for lesson in found if lesson.sampled) == sum(wrong.values())
    before, after = moved(policy, criticized, "unlikelihood")
    assert after > before + 0.1


def test_the_expert_says_a_right_call_in_place_of_each_erroneous_turn(
    policy: LocalPolicy, criticized: list[Criticized]
) -> None:
    found = lessons(policy, criticized, "expert")
    wrong = {
        trajectory.id: (trajectory, [group[0].message_index for group in groups])
        for trajectory, findings in criticized
        if (groups := list(by_turn(findings)))
    }
    assert len(found) == len(wrong) > 0
    for lesson, (trajectory, indices) in zip(found, wrong.values(), strict=True):
        assert lesson.sampled
        labels = iter(lesson.sampled.tokens)
        for branch, (index, action) in zip(lesson.trunk.branches, expert_actions(trajectory, indices), strict=True):
            number = trajectory.turn_at(index)
            assert number is not None
            context = [*lesson.trunk.ids[: branch.start], *branch.ids]
            before = trajectory.prompt_ids(number)
            assert context[: len(before)] == before
            label = [context[position] for position in branch.asked]
            assert label == context[len(before) :] == [next(labels) for _ in label]
            [call] = action["tool_calls"]
            text = policy.writer.decode(label)
            assert call["function"]["name"] in text
            assert text.startswith("<tool_call>")  # the chat form would put an empty thought in front, the student none
    assert sum(len(lesson.trunk.branches) for lesson in found) > len(found)
    before_, after = moved(policy, criticized, "expert")
    assert after < before_


def test_hints_at_the_top_are_read_by_the_teacher_only(policy: LocalPolicy, criticized: list[Criticized]) -> None:
    found = lessons(policy, criticized, "hints-at-top")
    assert len(found) == sum(any(by_turn(findings)) for _, findings in criticized)
    for lesson in found:
        [branch] = lesson.trunk.branches
        hinted = [*lesson.trunk.ids[: branch.start], *branch.ids]
        assert "Reminder" in policy.writer.decode(hinted)
        assert "Reminder" not in policy.writer.decode(lesson.trunk.ids)
        assert [hinted[place] for place in branch.asked] == [lesson.trunk.ids[place] for place in lesson.trunk.asked]
        with torch.no_grad():
            whole = policy.model.get_decoder()(input_ids=torch.tensor([hinted])).last_hidden_state[0]
        assert lesson.teacher_ND is not None
        torch.testing.assert_close(
            lesson.teacher_ND, whole[[place - 1 for place in branch.asked]], atol=1e-4, rtol=1e-4
        )


def test_a_teacher_that_reads_no_hint_teaches_nothing(policy: LocalPolicy, criticized: list[Criticized]) -> None:
    student = Learner(
        deepcopy(policy.model), policy.writer, Update(admit=float("inf"), epochs=1, anchor=0.0), hint="none"
    )
    corrections, figures = student.learn(criticized)
    assert figures.admitted == len(corrections) > 0
    for correction in corrections:
        assert list(correction.hinted_ids) == list(correction.plain_ids)
    assert figures.losses[0] == pytest.approx(0, abs=1e-6)
    assert figures.loss < 1e-3  # AdamW makes steps of rounding errors too


def test_losses_of_single_tokens() -> None:
    now = torch.tensor([0.9, 0.5, 0.01], dtype=torch.double).log().requires_grad_()
    torch.testing.assert_close(imitation_loss(now), -now)
    torch.testing.assert_close(unlikelihood_loss(now), -(1 - now.exp()).log())
    assert torch.autograd.gradcheck(unlikelihood_loss, now)
    assert unlikelihood_loss(torch.zeros(1)).isfinite().all()


def test_a_baseline_has_no_knobs_of_targeted_hints() -> None:
    with pytest.raises(InputError, match="leave them out with rejection"):
        Update(method="rejection", reward=1.0).check()
    with pytest.raises(InputError, match="--hint placebo is a control"):
        Config(out=Path("x"), hint="placebo", update=Update(method="expert")).check()
