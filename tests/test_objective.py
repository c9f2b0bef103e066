"""What a step makes small: the same in one pass or in several, with the reward beside it, and with an adapter."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from random import Random
from typing import Any

import pytest
import torch
from msgspec import structs

from critics import Criticized, criticize
from distill import head as heads
from distill.anchor import anchors
from distill.config import Update
from distill.learner import Learner
from distill.lesson import Lesson, Objective, Totals, holding
from distill.prefill import Trunk, plain_prefill
from distill.teacher import Reader, Teacher
from envs.policies.hf import LocalPolicy
from envs.rollout import rollout
from tools.command import InputError


@pytest.fixture(scope="module")
def policy() -> LocalPolicy:
    return LocalPolicy.load("tiny")


@pytest.fixture(scope="module")
def criticized(policy: LocalPolicy) -> list[Criticized]:
    rollouts = rollout(policy, "store-v0", range(5), n=2, split="train")
    return [(trajectory, criticize(trajectory)) for trajectory in rollouts]


def lessons_of(model: Any, policy: LocalPolicy, update: Update, criticized: list[Criticized]) -> list[Lesson]:
    return Learner(model, policy.writer, update).prepare(criticized, Random(0))[1]


@pytest.fixture(scope="module")
def lessons(policy: LocalPolicy, criticized: list[Criticized]) -> list[Lesson]:
    found = lessons_of(deepcopy(policy.model), policy, Update(), criticized)
    assert len(found) > 2
    return found


def gradient(
    model: Any, update: Update, lessons: Sequence[Lesson], held: Any = (), teacher: Teacher | None = None
) -> tuple[torch.Tensor, int]:
    """The gradient of a step's whole loss, and in how many passes it came."""
    model.zero_grad()
    weights = {"corrections": 1.0, "anchors": 1.0, "reward": update.reward}
    objective = Objective(model, teacher or Teacher(model, update), update, pass_tokens=update.pass_tokens)
    totals, passes = Totals.of(lessons, held), 0
    for one_pass in [*objective.of_lessons_in(lessons, totals), *objective.of_anchors_in(held, totals)]:
        torch.stack([weights[name] * share for name, share in one_pass().items()]).sum().backward()
        passes += 1
    found = [parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None]
    return torch.cat(found), passes


@pytest.mark.parametrize("teacher", ["frozen", "live", "ema"])
def test_a_minibatch_in_several_passes_and_chunks_has_the_gradient_of_one(
    policy: LocalPolicy, criticized: list[Criticized], teacher: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = deepcopy(policy.model)
    update = Update(teacher=teacher, reward=0.5)
    lessons = lessons_of(model, policy, update, criticized)
    held = anchors(Reader(model), criticized)[:3]
    whole, passes = gradient(model, update, lessons, held)
    monkeypatch.setattr(heads, "CHUNK", 7 * model.config.vocab_size)
    small, more_passes = gradient(model, replace(update, pass_tokens=700), lessons, held)
    assert more_passes > passes
    assert torch.allclose(whole, small, atol=1e-5 * float(whole.abs().max()) + 1e-7)


@pytest.mark.parametrize("teacher", ["frozen", "live"])
def test_an_anchor_in_its_lessons_pass_has_the_gradient_of_one_beside_it(
    policy: LocalPolicy, criticized: list[Criticized], teacher: Any
) -> None:
    """In a model that has moved: where nothing has, nothing is to be held back."""
    model = deepcopy(policy.model)
    update = Update(teacher=teacher, reward=0.5)
    found, started = lessons_of(model, policy, update, criticized), Teacher(model, update)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    assert started.start is not None
    together = holding(found, anchors(started.start, criticized))
    held = [lesson.anchor for lesson in together if lesson.anchor]
    assert len(held) > 2
    beside, passes = gradient(model, update, found, held, started)
    within, fewer_passes = gradient(model, update, together, (), started)
    assert fewer_passes < passes
    assert torch.allclose(beside, within, atol=1e-5 * float(beside.abs().max()) + 1e-7)


def test_a_lesson_holds_the_anchor_that_begins_with_it_and_no_other(
    policy: LocalPolicy, criticized: list[Criticized], lessons: list[Lesson]
) -> None:
    found = anchors(Reader(policy.model), criticized)
    for lesson in holding(lessons, found):
        ids = list(lesson.trunk.ids)
        begun = [anchor for anchor in found if list(anchor.trunk.ids[: len(ids)]) == ids]
        assert lesson.anchor in begun if begun else lesson.anchor is None
    assert all(lesson.anchor is None for lesson in holding(lessons, []))
    other = [lesson._replace(trunk=Trunk([*lesson.trunk.ids[:-1], 0], lesson.trunk.asked)) for lesson in lessons]
    assert all(lesson.anchor is None for lesson in holding(other, found))


def test_activations_made_again_give_the_same_update(policy: LocalPolicy, criticized: list[Criticized]) -> None:
    students = [
        Learner(deepcopy(policy.model), policy.writer, Update(teacher="live", epochs=1, minibatch=99, recompute=again))
        for again in (False, True)
    ]
    figures = [student.learn(criticized)[1] for student in students]
    assert figures[0].steps == figures[1].steps == 1
    assert figures[0].loss == pytest.approx(figures[1].loss, abs=1e-5)
    pairs = zip(students[0].model.parameters(), students[1].model.parameters(), strict=True)
    assert all(torch.allclose(one, other, atol=2e-5) for one, other in pairs)


def test_a_detached_prefix_is_another_gradient_of_the_same_loss(policy: LocalPolicy, lessons: list[Lesson]) -> None:
    model = deepcopy(policy.model)
    exact, _ = gradient(model, Update(), lessons)
    detached, passes = gradient(model, Update(detach=True), lessons)
    assert passes == len(lessons)
    assert 0.3 < torch.cosine_similarity(exact, detached, dim=0) < 0.999
    with pytest.raises(InputError, match="detach"):
        Update(detach=True, reward=1.0).check()


def logprob(model: Any, lesson: Lesson) -> float:
    """The mean log-prob of a rewarded trajectory's sampled tokens."""
    assert lesson.sampled is not None
    trunk = lesson.trunk._replace(asked=lesson.trunk.asked[-len(lesson.sampled.tokens) :])
    (_, logprobs_NV), *_ = plain_prefill(model, [trunk])
    return float(logprobs_NV[torch.arange(len(lesson.sampled.tokens)), list(lesson.sampled.tokens)].mean())


def test_what_is_rewarded_becomes_likelier_and_what_is_not_less(
    policy: LocalPolicy, criticized: list[Criticized]
) -> None:
    """Two rollouts a task, of which the first is said to be the better one."""
    rewarded = [
        (structs.replace(trajectory, reward=float(trajectory.id.endswith("/0"))), []) for trajectory, _ in criticized
    ]
    update = Update(reward=1.0, anchor=0.0, epochs=2)
    student = Learner(deepcopy(policy.model), policy.writer, update)
    lessons = lessons_of(deepcopy(policy.model), policy, update, rewarded)
    assert {lesson.sampled.advantage for lesson in lessons if lesson.sampled} == {1.0, -1.0}
    assert len(lessons) == len(criticized)
    for lesson in lessons:
        assert lesson.sampled is not None
        assert logprob(policy.model, lesson) == pytest.approx(
            sum(lesson.sampled.logprobs) / len(lesson.sampled.logprobs), abs=1e-4
        )
    corrections, figures = student.learn(rewarded)
    assert (corrections, figures.loss) == ([], 0.0)
    assert figures.steps > 0
    for sign in (1.0, -1.0):
        those = [lesson for lesson in lessons if lesson.sampled and lesson.sampled.advantage == sign]
        before, after = (sum(logprob(model, one) for one in those) for model in (policy.model, student.model))
        assert (after - before) * sign > 0


def test_equal_rewards_and_lone_rollouts_teach_nothing(policy: LocalPolicy, criticized: list[Criticized]) -> None:
    update = Update(reward=1.0)
    alike = [(structs.replace(trajectory, reward=1.0), []) for trajectory, _ in criticized]
    alone = [(trajectory, []) for trajectory, _ in criticized if trajectory.id.endswith("/0")]
    for given in (alike, alone):
        assert lessons_of(deepcopy(policy.model), policy, update, given) == []


def test_a_rewarded_trajectory_that_can_not_be_learnt_is_dropped_and_counted(
    policy: LocalPolicy, criticized: list[Criticized]
) -> None:
    (one, _), (other, _) = criticized[:2]
    broken = structs.replace(
        one, turns=tuple(structs.replace(turn, raw=f"{turn.raw}!") for turn in one.turns), reward=1.0, id="a"
    )
    pair = [(broken, []), (structs.replace(other, task=one.task, reward=0.0, id="b"), [])]
    _, lessons, dropped = Learner(deepcopy(policy.model), policy.writer, Update(reward=1.0)).prepare(pair, Random(0))
    assert len(lessons) == 1
    assert dropped == {"reward: the token ids do not decode to the turn's text": 1}


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft asks in an old way
def test_a_frozen_teacher_of_an_adapter_is_the_model_without_it_and_no_copy(
    policy: LocalPolicy, criticized: list[Criticized]
) -> None:
    peft = pytest.importorskip("peft")
    criticized = criticized[:4]
    torch.manual_seed(0)
    base = deepcopy(policy.model)
    base.name_or_path = ""
    config = peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj", "up_proj"], init_lora_weights=False)
    model = peft.get_peft_model(base, config).eval()
    update = Update(learning_rate=1e-3)
    learner = Learner(model, policy.writer, update)
    assert learner.teacher.model is learner.model
    expected = lessons_of(deepcopy(policy.model), policy, update, criticized)
    _, lessons, _ = learner.prepare(criticized, Random(0))
    for lesson, same in zip(lessons, expected, strict=True):
        assert lesson.teacher_ND is not None
        assert torch.allclose(lesson.teacher_ND, same.teacher_ND, atol=1e-5)
    reader = Teacher(policy.model, update)
    model_gradient, _ = gradient(model, update, lessons, teacher=learner.teacher)
    copy_gradient, _ = gradient(model, update, lessons, teacher=reader)
    assert torch.allclose(model_gradient, copy_gradient, atol=1e-5)
    _, figures = learner.learn(criticized)
    assert figures.steps > 0
    for name, parameter in policy.model.named_parameters():
        theirs = dict(base.named_parameters()).get(f"{name.removesuffix('.weight')}.base_layer.weight")
        assert theirs is None or torch.equal(theirs, parameter)
