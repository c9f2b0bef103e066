"""The divergences and the chunked loss against their definitions, and the final reward's objective."""

from math import log, sqrt
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from transformers import Gemma2Config, Gemma2ForCausalLM

from distill import head as heads
from distill.divergence import DIVERGENCES, TopK, forward_kl, jensen_shannon, reverse_kl
from distill.head import Head, divergences
from distill.reward import advantages, clipped_loss


def some_logprobs(seed: int) -> torch.Tensor:
    logits = torch.randn(6, 11, generator=torch.Generator().manual_seed(seed), dtype=torch.double)
    return logits.log_softmax(-1)


def test_the_kls_are_torchs() -> None:
    teacher, student = some_logprobs(2), some_logprobs(3)
    expected = F.kl_div(student, teacher, log_target=True, reduction="none").sum(-1)
    assert torch.allclose(forward_kl(teacher, student), expected)
    assert torch.allclose(reverse_kl(student, teacher), expected)


def test_jensen_shannon_is_symmetric_and_at_most_log_2() -> None:
    one, other = some_logprobs(2), some_logprobs(3)
    assert torch.allclose(jensen_shannon(one, other), jensen_shannon(other, one))
    apart = torch.tensor([[0.0, -80.0], [-80.0, 0.0]], dtype=torch.double)
    assert torch.allclose(jensen_shannon(apart[:1], apart[1:]), torch.tensor([log(2)], dtype=torch.double))
    mixture = (one.exp() + other.exp()) / 2
    entropy = [-(p * p.log()).sum(-1) for p in (mixture, one.exp(), other.exp())]
    assert torch.allclose(jensen_shannon(one, other), entropy[0] - (entropy[1] + entropy[2]) / 2)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_a_divergence_of_equals_is_nothing_and_its_gradient_is_right(name: str) -> None:
    divergence = DIVERGENCES[name]
    teacher = some_logprobs(4)
    assert torch.allclose(divergence(teacher, teacher), torch.zeros(6, dtype=torch.double), atol=1e-12)
    logits = some_logprobs(5).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: divergence(teacher, x.log_softmax(-1)), logits)


class Model(torch.nn.Module):
    """As much of a model as a head needs, in double precision."""

    def __init__(self, seed: int, vocabulary: int = 11) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.last = torch.nn.Linear(4, vocabulary, bias=False, dtype=torch.double)
        self.config = Gemma2Config(vocab_size=vocabulary, final_logit_softcapping=2.0)

    def get_output_embeddings(self) -> torch.nn.Module:
        return self.last


@pytest.fixture(params=[1, 3, 100])
def rows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Chunks of one token, of three, and all in one."""
    monkeypatch.setattr(heads, "CHUNK", request.param * 11)
    return int(request.param)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_the_chunked_loss_is_the_plain_one_with_its_gradient(name: str, rows: int) -> None:
    teacher, student = Head(Model(0)), Head(Model(1))
    assert student.rows == rows
    taught_ND, hidden_ND = torch.randn(2, 7, 4, dtype=torch.double).unbind()
    hidden_ND.requires_grad_()
    weight = student.model.last.weight

    def chunked(hidden: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        student.model.last.weight = torch.nn.Parameter(weight) if not weight.requires_grad else weight
        return divergences(DIVERGENCES[name], teacher, taught_ND, student, hidden)

    def plain(hidden: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        taught = ((taught_ND @ teacher.model.last.weight.T / 2).tanh() * 2).log_softmax(-1)
        return DIVERGENCES[name](taught.detach(), ((hidden @ weight.T / 2).tanh() * 2).log_softmax(-1))

    assert torch.allclose(chunked(hidden_ND, weight), plain(hidden_ND, weight))
    factors = torch.arange(1.0, 8.0, dtype=torch.double)
    found, expected = (
        torch.autograd.grad((each(hidden_ND, weight) * factors).sum(), (hidden_ND, weight)) for each in (chunked, plain)
    )
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other)
    assert torch.autograd.gradcheck(lambda hidden: chunked(hidden, weight), hidden_ND)


def test_chunked_token_logprobs_are_the_plain_ones_with_their_gradient(rows: int) -> None:
    head = Head(Model(2))
    hidden_ND = torch.randn(7, 4, dtype=torch.double, requires_grad=True)
    tokens_N = torch.tensor([0, 3, 10, 3, 1, 5, 6])
    expected = head.logprobs(hidden_ND)[torch.arange(7), tokens_N]
    assert torch.allclose(head.token_logprobs(hidden_ND, tokens_N), expected)
    assert torch.autograd.gradcheck(lambda hidden: head.token_logprobs(hidden, tokens_N), hidden_ND)


def test_no_row_of_logits_outlives_its_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the loss keeps for its backward pass holds hidden states, and no logits but the last chunk's."""
    vocabulary = 1_000
    monkeypatch.setattr(heads, "CHUNK", 4 * vocabulary)
    teacher, student = Head(Model(0, vocabulary)), Head(Model(1, vocabulary))
    taught_ND, hidden_ND = torch.randn(2, 64, 4, dtype=torch.double).unbind()
    kept: list[int] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        divergences(reverse_kl, teacher, taught_ND, student, hidden_ND.requires_grad_())
    assert sum(kept) < 4 * vocabulary


def test_a_softcapped_head_is_the_models_own() -> None:
    torch.manual_seed(0)
    config = Gemma2Config(
        vocab_size=97,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=16,
        final_logit_softcapping=0.5,
        bos_token_id=1,
        eos_token_id=2,
    )
    model: Any = Gemma2ForCausalLM(config).eval()
    ids = torch.arange(9)[None]
    with torch.no_grad():
        assert torch.allclose(Head(model).logits(model.model(ids).last_hidden_state), model(ids).logits, atol=1e-6)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_a_remote_teachers_top_k_with_all_tokens_is_exact(name: str) -> None:
    teacher, student = some_logprobs(2), some_logprobs(3)
    logprobs, ids = teacher.topk(11)
    top = TopK(ids, logprobs)
    assert torch.allclose(DIVERGENCES[name](*top.with_tails(student)), DIVERGENCES[name](teacher, student))


@pytest.mark.parametrize("name", DIVERGENCES)
def test_top_k_with_its_tail_says_no_more_than_the_whole_and_its_gradient_is_right(name: str) -> None:
    teacher, student = some_logprobs(2), some_logprobs(3)
    before = torch.zeros(6, dtype=torch.double)
    for k in (1, 4, 8):
        top = TopK(*reversed(teacher.topk(k)))
        taught, said = top.with_tails(student)
        assert torch.allclose(taught.exp().sum(-1), torch.ones(6, dtype=torch.double))
        assert torch.allclose(said.exp().sum(-1), torch.ones(6, dtype=torch.double))
        found = DIVERGENCES[name](taught, said)
        assert (found >= before - 1e-12).all()
        assert (found <= DIVERGENCES[name](teacher, student) + 1e-12).all()
        before = found
        logits = student.clone().requires_grad_()
        assert torch.autograd.gradcheck(
            lambda x, top=top: DIVERGENCES[name](*top.with_tails(x.log_softmax(-1))), logits
        )


def test_top_k_is_read_from_what_a_server_says_of_a_prompt() -> None:
    said = [
        {"3": {"logprob": log(0.5), "rank": 1}, "7": {"logprob": log(0.25), "rank": 2}},
        {"1": {"logprob": log(0.9), "rank": 1}, "2": {"logprob": log(0.05), "rank": 2}, "9": {"logprob": log(1e-3)}},
    ]
    top = TopK.from_prompt_logprobs(said)
    taught, student = top.with_tails(torch.full((2, 10), log(0.1)))
    assert taught[0].exp().tolist() == pytest.approx([0.5, 0.25, 0.0, 0.25], abs=1e-6)
    assert student[0].exp().tolist() == pytest.approx([0.1, 0.1, 0.0, 0.8], abs=1e-6)
    assert taught[1].exp().tolist() == pytest.approx([0.9, 0.05, 1e-3, 0.049], abs=1e-6)
    assert torch.isfinite(jensen_shannon(taught, student)).all()


def test_advantages_are_standard_scores_among_a_tasks_own() -> None:
    found = advantages([1.0, 0.0, 0.0, 5.0, 2.0, 2.0], ["a", "a", "a", "alone", "b", "b"])
    assert found == pytest.approx([sqrt(2), -1 / sqrt(2), -1 / sqrt(2), 0, 0, 0])


def test_the_clipped_objective_follows_the_advantage_until_it_has_gone_far_enough() -> None:
    then = torch.log(torch.tensor([0.5, 0.5, 0.5, 0.5, 0.5], dtype=torch.double))
    now = torch.log(torch.tensor([0.5, 0.7, 0.3, 0.7, 0.3], dtype=torch.double)).requires_grad_()
    advantage = torch.tensor([2.0, 1.0, 1.0, -1.0, -1.0], dtype=torch.double)
    loss = clipped_loss(now, then, advantage, clip=0.2)
    assert loss.tolist() == pytest.approx([-2.0, -1.2, -0.6, 1.4, 0.8])
    loss.sum().backward()
    assert now.grad is not None
    assert now.grad.tolist() == pytest.approx([-2.0, 0.0, -0.6, 1.4, 0.0])
