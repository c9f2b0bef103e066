"""The shared prefill against full forward passes, in every kind of model that shares and in some that don't."""

from functools import partial
from random import Random
from typing import Any

import pytest
import torch
import transformers

from distill.head import Head, strange_head
from distill.one_stage import Kernel, by_flex, by_sdpa, one_stage
from distill.prefill import (
    Branch,
    Trunk,
    batched,
    hinted_prefill,
    on_branches,
    on_detached,
    on_own_branches,
    on_trunks,
    plain_prefill,
)
from distill.sharing import checkpointed, why_not_shared

VOCABULARY = 97
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
SLIDING: dict[str, Any] = {
    "sliding_window": 7,
    "layer_types": ["sliding_attention", "full_attention"],
    "head_dim": 8,
}
EXPERTS: dict[str, Any] = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "head_dim": 8}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen3": ("Qwen3", {"head_dim": 8}),
    "qwen3 eager": ("Qwen3", {"head_dim": 8, "attn_implementation": "eager"}),
    "llama": ("Llama", {}),
    "mistral: all layers slide": ("Mistral", {"sliding_window": 7}),
    "gemma3: sliding layers, capped logits": ("Gemma3Text", {**SLIDING, "final_logit_softcapping": 3.0}),
    "gemma2: capped attention": (
        "Gemma2",
        # As `load_model` loads it; some versions of transformers leave the cap out of sdpa.
        {
            **SLIDING,
            "attn_logit_softcapping": 2.0,
            "final_logit_softcapping": 3.0,
            "attn_implementation": "eager",
        },
    ),
    "gpt-oss: attention sinks": ("GptOss", {**SLIDING, "num_local_experts": 4, "num_experts_per_tok": 2}),
    "qwen3-moe": ("Qwen3Moe", EXPERTS),
    "granite: divided logits": ("Granite", {"logits_scaling": 4.0}),
    "cohere2: scaled logits": ("Cohere2", {**SLIDING, "logit_scale": 0.5}),
    "deepseek-v3: compressed keys": (
        "DeepseekV3",
        {
            "num_key_value_heads": 4,
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "n_group": 1,
            "topk_group": 1,
            "moe_intermediate_size": 16,
            "q_lora_rank": 16,
            "kv_lora_rank": 8,
            "qk_rope_head_dim": 4,
            "qk_nope_head_dim": 8,
            "v_head_dim": 8,
            "head_dim": 4,
        },
    ),
}
WHOLE: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen3-next": (
        "Qwen3Next",
        {
            **EXPERTS,
            "shared_expert_intermediate_size": 16,
            "linear_num_value_heads": 4,
            "linear_num_key_heads": 2,
            "linear_key_head_dim": 8,
            "linear_value_head_dim": 8,
            "layer_types": ["linear_attention", "full_attention"],
        },
    ),
    "phi3 with long contexts": (
        "Phi3",
        {
            "rope_parameters": {
                "rope_type": "longrope",
                "rope_theta": 1e4,
                "long_factor": [2.0] * 4,
                "short_factor": [1.0] * 4,
                "original_max_position_embeddings": 16,
                "partial_rotary_factor": 1.0,
            },
            "max_position_embeddings": 64,
            "original_max_position_embeddings": 16,
        },
    ),
}


def built(family: str) -> Any:
    """A random model whose attention isn't next to even, and whose sinks weigh something."""
    torch.manual_seed(0)
    name, more = (FAMILIES | WHOLE)[family]
    config = getattr(transformers, f"{name}Config")(**{**SIZES, **more})
    model = transformers.AutoModelForCausalLM.from_config(
        config, attn_implementation=more.get("attn_implementation")
    ).eval()
    for name, parameter in model.named_parameters():
        if "norm" not in name:
            torch.nn.init.normal_(parameter, 0.0, 0.2)
    return model


@pytest.fixture(scope="module", params=FAMILIES)
def model(request: pytest.FixtureRequest) -> Any:
    return built(request.param)


@pytest.fixture(scope="module")
def qwen3() -> Any:
    return built("qwen3")


def trunks(seed: int = 1) -> list[Trunk]:
    """Trunks of different lengths with one to four branches each, which leave them anywhere."""
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


@torch.no_grad()
def whole(model: Any, ids: Any, asked: Any) -> torch.Tensor:
    """The naive way: a full forward pass over one context, with logits everywhere."""
    logprobs: torch.Tensor = model(input_ids=torch.tensor([list(ids)])).logits[0].float().log_softmax(-1)
    return logprobs[[position - 1 for position in asked]]


def naive_branches(model: Any, trunk: Trunk) -> torch.Tensor:
    parts = [whole(model, [*trunk.ids[: branch.start], *branch.ids], branch.asked) for branch in trunk.branches]
    return torch.cat(parts)


def test_branches_off_a_trunk_equal_whole_forward_passes_over_each_hinted_context(model: Any) -> None:
    assert not why_not_shared(model)
    for seed in range(3):
        asked = trunks(seed)
        for tokens in (60, 16_384):
            scored = dict(hinted_prefill(model, asked, tokens=tokens))
            assert sorted(scored) == list(range(len(asked)))
            for place, trunk in enumerate(asked):
                assert torch.allclose(scored[place], naive_branches(model, trunk), atol=1e-5)


@pytest.mark.parametrize("kernel", [by_sdpa, by_flex])
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_one_stage_with_a_mask_gives_what_two_stages_without_one_give(qwen3: Any, kernel: Kernel) -> None:
    cut = [trunk.cut() for trunk in trunks()]
    with torch.no_grad():
        _, keys = on_trunks(qwen3, cut, keep=True)
    for tokens in (60, 16_384):
        two_ND = on_branches(qwen3, cut, keys, tokens=tokens)
        one_ND = on_branches(qwen3, cut, keys, tokens=tokens, attending=partial(one_stage, kernel=kernel))
        assert torch.allclose(one_ND, two_ND, atol=1e-5)
    assert qwen3.config._attn_implementation == "sdpa"


def test_the_models_own_attention_is_back_afterwards(qwen3: Any) -> None:
    list(hinted_prefill(qwen3, trunks()))
    assert qwen3.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("family", ["qwen3", "llama", "gemma3: sliding layers, capped logits"])
def test_in_bf16_branches_are_as_near_to_the_truth_as_whole_passes_are(family: str) -> None:
    model = built(family)
    truth = [naive_branches(model, trunk) for trunk in trunks()]
    model.to(torch.bfloat16)
    naive = [naive_branches(model, trunk) for trunk in trunks()]
    shared = dict(hinted_prefill(model, trunks()))
    apart = [
        torch.cat([(one - exact).flatten() for one, exact in zip(ones, truth, strict=True)]).square().mean().sqrt()
        for ones in (naive, [shared[place] for place in range(len(truth))])
    ]
    assert 0 < apart[1] < 1.3 * apart[0]


@pytest.mark.parametrize("family", WHOLE)
def test_a_model_that_can_not_share_reads_every_hinted_context_whole_and_says_why(family: str) -> None:
    model = built(family)
    assert why_not_shared(model)
    # What comes after the last asked token would change the turn of the keys in the second of these.
    asked = [trunk.cut() for trunk in trunks()]
    for place, logprobs in hinted_prefill(model, asked):
        assert torch.allclose(logprobs, naive_branches(model, asked[place]), atol=1e-5)


def test_a_padded_batch_of_trunks_equals_whole_forward_passes(model: Any) -> None:
    for place, logprobs in plain_prefill(model, trunks()):
        trunk = trunks()[place]
        assert torch.allclose(logprobs, whole(model, trunk.ids, trunk.asked), atol=1e-5)


def gradients(model: Any, loss: torch.Tensor) -> list[torch.Tensor]:
    model.zero_grad()
    loss.backward()
    return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]


def test_a_live_teachers_branches_leave_the_students_own_trunk_and_its_gradient_alone(model: Any) -> None:
    chosen = [trunk.cut() for trunk in trunks()]
    head = Head(model)

    def student(keep: bool) -> list[torch.Tensor]:
        hidden_ND, keys = on_trunks(model, chosen, keep=keep)
        if keys is not None:
            with torch.no_grad():
                taught = head.logprobs(on_branches(model, chosen, keys))
            naive = torch.cat([naive_branches(model, trunk) for trunk in chosen])
            assert torch.allclose(taught, naive, atol=1e-5)
        return gradients(model, -head.logprobs(hidden_ND)[:, 0].sum())

    for with_branches, without in zip(student(True), student(False), strict=True):
        assert torch.allclose(with_branches, without, atol=1e-5)


@pytest.mark.parametrize("family", ["qwen3", "gemma3: sliding layers, capped logits", "gpt-oss: attention sinks"])
def test_activations_made_again_leave_the_trunk_shared_and_the_gradient_as_it_is(family: str) -> None:
    chosen = [trunk.cut() for trunk in trunks()]
    model = built(family)
    head = Head(model)

    def both() -> tuple[torch.Tensor, list[torch.Tensor]]:
        hidden_ND, keys = on_trunks(model, chosen, keep=True)
        assert keys is not None
        taught = head.logprobs(on_branches(model, chosen, keys))
        return taught, gradients(model, -head.logprobs(hidden_ND)[:, 0].sum())

    taught, plain = both()
    checkpointed(model)
    taught_again, again = both()
    assert torch.allclose(taught, taught_again, atol=1e-6)
    assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(plain, again, strict=True))


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("family", [*FAMILIES, "qwen3-next"])
def test_a_students_own_branches_have_the_gradient_of_whole_contexts(family: str, recompute: bool) -> None:
    """Through the branches, and through the trunk that they share."""
    chosen = [trunk.cut() for trunk in trunks()]
    model = built(family)
    head = Head(model)
    contexts = [
        Trunk([*trunk.ids[: branch.start], *branch.ids], branch.asked) for trunk in chosen for branch in trunk.branches
    ]
    whole_ND = torch.cat([on_trunks(model, [context])[0] for context in contexts])
    naive = gradients(model, -head.logprobs(whole_ND)[:, 0].sum())
    if recompute:
        checkpointed(model)
    _, keys = on_trunks(model, chosen, keep=True)
    shared_ND = on_own_branches(model, chosen, keys, tokens=60)
    assert torch.allclose(shared_ND, whole_ND, atol=1e-5)
    shared = gradients(model, -head.logprobs(shared_ND)[:, 0].sum())
    for one, other in zip(naive, shared, strict=True):
        torch.testing.assert_close(other, one, atol=1e-4, rtol=1e-4)


def test_a_detached_prefix_changes_the_gradient_and_nothing_else(model: Any) -> None:
    trunk = trunks()[3]
    trunk = trunk._replace(asked=[30, 33, 40])
    hidden_ND, keys = on_detached(model, trunk, keep=True)
    plain_ND, plain_keys = on_trunks(model, [trunk], keep=True)
    assert torch.allclose(hidden_ND, plain_ND, atol=1e-5)
    assert keys is not None
    assert plain_keys is not None
    pairs = zip(keys, plain_keys, strict=True)
    assert all(torch.allclose(a, b, atol=1e-5) for one, other in pairs for a, b in zip(one, other, strict=True))
    exact, detached = (gradients(model, -Head(model).logprobs(states)[:, 0].sum()) for states in (plain_ND, hidden_ND))
    assert not all(torch.allclose(one, other, atol=1e-5) for one, other in zip(exact, detached, strict=True))


def test_nothing_is_detached_where_the_first_token_is_asked_for(qwen3: Any) -> None:
    trunk = Trunk([1, 2, 3, 4], [1, 3])
    assert torch.equal(on_detached(qwen3, trunk)[0], on_trunks(qwen3, [trunk])[0])


def test_what_comes_after_the_last_token_that_matters_changes_nothing(qwen3: Any) -> None:
    for trunk in trunks():
        cut = trunk.cut()
        assert cut.tokens <= trunk.tokens
        assert torch.allclose(naive_branches(qwen3, cut), naive_branches(qwen3, trunk), atol=1e-5)
        expected = whole(qwen3, trunk.ids, trunk.asked)
        assert torch.allclose(whole(qwen3, [*cut.ids, 0], cut.asked), expected, atol=1e-5)


def test_a_model_with_a_head_of_its_own_making_is_found_out(model: Any) -> None:
    assert not strange_head(model)
    forward = model.forward

    def odd(*args: Any, **kwargs: Any) -> Any:
        said = forward(*args, **kwargs)
        said.logits = said.logits * 1.5
        return said

    model.forward = odd
    try:
        assert strange_head(model)
    finally:
        model.forward = forward


def test_batches_hold_every_trunk_once_and_keep_to_their_size() -> None:
    asked = trunks()
    batches = list(batched(asked, tokens=90))
    assert sorted(place for batch in batches for place in batch) == list(range(len(asked)))
    assert len(batches) > 1
    for batch in batches:
        longest = max(len(asked[place].ids) for place in batch)
        branches = sum(asked[place].tokens - len(asked[place].ids) for place in batch)
        assert len(batch) == 1 or longest * len(batch) + branches <= 90
