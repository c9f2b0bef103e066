"""Attention in blocks against the model's own, and that nothing of a long trunk's size squared is ever made."""

from random import Random
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from distill import blocks
from distill import head as heads
from distill.divergence import reverse_kl
from distill.head import Head, divergences
from distill.prefill import Branch, Trunk, on_branches, on_detached, on_trunks
from distill.sharing import checkpointed
from tests.test_prefill import FAMILIES, VOCABULARY, built, gradients


def trunk_of(tokens: int) -> Trunk:
    rng = Random(tokens)
    ids = [rng.randrange(VOCABULARY) for _ in range(tokens)]
    first, last = tokens // 3, tokens - 5
    branches = [Branch(start, [3, 4, *ids[start : start + 4]], range(start + 2, start + 6)) for start in (first, last)]
    return Trunk(ids, [*range(first, first + 4), *range(last, last + 4)], branches).cut()


LONG = ["qwen3", "llama", "gemma3: sliding layers, capped logits", "gpt-oss: attention sinks"]
Ours = tuple[torch.Tensor, list[torch.Tensor]]


def learnt(model: Any, trunk: Trunk, *, detach: bool = False) -> Ours:
    """The divergence from a live teacher at each target, and the gradient of their sum."""
    hidden_ND, keys = on_detached(model, trunk, keep=True) if detach else on_trunks(model, [trunk], keep=True)
    assert keys is not None
    head = Head(model)
    divergence_N = divergences(reverse_kl, head, on_branches(model, [trunk], keys), head, hidden_ND)
    return divergence_N.detach(), gradients(model, divergence_N.sum())


def assert_same(one: Ours, other: Ours) -> None:
    assert torch.allclose(one[0], other[0], atol=1e-5)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(one[1], other[1], strict=True))


@pytest.mark.parametrize("detach", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_blocks_and_activations_made_again_change_nothing(
    family: str, detach: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, trunk = built(family), trunk_of(50)
    own = learnt(model, trunk, detach=detach)
    for queries, scores in ((8, blocks.SCORES), (8, 64)):
        monkeypatch.setattr(blocks, "QUERIES", queries)
        monkeypatch.setattr(blocks, "SCORES", scores)
        assert_same(learnt(model, trunk, detach=detach), own)
    checkpointed(model)
    assert_same(learnt(model, trunk, detach=detach), own)
    assert model.config._attn_implementation != blocks.NAME


class Largest(TorchDispatchMode):
    """The most numbers of any tensor that an operation gives."""

    numbers = 0

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = operation(*args, **(kwargs or {}))
        for tensor in given if isinstance(given, tuple | list) else (given,):
            if isinstance(tensor, torch.Tensor):
                self.numbers = max(self.numbers, tensor.untyped_storage().nbytes() // tensor.element_size())
        return given


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("detach", [False, True])
@pytest.mark.parametrize(
    "family", ["qwen3", "llama", "gemma3: sliding layers, capped logits", "gpt-oss: attention sinks"]
)
def test_a_long_trunk_makes_nothing_of_its_length_squared_or_times_the_vocabulary(
    family: str, detach: bool, recompute: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "QUERIES", 16)
    monkeypatch.setattr(blocks, "SCORES", 16_384)
    monkeypatch.setattr(heads, "CHUNK", 4 * VOCABULARY)
    model, tokens = built(family), 700
    if recompute:
        checkpointed(model)
    with Largest() as largest:
        learnt(model, trunk_of(tokens), detach=detach)
    widest = 4 * 32  # the experts' of gpt-oss, all of which are computed on a CPU
    assert largest.numbers <= max(tokens * widest, 2 * 16_384)
    assert tokens * VOCABULARY > 2 * 16_384
