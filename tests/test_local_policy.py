"""A transformers model as a policy, against the plain way of computing the same, with a random model made here."""

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from envs import Trajectory, make
from envs.context import ContextWriter
from envs.policies import Context, load_policy
from envs.policies.hf import TINY, LocalPolicy, Sampling
from envs.policies.loading import load_model
from envs.policies.turns import TokenPolicy
from envs.rollout import rollout
from tools.command import InputError

SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>",
    "<think>", "</think>",
)  # fmt: skip
RESULTS = ("{}", '{"order_id": 417, "status": "open", "item": "lamp"}', '{"errors": [{"code": "wrong_type"}]}')
TURNS = (1, 4, 2, 3, 4)
"""How many turns each context of a batch takes, so that rows leave it from its start, middle and end."""


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level tokenizer that knows a task's own text, with Qwen3's special tokens."""
    env = make("store-v0")
    (_, request), info = env.reset(seed=3)
    env.close()
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=[AddedToken(text, special=text.startswith("<|"), normalized=False) for text in SPECIAL],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([request["content"], json.dumps(info["tools"]), *RESULTS], trainer)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=(TINY / "chat_template.jinja").read_text(encoding="utf-8"),
        clean_up_tokenization_spaces=False,
    )


@pytest.fixture(scope="module")
def model(tokenizer: PreTrainedTokenizerFast) -> Any:
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        max_position_embeddings=4_096,
        tie_word_embeddings=True,
        initializer_range=0.3,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return Qwen3ForCausalLM(config).eval()  # type: ignore[no-untyped-call]


@pytest.fixture(scope="module")
def writer(tokenizer: PreTrainedTokenizerFast) -> ContextWriter:
    return ContextWriter(tokenizer, model_type="qwen3")


@pytest.fixture
def folder(model: Any, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> Path:
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def policy_of(model: Any, tokenizer: PreTrainedTokenizerFast, **sampling: Any) -> LocalPolicy:
    return LocalPolicy("random model", model, tokenizer, Sampling(**{"max_new_tokens": 12, **sampling}))


def opened(seed: int) -> Context:
    env = make("store-v0", split="test")
    opening, info = env.reset(seed=seed)
    env.close()
    return Context(env=env, messages=[*opening], tools=info["tools"], rng=Random(seed))


def talk(policy: LocalPolicy, contexts: list[Context], turns: Sequence[int]) -> None:
    """Let each context take its number of turns; all that is said is answered, with results of different lengths."""
    for number in range(max(turns)):
        going = [context for context, count in zip(contexts, turns, strict=True) if number < count]
        for context, reply in zip(going, policy.act(going), strict=True):
            assert reply.turn is not None
            context.turns.append(reply.turn)
            result = {"role": "tool", "tool_call_id": f"call_{number}", "content": context.rng.choice(RESULTS)}
            context.messages += [reply.message, result]


def trajectory_of(context: Context) -> Trajectory:
    return Trajectory(
        id="", env="", task={}, policy="", tools=(), messages=context.messages, turns=tuple(context.turns)
    )


def plain_logprobs(model: Any, prompt_ids: list[int], token_ids: list[int]) -> list[float]:
    """Log-probs of the tokens from one forward pass over everything, without cache or padding."""
    with torch.inference_mode():
        logits_TV = model(torch.tensor([[*prompt_ids, *token_ids]])).logits[0].double()
    logprobs_TV = logits_TV[len(prompt_ids) - 1 : -1].log_softmax(-1)
    return [float(row_V[token]) for row_V, token in zip(logprobs_TV, token_ids, strict=True)]


@pytest.mark.parametrize("family", ["GptOss", "Gemma2"])
def test_a_family_without_sdpa_is_loaded_and_acts_by_its_own_attention(
    tokenizer: PreTrainedTokenizerFast, family: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "num_hidden_layers": 2}
    sizes = {"vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 32, "sliding_window": 4096, **heads}
    experts = {"num_local_experts": 4, "num_experts_per_tok": 2} if family == "GptOss" else {}
    config = getattr(transformers, f"{family}Config")(**sizes, **experts)
    random = transformers.AutoModelForCausalLM.from_config(config)
    for parameter in random.parameters():
        torch.nn.init.normal_(parameter, 0.0, 0.2)
    random.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    model, _ = load_model(tmp_path)
    assert model.config._attn_implementation == "eager"
    contexts = [opened(seed) for seed in range(5)]
    talk(policy_of(model, tokenizer), contexts, TURNS)
    for context in contexts:
        trajectory = trajectory_of(context)
        for number, turn in enumerate(trajectory.turns):
            expected = plain_logprobs(model, trajectory.prompt_ids(number), turn.token_ids)
            assert turn.logprobs == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
def test_logprobs_are_those_of_a_plain_forward_pass(
    model: Any, tokenizer: PreTrainedTokenizerFast, temperature: float
) -> None:
    contexts = [opened(seed) for seed in range(5)]
    talk(policy_of(model, tokenizer, temperature=temperature), contexts, TURNS)
    for context in contexts:
        trajectory = trajectory_of(context)
        for number, turn in enumerate(context.turns):
            expected = plain_logprobs(model, trajectory.prompt_ids(number), list(turn.token_ids))
            assert turn.logprobs == pytest.approx(expected, abs=1e-4)


def test_greedy_takes_the_likeliest_token(model: Any, tokenizer: PreTrainedTokenizerFast) -> None:
    context = opened(0)
    talk(policy_of(model, tokenizer, temperature=0), [context], [1])
    ids = list(context.turns[0].prompt_ids)
    for token in context.turns[0].token_ids:
        with torch.inference_mode():
            assert token == int(model(torch.tensor([ids])).logits[0, -1].argmax())
        ids.append(token)


def test_who_else_is_in_the_batch_changes_no_token(model: Any, tokenizer: PreTrainedTokenizerFast) -> None:
    policy = policy_of(model, tokenizer)
    together = [opened(seed) for seed in range(5)]
    talk(policy, together, TURNS)
    for seed, (context, count) in enumerate(zip(together, TURNS, strict=True)):
        alone = opened(seed)
        talk(policy, [alone], [count])
        assert [turn.token_ids for turn in alone.turns] == [turn.token_ids for turn in context.turns]


def test_sampled_tokens_are_kept_and_a_context_only_grows(
    model: Any, tokenizer: PreTrainedTokenizerFast, writer: ContextWriter
) -> None:
    context = opened(1)
    talk(policy_of(model, tokenizer), [context], [4])
    trajectory = trajectory_of(context)
    for number, turn in enumerate(trajectory.turns):
        before = [*trajectory.prompt_ids(number), *turn.token_ids]
        assert turn.raw == writer.decode(turn.token_ids)
        assert len(turn.logprobs) == len(turn.token_ids) <= 12
        assert trajectory.turn_at(turn.message_index) == number
        if number + 1 < len(trajectory.turns):
            assert trajectory.prompt_ids(number + 1)[: len(before)] == before
            heard = writer.decode(trajectory.turns[number + 1].prompt_ids)
            assert trajectory.messages[turn.message_index + 1]["content"] in heard
            assert heard.endswith("<|im_start|>assistant\n")
    assert trajectory.prompt_ids(0) == writer.first(trajectory.messages[:2], context.tools)


def test_a_turn_ends_at_a_stop_token_at_its_limit_or_where_the_context_is_full(
    model: Any, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = policy_of(model, tokenizer, max_new_tokens=30)
    contexts = [opened(seed) for seed in range(8)]
    talk(policy, contexts, [1] * 8)
    for context in contexts:
        *inner, last = context.turns[0].token_ids
        assert not policy.writer.stop_ids & set(inner)
        assert last in policy.writer.stop_ids or len(inner) == 29
    full = opened(0)
    prompt_length = len(contexts[0].turns[0].prompt_ids)
    monkeypatch.setattr(policy, "longest", prompt_length + 5)
    talk(policy, [full], [1])
    assert list(full.turns[0].token_ids) == list(contexts[0].turns[0].token_ids[:5])[: len(full.turns[0].token_ids)]
    assert prompt_length + len(full.turns[0].token_ids) <= prompt_length + 5


def test_rollouts_of_a_model_are_the_same_whatever_the_batch(model: Any, tokenizer: PreTrainedTokenizerFast) -> None:
    policy = policy_of(model, tokenizer)
    one, many = (
        {trajectory.id: trajectory for trajectory in rollout(policy, "store-v0", range(6), batch=batch)}
        for batch in (1, 4)
    )
    assert one.keys() == many.keys()
    for key, trajectory in one.items():
        assert trajectory.token_exact
        assert [turn.token_ids for turn in trajectory.turns] == [turn.token_ids for turn in many[key].turns]
        assert trajectory.messages == many[key].messages


CALL = '<tool_call>\n{"name": "get_order", "arguments": {"order_id": 417}}\n</tool_call>'


@pytest.mark.parametrize(
    ("text", "name", "arguments"),
    [
        (CALL, "get_order", {"order_id": 417}),
        (CALL.replace("}}", "}"), "", None),
        (CALL.replace('"get_order"', "7"), "", None),
        (CALL.replace("</tool_call>", ""), "", None),
        ("<tool_call>\nnothing of the kind\n</tool_call>", "", None),
    ],
)
def test_a_call_that_does_not_parse_stays_one(
    tokenizer: PreTrainedTokenizerFast, writer: ContextWriter, text: str, name: str, arguments: Any
) -> None:
    message = writer.parse(tokenizer.encode(f"{text}<|im_end|>"), "call_3")
    (call,) = message["tool_calls"]
    assert call["id"] == "call_3_0"
    assert call["function"]["name"] == name
    env = make("store-v0")
    env.reset(seed=0)
    _, _, terminated, _, info = env.step(message)
    env.close()
    assert not terminated
    if name:
        assert json.loads(call["function"]["arguments"]) == arguments
    else:
        assert [violation["code"] for violation in info["violations"][0]] == ["malformed_call"]


def test_two_calls_in_a_turn_have_ids_of_their_own(tokenizer: PreTrainedTokenizerFast, writer: ContextWriter) -> None:
    message = writer.parse(tokenizer.encode(f"{CALL}\n{CALL}<|im_end|>"), "call_0")
    assert [call["id"] for call in message["tool_calls"]] == ["call_0_0", "call_0_1"]


def test_a_model_is_loaded_from_its_folder(folder: Path, model: Any, tokenizer: PreTrainedTokenizerFast) -> None:
    loaded, made = opened(2), opened(2)
    policy = load_policy(str(folder), temperature=0.5, max_tokens=96)
    assert policy.name == f"{folder}@0.5"
    assert load_policy(str(folder)).name == str(folder)
    (reply,) = policy.act([loaded])
    talk(policy_of(model, tokenizer, temperature=0.5, max_new_tokens=96), [made], [1])
    assert reply.turn is not None
    assert reply.turn.token_ids == made.turns[0].token_ids


def test_a_turns_limit_is_what_is_asked_for_else_the_models_own_else_1024(folder: Path, tmp_path: Path) -> None:
    def limit(path: str | Path, **options: Any) -> int:
        policy = load_policy(str(path), **options)
        assert isinstance(policy, TokenPolicy)
        return policy.most_tokens

    assert (limit(folder), limit("tiny"), limit("tiny", max_tokens=7)) == (1_024, 96, 7)
    tiny = LocalPolicy.load("tiny")
    tiny.model.save_pretrained(tmp_path)
    tiny.writer.tokenizer.save_pretrained(tmp_path)
    assert limit(tmp_path) == 96
    with pytest.raises(InputError, match="max_new_tokens 1 or more"):
        load_policy("tiny", max_tokens=0)


def test_a_model_without_a_chat_template_is_refused(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(InputError, match="no chat template: use an instruct model"):
        load_policy(str(folder))


def test_a_folder_without_a_model_is_refused(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match="can't be loaded as a causal language model"):
        load_policy(str(folder))
    (folder / "config.json").unlink()
    with pytest.raises(InputError, match=r"no config\.json"):
        load_policy(str(folder))


@pytest.mark.parametrize("wrong", [{"temperature": -0.1}, {"max_new_tokens": 0}])
def test_sampling_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="temperature must be 0 or more and max_new_tokens 1 or more"):
        Sampling(**wrong)
