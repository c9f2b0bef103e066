"""Prefill and divergence against their definitions, on small random models."""

from typing import Any

import pytest
import torch
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

from distill.divergence import forward_kl
from distill.prefill import Span, batched, logprobs_at, prefilled

SIZES: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
}


@pytest.fixture(params=["qwen3", "llama"])
def model(request: pytest.FixtureRequest) -> Any:
    torch.manual_seed(0)
    built = (
        Qwen3ForCausalLM(Qwen3Config(**SIZES)) if request.param == "qwen3" else LlamaForCausalLM(LlamaConfig(**SIZES))
    )
    return built.eval()


def spans() -> list[Span]:
    generator = torch.Generator().manual_seed(1)
    lengths = (5, 23, 11, 40, 17)
    ids = [torch.randint(97, (length,), generator=generator).tolist() for length in lengths]
    return [Span(row, (1, len(row) // 2, len(row) - 1)) for row in ids]


def test_a_padded_batch_equals_whole_forward_passes(model: Any) -> None:
    with torch.no_grad():
        together = logprobs_at(model, spans())
        for place, span in enumerate(spans()):
            whole = model(input_ids=torch.tensor([span.ids])).logits[0].log_softmax(-1)
            alone = whole[[position - 1 for position in span.positions]]
            assert torch.allclose(together[3 * place : 3 * place + 3], alone, atol=1e-5)


def test_what_comes_after_the_last_asked_token_changes_nothing(model: Any) -> None:
    with torch.no_grad():
        whole = logprobs_at(model, [Span(list(range(30)), (10,))])
        cut = logprobs_at(model, [Span(list(range(10)), (10,))])
    assert torch.allclose(whole, cut, atol=1e-5)


def test_batches_hold_every_span_once_and_keep_to_their_size(model: Any) -> None:
    batches = list(batched(spans(), tokens=50))
    assert sorted(place for batch in batches for place in batch) == list(range(5))
    assert all(len(batch) == 1 or max(len(spans()[p].ids) for p in batch) * len(batch) <= 50 for batch in batches)
    parts = prefilled(model, spans(), tokens=50)
    with torch.no_grad():
        assert torch.allclose(torch.cat(parts), logprobs_at(model, spans()), atol=1e-5)


def test_forward_kl_is_torchs_and_its_gradient_too() -> None:
    generator = torch.Generator().manual_seed(2)
    teacher = torch.randn(6, 11, generator=generator, dtype=torch.double).log_softmax(-1)
    logits = torch.randn(6, 11, generator=generator, dtype=torch.double, requires_grad=True)
    expected = F.kl_div(logits.log_softmax(-1), teacher, log_target=True, reduction="none").sum(-1)
    assert torch.allclose(forward_kl(teacher, logits.log_softmax(-1)), expected)
    assert torch.autograd.gradcheck(lambda x: forward_kl(teacher, x.log_softmax(-1)), logits)


def test_forward_kl_of_equals_is_nothing() -> None:
    logprobs = torch.randn(4, 9, generator=torch.Generator().manual_seed(3)).log_softmax(-1)
    assert torch.allclose(forward_kl(logprobs, logprobs), torch.zeros(4), atol=1e-6)
