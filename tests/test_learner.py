"""One round of learning, on the embedded model: the error falls, the rest stays, a placebo does nothing."""

from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch

from critics import criticize
from critics.finding import Finding
from distill.config import Update
from distill.correction import Correction
from distill.learner import Learner, RoundFigures, by_turn, hint_effect
from distill.prefill import Span, prefilled
from envs import Trajectory
from envs.policies.hf import LocalPolicy
from envs.rollout import rollout
from tools import INVALID_CALL_CODES
from tools.command import InputError


@pytest.fixture(scope="module")
def policy() -> LocalPolicy:
    return LocalPolicy.load("tiny")


@pytest.fixture(scope="module")
def criticized(policy: LocalPolicy) -> list[tuple[Trajectory, list[Finding]]]:
    return [(trajectory, criticize(trajectory)) for trajectory in rollout(policy, "store-v0", range(24), split="train")]


def learner(policy: LocalPolicy, **options: Any) -> Learner:
    return Learner(deepcopy(policy.model), policy.writer, Update(), **options)


@pytest.fixture(scope="module")
def learned(
    policy: LocalPolicy, criticized: list[tuple[Trajectory, list[Finding]]]
) -> tuple[Learner, list[Correction], RoundFigures]:
    """A student after one round."""
    student = learner(policy)
    return student, *student.learn(criticized)


def error_logprob(model: Any, corrections: list[Correction]) -> float:
    """The mean log-prob of the corrections' error tokens in the plain context."""
    parts = prefilled(model, [Span(correction.plain_ids, correction.error_tokens) for correction in corrections])
    tokens = [[c.plain_ids[position] for position in c.error_tokens] for c in corrections]
    chosen = [part[torch.arange(len(row)), row].sum() for part, row in zip(parts, tokens, strict=True)]
    return float(torch.stack(chosen).mean())


def test_a_round_lowers_the_errors_in_the_plain_context(
    policy: LocalPolicy, learned: tuple[Learner, list[Correction], RoundFigures]
) -> None:
    student, corrections, figures = learned
    assert figures.admitted > 0.8 * figures.corrections > 0
    assert all(policy.writer.decode(correction.plain_ids).count("Reminder") == 0 for correction in corrections)
    assert error_logprob(student.model, corrections) < error_logprob(policy.model, corrections) - 0.3


def test_logprobs_are_what_whole_forward_passes_give(
    policy: LocalPolicy, learned: tuple[Learner, list[Correction], RoundFigures]
) -> None:
    _, corrections, _ = learned
    for correction in corrections[:20]:
        for ids, positions, logprobs in (
            (correction.plain_ids, correction.error_tokens, correction.student_logprobs),
            (correction.hinted_ids, correction.hinted_error_tokens, correction.teacher_logprobs),
        ):
            with torch.no_grad():
                whole = policy.model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
            expected = [whole[position - 1, ids[position]].item() for position in positions]
            assert logprobs == pytest.approx(expected, abs=1e-4)


def test_a_placebo_is_refused_or_changes_next_to_nothing(
    policy: LocalPolicy,
    criticized: list[tuple[Trajectory, list[Finding]]],
    learned: tuple[Learner, list[Correction], RoundFigures],
) -> None:
    real, corrections, _ = learned
    control = learner(policy, hint="placebo")
    control.learn(criticized)
    start = error_logprob(policy.model, corrections)
    fall, control_fall = (start - error_logprob(student.model, corrections) for student in (real, control))
    assert control_fall < 0.2 * fall


def test_the_teacher_stays_as_it_was(
    policy: LocalPolicy, learned: tuple[Learner, list[Correction], RoundFigures]
) -> None:
    student, _, _ = learned
    for teacher, start in zip(student.teacher.parameters(), policy.model.parameters(), strict=True):
        assert torch.equal(teacher, start)


def test_hints_halve_most_errors(learned: tuple[Learner, list[Correction], RoundFigures]) -> None:
    _, corrections, figures = learned
    assert figures.hint_effect == hint_effect(corrections)
    assert figures.hint_effect["nonexistent_tool"] > 0.8


def test_no_errors_is_no_update(policy: LocalPolicy) -> None:
    student = learner(policy)
    corrections, figures = student.learn([])
    assert (corrections, figures.steps, figures.hint_effect) == ([], 0, {})
    for parameter, start in zip(student.model.parameters(), policy.model.parameters(), strict=True):
        assert torch.equal(parameter, start)


def test_only_invalid_calls_are_trained_on(criticized: list[tuple[Trajectory, list[Finding]]]) -> None:
    trained = [finding for _, findings in criticized for turn in by_turn(findings) for finding in turn]
    assert trained
    assert {finding.code for finding in trained} <= INVALID_CALL_CODES


def test_trajectories_without_tokens_are_dropped_and_counted(
    policy: LocalPolicy, criticized: list[tuple[Trajectory, list[Finding]]]
) -> None:
    bare = [(replace(trajectory, turns=()), findings) for trajectory, findings in criticized]
    _, figures = learner(policy).learn(bare)
    assert figures.corrections == figures.steps == 0
    assert figures.dropped["the turn has no token ids"] > 0


def test_a_config_out_of_range_is_refused() -> None:
    with pytest.raises(InputError, match="learning rate"):
        Update(learning_rate=2.0).check()
