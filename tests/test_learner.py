"""One round of learning, on the embedded model: the error falls, the rest stays, a placebo does nothing."""

from collections.abc import Sequence
from copy import deepcopy
from math import log
from pathlib import Path
from random import Random
from typing import Any, get_args

import pytest
import torch
from msgspec.structs import replace

from critics import Criticized, criticize
from distill.config import DivergenceKind, Scope, TeacherKind, Update
from distill.correction import Correction, by_turn
from distill.learner import Learner, RoundFigures
from distill.prefill import Trunk, plain_prefill
from distill.preparing import given, hint_effect
from envs.policies.hf import LocalPolicy
from envs.rollout import rollout
from tools import INVALID_CALL_CODES
from tools.command import InputError


@pytest.fixture(scope="module")
def policy() -> LocalPolicy:
    return LocalPolicy.load("tiny")


@pytest.fixture(scope="module")
def criticized(policy: LocalPolicy) -> list[Criticized]:
    return [(trajectory, criticize(trajectory)) for trajectory in rollout(policy, "store-v0", range(24), split="train")]


def learner(policy: LocalPolicy, update: Update | None = None, **options: Any) -> Learner:
    return Learner(deepcopy(policy.model), policy.writer, update or Update(), **options)


@pytest.fixture(scope="module")
def learned(policy: LocalPolicy, criticized: list[Criticized]) -> tuple[Learner, list[Correction], RoundFigures]:
    """A student after one round."""
    student = learner(policy)
    return student, *student.learn(criticized)


def error_logprob(model: Any, corrections: Sequence[Correction]) -> float:
    """The mean log-prob of the corrections' error tokens in the plain context."""
    trunks = [Trunk(correction.plain_ids, correction.error_tokens) for correction in corrections]
    total = 0.0
    for place, logprobs_NV in plain_prefill(model, trunks):
        tokens = [trunks[place].ids[position] for position in trunks[place].asked]
        total += float(logprobs_NV[torch.arange(len(tokens)), tokens].sum())
    return total / len(corrections)


def test_a_round_lowers_the_errors_in_the_plain_context(
    policy: LocalPolicy, learned: tuple[Learner, list[Correction], RoundFigures]
) -> None:
    student, corrections, figures = learned
    assert figures.admitted > 0.8 * figures.corrections > 0
    assert all(policy.writer.decode(correction.plain_ids).count("Reminder") == 0 for correction in corrections)
    assert error_logprob(student.model, corrections) < error_logprob(policy.model, corrections) - 0.3


def test_logprobs_of_every_target_token_are_what_whole_forward_passes_give(
    policy: LocalPolicy, learned: tuple[Learner, list[Correction], RoundFigures]
) -> None:
    _, corrections, _ = learned
    for correction in corrections:
        for ids, logprobs in (
            (correction.plain_ids, correction.student_logprobs),
            (correction.hinted_ids, correction.teacher_logprobs),
        ):
            with torch.no_grad():
                whole = policy.model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
            turn = range(len(ids) - len(logprobs), len(ids))
            expected = [whole[position - 1, ids[position]].item() for position in turn]
            assert logprobs == pytest.approx(expected, abs=1e-5, rel=1e-5)


def test_a_placebo_changes_next_to_nothing(
    policy: LocalPolicy, criticized: list[Criticized], learned: tuple[Learner, list[Correction], RoundFigures]
) -> None:
    real, corrections, _ = learned
    control = learner(policy, hint="placebo")
    control.learn(criticized)
    start = error_logprob(policy.model, corrections)
    fall, control_fall = (start - error_logprob(student.model, corrections) for student in (real, control))
    assert control_fall < 0.2 * fall


def test_shuffled_hints_help_less_than_those_that_belong_there(
    policy: LocalPolicy, criticized: list[Criticized], learned: tuple[Learner, list[Correction], RoundFigures]
) -> None:
    _, corrections, figures = learned
    shuffled, _, _ = learner(policy, hint="shuffled").prepare(criticized, Random(0))
    assert len(shuffled) == len(corrections)
    assert sum(correction.admitted for correction in shuffled) < figures.admitted
    fall, shuffled_fall = (sum(c.fall(c.error_tokens) for c in each) for each in (corrections, shuffled))
    assert shuffled_fall < 0.6 * fall


def test_shuffled_hints_are_real_ones_of_other_turns() -> None:
    hints = ["a", "b", "a", "c"]
    shuffled = given(hints, "shuffled", Random(0))
    assert all(other in hints and other != hint for hint, other in zip(hints, shuffled, strict=True))
    assert given(["a", "a"], "shuffled", Random(0)) == ["a", "a"]


@pytest.mark.parametrize("teacher", get_args(TeacherKind))
def test_every_teacher_lowers_the_errors(
    policy: LocalPolicy,
    criticized: list[Criticized],
    learned: tuple[Learner, list[Correction], RoundFigures],
    teacher: TeacherKind,
) -> None:
    student = learner(policy, Update(teacher=teacher, ema_decay=0.8))
    corrections, _ = student.learn(criticized)
    assert error_logprob(student.model, corrections) < error_logprob(policy.model, corrections) - 0.3
    same = [
        torch.equal(theirs, start)
        for theirs, start in zip(student.teacher.model.parameters(), policy.model.parameters(), strict=True)
    ]
    assert all(same) if teacher == "frozen" else not any(same)
    assert (student.teacher.model is student.model) == (teacher == "live")


def test_a_live_teachers_first_step_is_a_frozen_ones(policy: LocalPolicy, criticized: list[Criticized]) -> None:
    frozen, live = (
        learner(policy, Update(teacher=teacher, epochs=1, minibatch=1_000)) for teacher in ("frozen", "live")
    )
    for student in (frozen, live):
        _, figures = student.learn(criticized)
        assert figures.steps == 1
    pairs = zip(frozen.model.parameters(), live.model.parameters(), strict=True)
    # Adam's first step is the gradient's sign where it isn't next to 0.
    assert all(torch.allclose(one, other, atol=2e-5) for one, other in pairs)


@pytest.mark.parametrize(
    "update",
    [
        *(Update(divergence=divergence, epochs=2) for divergence in get_args(DivergenceKind)),
        *(Update(scope=scope, epochs=2) for scope in get_args(Scope)),
    ],
    ids=lambda update: f"{update.divergence}, {update.scope}",
)
def test_every_divergence_and_scope_lowers_the_errors(
    policy: LocalPolicy, criticized: list[Criticized], update: Update
) -> None:
    student = learner(policy, update)
    corrections, figures = student.learn(criticized[:12])
    assert figures.finite
    assert error_logprob(student.model, corrections) < error_logprob(policy.model, corrections)


def test_a_hint_has_to_lower_its_error_as_far_as_was_asked(policy: LocalPolicy, criticized: list[Criticized]) -> None:
    for admit in (1.0, 0.5, 0.001):
        corrections, lessons, dropped = learner(policy, Update(admit=admit)).prepare(criticized, Random(0))
        admitted = [correction for correction in corrections if correction.admitted]
        assert all((c.fall(c.error_tokens) > -log(admit)) == c.admitted for c in corrections)
        assert sum(lesson.corrections for lesson in lessons) == len(admitted)
        assert dropped["the hint did not lower the error enough"] == len(corrections) - len(admitted)
    assert 0 < len(admitted) < len(corrections)


def test_the_student_sees_no_hint(policy: LocalPolicy, criticized: list[Criticized]) -> None:
    corrections, lessons, _ = learner(policy).prepare(criticized, Random(0))
    assert corrections
    hints = {correction.hint for correction in corrections}
    for lesson in lessons:
        said = policy.writer.decode(lesson.trunk.ids)
        assert not any(hint in said for hint in hints)


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


def test_only_invalid_calls_are_trained_on(criticized: list[Criticized]) -> None:
    trained = [finding for _, findings in criticized for turn in by_turn(findings) for finding in turn]
    assert trained
    assert {finding.code for finding in trained} <= INVALID_CALL_CODES


def test_trajectories_without_tokens_are_dropped_and_counted(policy: LocalPolicy, criticized: list[Criticized]) -> None:
    bare = [(replace(trajectory, turns=()), findings) for trajectory, findings in criticized]
    _, figures = learner(policy).learn(bare)
    assert figures.corrections == figures.steps == 0
    assert figures.dropped["the turn has no token ids"] > 0


@pytest.mark.parametrize("teacher", get_args(TeacherKind))
def test_a_saved_learner_goes_on_as_if_nothing_had_happened(
    policy: LocalPolicy, criticized: list[Criticized], tmp_path: Path, teacher: TeacherKind
) -> None:
    update = Update(teacher=teacher, epochs=1)
    first = learner(policy, update)
    first.learn(criticized[:12], number=0)
    first.save(tmp_path)
    again = learner(policy, update)
    again.load(tmp_path)
    for student in (first, again):
        student.learn(criticized[12:], number=1)
    for one, other in zip(first.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_loss_that_is_no_number_ends_the_update_before_its_step(
    policy: LocalPolicy, criticized: list[Criticized]
) -> None:
    student = learner(policy)
    with torch.no_grad():
        student.model.get_input_embeddings().weight.fill_(float("nan"))
    before = [parameter.clone() for parameter in student.model.parameters()]
    _, figures = student.learn(criticized)
    assert (figures.finite, figures.steps, figures.loss) == (False, 0, 0.0)
    pairs = zip(before, student.model.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs if not one.isnan().any())


def test_a_teacher_that_says_no_number_is_an_error_before_the_first_step(
    policy: LocalPolicy, criticized: list[Criticized]
) -> None:
    student = learner(policy)
    with torch.no_grad():
        student.teacher.model.get_input_embeddings().weight.fill_(float("nan"))
    with pytest.raises(InputError, match="no finite numbers: is its checkpoint whole"):
        student.learn(criticized)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"learning_rate": 2.0}, "learning rate"), ({"ema_decay": 1.0}, "decay"), ({"admit": 0.0}, "admit")],
)
def test_a_config_out_of_range_is_refused(wrong: dict[str, float], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Update(**wrong).check()  # type: ignore[arg-type]
