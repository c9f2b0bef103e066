"""A teacher behind a server that answers as vLLM does, over real HTTP, against the same teacher here."""

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from random import Random
from typing import Any

import pytest
import torch

from critics import Criticized, criticize
from distill import remote
from distill.config import Update
from distill.divergence import TopK
from distill.learner import Learner
from envs.policies.hf import LocalPolicy
from envs.rollout import rollout
from tests.chat_endpoint import Answer, endpoint
from tools.command import InputError


@pytest.fixture(scope="module")
def policy() -> LocalPolicy:
    return LocalPolicy.load("tiny")


@pytest.fixture(scope="module")
def criticized(policy: LocalPolicy) -> list[Criticized]:
    return [(trajectory, criticize(trajectory)) for trajectory in rollout(policy, "store-v0", range(8), split="train")]


def vllm(model: Any) -> Callable[[Mapping[str, Any]], Answer]:
    """What vLLM answers at /v1/completions: the likeliest tokens of a prompt's positions, and the one that is there."""

    def answer(body: Mapping[str, Any]) -> Answer:
        ids, top = body["prompt"], body["prompt_logprobs"]
        with torch.no_grad():
            logprobs_TV = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
        entries: list[dict[str, Any] | None] = [None]
        for position in range(1, len(ids)):
            row_V = logprobs_TV[position - 1]
            chosen = dict.fromkeys([ids[position], *row_V.topk(min(top, len(row_V))).indices.tolist()])
            entries.append({str(token): {"logprob": float(row_V[token])} for token in chosen})
        choice = {"index": 0, "text": "", "finish_reason": "length", "prompt_logprobs": entries}
        return {"object": "text_completion", "model": body["model"], "choices": [choice]}

    return answer


@pytest.fixture(scope="module")
def url(policy: LocalPolicy) -> Iterator[str]:
    with endpoint(vllm(deepcopy(policy.model))) as url:
        yield url


def learner(policy: LocalPolicy, **settings: Any) -> Learner:
    return Learner(deepcopy(policy.model), policy.writer, Update(epochs=1, **settings))


def farther(one: Learner, other: Learner, start: Any) -> float:
    """How far one student is from another, of how far it has come."""
    models = (list(model.parameters()) for model in (one.model, other.model, start))
    off = moved = 0.0
    with torch.no_grad():
        for a, b, begin in zip(*models, strict=True):
            off += float((a - b).square().sum())
            moved += float((a - begin).square().sum())
    return off / moved


@pytest.mark.parametrize(
    ("divergence", "top", "near"),
    [("reverse-kl", None, 1e-3), ("reverse-kl", 20, 0.1), ("forward-kl", 20, 0.1), ("jensen-shannon", 20, 0.1)],
)
def test_a_remote_teacher_that_says_all_is_the_frozen_one_and_a_few_tokens_say_nearly_as_much(
    policy: LocalPolicy, criticized: list[Criticized], url: str, divergence: str, top: int | None, near: float
) -> None:
    some = criticized if top else criticized[:3]
    here = learner(policy, divergence=divergence)
    there = learner(
        policy,
        divergence=divergence,
        teacher_by=f"openai:any@{url}",
        teacher_top=top or policy.model.config.vocab_size,
    )
    (corrections, expected), (theirs, figures) = here.learn(some), there.learn(some)
    assert figures.admitted == expected.admitted > 1
    assert figures.losses == pytest.approx(expected.losses, rel=near, abs=1e-4)
    assert figures.anchor_loss == pytest.approx(expected.anchor_loss, rel=10 * near, abs=1e-6)
    assert farther(here, there, policy.model) < near
    for one, other in zip(corrections, theirs, strict=True):
        assert one.teacher_logprobs == pytest.approx(other.teacher_logprobs, abs=1e-4)
        assert one.alternatives is not None
        assert other.alternatives is not None
        assert [part.text for part in one.alternatives.teacher] == [part.text for part in other.alternatives.teacher]


def test_the_tail_holds_what_few_tokens_leave_free(policy: LocalPolicy, criticized: list[Criticized], url: str) -> None:
    student = learner(policy, teacher_by=f"openai:any@{url}", teacher_top=2)
    _, lessons, _ = student.prepare(criticized, Random(0))
    said = torch.cat([lesson.teacher_ND for lesson in lessons if lesson.teacher_ND is not None])
    assert said.shape[1:] == (3, 2)
    even = torch.full((len(said), policy.model.config.vocab_size), 1.0).log_softmax(-1)
    taught, ours = TopK.unpacked(said).with_tails(even)
    assert torch.allclose(taught.exp().sum(-1), torch.ones(len(said)), atol=1e-4)
    assert torch.allclose(ours.exp().sum(-1), torch.ones(len(said)), atol=1e-4)


def refused(policy: LocalPolicy, criticized: list[Criticized], answer: Callable[[Any], Answer]) -> str:
    with endpoint(answer) as url, pytest.raises(InputError) as raised:
        learner(policy, teacher_by=f"openai:any@{url}").prepare(criticized, Random(0))
    return str(raised.value)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((400, "Requested prompt logprobs of 20, which is greater than max allowed: 5"), "greater than max allowed: 5"),
        ({"choices": [{"text": ""}]}, "gives no prompt_logprobs"),
        ({"choices": [{"prompt_logprobs": [None]}]}, "gives no prompt_logprobs"),
        ({"choices": [{"prompt_logprobs": [{"99999": {"logprob": -0.1}}] * 9999}]}, "another tokenizer"),
        ({"choices": [{"prompt_logprobs": [{str(n): {"logprob": -5} for n in range(50)}] * 9999}]}, "more than its 20"),
    ],
)
def test_what_a_teacher_can_not_be_made_of_is_said(
    policy: LocalPolicy, criticized: list[Criticized], answer: Answer, said: str
) -> None:
    text = refused(policy, criticized[:4], lambda body: answer)
    assert said in text
    assert "model 'any'" in text


def test_a_server_that_does_not_answer_is_said(
    policy: LocalPolicy, criticized: list[Criticized], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "TRIES", 1)
    student = learner(policy, teacher_by="openai:any@http://127.0.0.1:9/v1")
    with pytest.raises(InputError, match=r"127\.0\.0\.1:9.*does not answer"):
        student.prepare(criticized, Random(0))


@pytest.mark.parametrize("wrong", [{"teacher": "live"}, {"refresh": True}, {"teacher_top": 0}])
def test_a_remote_teacher_stays_as_it_is(policy: LocalPolicy, wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="--teacher-by is a frozen teacher"):
        learner(policy, teacher_by="openai:any@http://127.0.0.1:9/v1", **wrong)
