"""The shared prefill and the divergences against their definitions, on small random models."""

from math import log
from random import Random
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

from distill.benchmark import Config, benchmark
from distill.divergence import DIVERGENCES, forward_kl, jensen_shannon, reverse_kl
from distill.prefill import Branch, Trunk, batched, hinted_prefill, on_branches, on_trunks, plain_prefill
from tools.command import InputError

VOCABULARY = 97
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
}


@pytest.fixture(params=["qwen3", "llama", "qwen3 eager"])
def model(request: pytest.FixtureRequest) -> Any:
    torch.manual_seed(0)
    attention = "eager" if "eager" in request.param else "sdpa"
    built = (
        LlamaForCausalLM(LlamaConfig(**SIZES, attn_implementation=attention))
        if request.param == "llama"
        else Qwen3ForCausalLM(Qwen3Config(**SIZES, attn_implementation=attention))
    )
    return built.eval()


def trunks(seed: int = 1) -> list[Trunk]:
    """Trunks of different lengths with none to four branches each, which leave them anywhere."""
    rng = Random(seed)

    def ids(count: int) -> list[int]:
        return [rng.randrange(VOCABULARY) for _ in range(count)]

    def branch(length: int) -> Branch:
        start, size = rng.randint(1, length), rng.randint(3, 20)
        return Branch(start, ids(size), sorted(rng.sample(range(start + 1, start + size), 2)))

    lengths = (5, 23, 11, 40, 17)
    return [
        Trunk(ids(length), sorted(rng.sample(range(1, length), 3)), [branch(length) for _ in range(branches)])
        for length, branches in zip(lengths, (1, 4, 2, 1, 3), strict=True)
    ]


def whole(model: Any, ids: Any, asked: Any) -> torch.Tensor:
    """The naive way: a full forward pass over one context."""
    logprobs: torch.Tensor = model(input_ids=torch.tensor([list(ids)])).logits[0].log_softmax(-1)
    return logprobs[[position - 1 for position in asked]]


def naive_branches(model: Any, trunk: Trunk) -> torch.Tensor:
    parts = [whole(model, [*trunk.ids[: branch.start], *branch.ids], branch.asked) for branch in trunk.branches]
    return torch.cat(parts)


@pytest.mark.parametrize("seed", range(5))
def test_branches_off_a_trunk_equal_whole_forward_passes_over_each_hinted_context(model: Any, seed: int) -> None:
    asked = trunks(seed)
    with torch.no_grad():
        for tokens in (60, 16_384):
            scored = dict(hinted_prefill(model, asked, tokens=tokens))
            assert sorted(scored) == list(range(len(asked)))
            for place, trunk in enumerate(asked):
                assert torch.allclose(scored[place], naive_branches(model, trunk), atol=1e-5)


def test_a_padded_batch_of_trunks_equals_whole_forward_passes(model: Any) -> None:
    with torch.no_grad():
        for place, logprobs in plain_prefill(model, trunks()):
            trunk = trunks()[place]
            assert torch.allclose(logprobs, whole(model, trunk.ids, trunk.asked), atol=1e-5)


def test_a_live_teachers_branches_leave_the_students_own_trunk_and_its_gradient_alone(model: Any) -> None:
    chosen = [trunk.cut() for trunk in trunks()]

    def gradients(shared: bool) -> list[torch.Tensor]:
        model.zero_grad()
        student_NV, cache = on_trunks(model, chosen, keep=shared)
        if cache is not None:
            with torch.no_grad():
                taught = on_branches(model, chosen, cache)
            naive = torch.cat([naive_branches(model, trunk) for trunk in chosen])
            assert torch.allclose(taught, naive, atol=1e-5)
        (-student_NV[:, 0]).sum().backward()
        return [parameter.grad.clone() for parameter in model.parameters()]

    for with_branches, without in zip(gradients(True), gradients(False), strict=True):
        assert torch.allclose(with_branches, without, atol=1e-5)


def test_what_comes_after_the_last_token_that_matters_changes_nothing(model: Any) -> None:
    for trunk in trunks():
        cut = trunk.cut()
        assert cut.tokens <= trunk.tokens
        with torch.no_grad():
            assert torch.allclose(naive_branches(model, cut), naive_branches(model, trunk), atol=1e-5)
            assert torch.allclose(
                whole(model, [*cut.ids, 0], cut.asked), whole(model, trunk.ids, trunk.asked), atol=1e-5
            )


def test_attention_that_takes_no_mask_is_refused(model: Any) -> None:
    model.config._attn_implementation = "flash_attention_2"
    asked = [Trunk([1, 2, 3], (), [Branch(2, [4, 5, 6], [3])])]
    model.config._attn_implementation, kept = "sdpa", model.config._attn_implementation
    with torch.no_grad():
        _, cache = on_trunks(model, asked, keep=True)
    assert cache is not None
    model.config._attn_implementation = kept
    with pytest.raises(InputError, match="load the model with sdpa"):
        on_branches(model, asked, cache)


def test_batches_hold_every_trunk_once_and_keep_to_their_size() -> None:
    asked = trunks()
    batches = list(batched(asked, tokens=90))
    assert sorted(place for batch in batches for place in batch) == list(range(len(asked)))
    assert len(batches) > 1
    for batch in batches:
        longest = max(len(asked[place].ids) for place in batch)
        widest = max(asked[place].tokens - len(asked[place].ids) for place in batch)
        assert len(batch) == 1 or (longest + widest) * len(batch) <= 90


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


def test_the_benchmark_compares_ways_that_agree() -> None:
    record = benchmark(Config(tokens=200, errors=3, turn=10, hint=5, width=64, layers=1, repeats=1))
    assert record["largest_difference"] < 1e-5
    assert all(seconds > 0 for seconds in record["seconds"].values())
    with pytest.raises(InputError, match="don't fit"):
        benchmark(Config(tokens=20, errors=3, turn=10))
