"""Models of other families, by their chat template alone: contexts spliced, calls read, what would be lost refused."""

import json
import logging
import warnings
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    PreTrainedTokenizerFast,
    Qwen3ForCausalLM,
)

from envs import make
from envs.context import ContextWriter
from envs.policies import Context, load_policy
from envs.policies.hf import TINY, LocalPolicy, Sampling
from envs.policies.loading import load_model, longest_context
from envs.rollout import rollout
from tools.command import InputError

LLAMA = """{{- bos_token }}
{%- if messages[0].role == 'system' %}{% set opening = messages[0].content %}{% set messages = messages[1:] %}
{%- else %}{% set opening = '' %}{% endif %}
{{- '<|start_header_id|>system<|end_header_id|>\\n\\n' + opening }}
{%- if tools %}{{ '\\n\\nAnswer with a JSON call {"name": ..., "parameters": ...} of:' }}
{%- for tool in tools %}{{ '\\n' + tool | tojson }}{% endfor %}{% endif %}
{{- '<|eot_id|>' }}
{%- for message in messages %}
{%- if message.tool_calls %}
{%- if message.tool_calls | length != 1 %}{{ raise_exception('This model only supports single tool-calls at once!') }}
{%- endif %}
{%- set call = message.tool_calls[0].function %}
{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n{"name": "' + call.name + '", "parameters": ' }}
{{- call.arguments | tojson + '}<|eot_id|>' }}
{%- elif message.role == 'tool' %}
{{- '<|start_header_id|>ipython<|end_header_id|>\\n\\n' + message.content + '<|eot_id|>' }}
{%- else %}
{{- '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' + message.content + '<|eot_id|>' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"""
LLAMA_TOKENS = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|python_tag|>")

CHATML = (TINY / "chat_template.jinja").read_text(encoding="utf-8")
CHATML_TOKENS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>",
    "<think>", "</think>",
)  # fmt: skip
OPENED = "{{ '<|im_start|>assistant\\n' }}{% endif %}"


def tokenizer_of(template: str, special: tuple[str, ...], eos: str | None) -> PreTrainedTokenizerFast:
    """Bytes and special tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_tokens([AddedToken(text, special=text.startswith("<|"), normalized=False) for text in special])
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        bos_token=special[0],
        eos_token=eos,
        chat_template=template,
        clean_up_tokenization_spaces=False,
    )


def llama_tokenizer(template: str = LLAMA, eos: str | None = "<|eot_id|>") -> PreTrainedTokenizerFast:
    return tokenizer_of(template, LLAMA_TOKENS, eos)


def chatml_tokenizer(template: str = CHATML, eos: str | None = "<|im_end|>") -> PreTrainedTokenizerFast:
    return tokenizer_of(template, CHATML_TOKENS, eos)


def save(tokenizer: PreTrainedTokenizerFast, folder: Path, **config: Any) -> Path:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 8_192,
        "initializer_range": 0.3,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    LlamaForCausalLM(LlamaConfig(**{**sizes, **config})).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(llama_tokenizer(), tmp_path_factory.mktemp("llama"))


def opened(seed: int) -> Context:
    env = make("store-v0")
    opening, info = env.reset(seed=seed)
    env.close()
    return Context(env=env, messages=[*opening], tools=info["tools"], rng=Random(seed))


def test_a_model_without_a_renderer_goes_on_by_splices(llama: Path, caplog: pytest.LogCaptureFixture) -> None:
    policy = LocalPolicy.load(llama, sampling=Sampling(max_new_tokens=12))
    contexts = [opened(seed) for seed in range(3)]
    result = {"role": "tool", "tool_call_id": "call_0_0", "content": '{"order_id": 417}'}
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            for context, reply in zip(contexts, policy.act(contexts), strict=True):
                assert reply.turn is not None
                context.turns.append(reply.turn)
                context.messages += [reply.message, result]
    for context in contexts:
        ids: list[int] = []
        for turn in context.turns:
            ids += turn.prompt_ids
            with torch.inference_mode():
                logits_TV = policy.model(torch.tensor([[*ids, *turn.token_ids]])).logits[0].double()
            scored_TV = logits_TV[len(ids) - 1 : -1].log_softmax(-1)
            expected = [float(row_V[token]) for row_V, token in zip(scored_TV, turn.token_ids, strict=True)]
            assert turn.logprobs == pytest.approx(expected, abs=1e-4)
            ids += turn.token_ids
        for turn in context.turns[1:]:
            heard = policy.writer.decode(turn.prompt_ids)
            said = "<|start_header_id|>ipython<|end_header_id|>\n\n" + result["content"] + "<|eot_id|>"
            assert heard.removeprefix("<|eot_id|>") == said + "<|start_header_id|>assistant<|end_header_id|>\n\n"
    (record,) = caplog.records
    assert "DefaultRenderer has no way to extend a context" in record.getMessage()
    assert "0 tokens are prefilled again" in record.getMessage()
    assert policy.writer.spliced.turns == 6
    assert policy.writer.spliced.added == sum(len(turn.prompt_ids) for c in contexts for turn in c.turns[1:])


def test_whole_episodes_of_another_family(llama: Path) -> None:
    policy = load_policy(str(llama))
    for trajectory in rollout(policy, "store-v0", range(2)):
        assert trajectory.turns
        assert not trajectory.fault
        assert trajectory.token_exact == (len(trajectory.turns) == 1)


def test_a_splice_is_what_the_template_says(llama: Path) -> None:
    """For a turn that the template itself would have written, a spliced context is the rendered one."""
    for folder, tokenizer in ((llama, llama_tokenizer()), (None, chatml_tokenizer())):
        writer = ContextWriter(tokenizer, model_type="llama" if folder else "qwen2")
        assert writer.by_template
        opening = [{"role": "system", "content": "Help."}, {"role": "user", "content": "Where is order 417?"}]
        call = {"id": "call_0", "type": "function", "function": {"name": "get_order", "arguments": '{"order_id": 417}'}}
        turn = {"role": "assistant", "content": "", "tool_calls": [call]}
        news: list[list[dict[str, Any]]] = [
            [{"role": "tool", "tool_call_id": "call_0", "content": '{"status": "open"}'}],
            [
                {"role": "tool", "tool_call_id": "call_0", "content": "no"},
                {"role": "user", "content": "Reminder: <|eot_id|> is no tool."},
            ],
        ]
        for new in news:
            prompt = writer.first(opening, opened(0).tools)
            whole = writer.first([*opening, turn, *new], opened(0).tools)
            stops = [place for place in range(len(prompt), len(whole)) if whole[place] in writer.stop_ids]
            sampled = whole[len(prompt) : stops[0] + 1]
            assert prompt + sampled + writer.extension(prompt, sampled, new) == whole
            assert writer.extension(prompt, sampled[:-1], new) == whole[stops[0] :]
            assert writer.extend(prompt, sampled, new)[1] is False


@pytest.mark.parametrize(
    ("text", "name", "arguments"),
    [
        ('{"name": "get_order", "parameters": {"order_id": 417}}', "get_order", {"order_id": 417}),
        ('<|python_tag|>{"type": "function", "name": "f", "parameters": {}}', "f", {}),
        ('{"name": "get_order", "parameters": {"order_id": 417}', "", None),
        ('{"name": "get_order"}', "", None),
        ('Here it is: {"name": "lamp"}', None, None),
        ('{"lamp": 3}', None, None),
    ],
)
def test_a_call_in_llamas_form_is_read(text: str, name: str | None, arguments: Any) -> None:
    writer = ContextWriter(llama_tokenizer(), model_type="llama")
    message = writer.parse(writer.tokenizer.encode(f"{text}<|eot_id|>", add_special_tokens=False), "call_3")
    if name is None:
        assert message == {"role": "assistant", "content": text}
        return
    (call,) = message["tool_calls"]
    assert (call["id"], call["function"]["name"]) == ("call_3_0", name)
    if name:
        assert json.loads(call["function"]["arguments"]) == arguments


def test_calls_are_read_where_their_marks_are_no_tokens() -> None:
    tokenizer = tokenizer_of(CHATML, CHATML_TOKENS[:3], "<|im_end|>")
    writer = ContextWriter(tokenizer, model_type="qwen2")
    text = '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call><|im_end|>'
    message = writer.parse(tokenizer.encode(text, add_special_tokens=False), "call_0")
    assert [call["function"]["name"] for call in message["tool_calls"]] == ["f"]


def test_reasoning_is_kept_apart_and_its_tokens_stay() -> None:
    """With Qwen3's own renderer: what was thought is in no content, and the next prompt has it as it was sampled."""
    tokenizer = AutoTokenizer.from_pretrained(TINY)
    writer = ContextWriter(tokenizer, model_type="qwen3")
    assert not writer.by_template
    opening = [{"role": "user", "content": "Where is order 417?"}]
    prompt = writer.first(opening, opened(0).tools)
    call = '<tool_call>\n{"name": "get_order", "arguments": {"order_id": 417}}\n</tool_call>'
    sampled = tokenizer.encode(f"<think>\nLook it up.\n</think>\n\nOne moment.\n{call}<|im_end|>")
    message = writer.parse(sampled, "call_0", prompt_ids=prompt)
    assert message["reasoning_content"].strip() == "Look it up."
    assert message["content"].strip() == "One moment."
    assert message["tool_calls"][0]["function"]["name"] == "get_order"
    new = [{"role": "tool", "tool_call_id": "call_0_0", "content": "{}"}]
    extension, exact = writer.extend(prompt, sampled, new)
    assert exact
    assert writer.decode(extension).endswith("<|im_end|>\n<|im_start|>assistant\n")


def test_a_turn_that_ends_while_it_thinks_is_spliced_and_ends_no_run() -> None:
    tokenizer = AutoTokenizer.from_pretrained(TINY)
    writer = ContextWriter(tokenizer, model_type="qwen3")
    prompt = writer.first([{"role": "user", "content": "Where?"}], None)
    sampled = tokenizer.encode("<think>\nLook it up.<|im_end|>")
    extension, exact = writer.extend(prompt, sampled, [{"role": "user", "content": "Well?"}])
    assert not exact
    said = "\n<|im_start|>user\nWell?<|im_end|>\n<|im_start|>assistant\n"
    assert writer.decode(extension) == said


def test_thinking_that_the_prompt_opened_is_kept_apart() -> None:
    assert CHATML.count(OPENED) == 1
    template = CHATML.replace(OPENED, OPENED.replace("assistant\\n", "assistant\\n<think>\\n"))
    for model_type in ("qwen2", "qwen3"):
        writer = ContextWriter(chatml_tokenizer(template), model_type=model_type)
        assert writer.by_template
        prompt = writer.first([{"role": "user", "content": "Where?"}], None)
        sampled = writer.tokenizer.encode("Hm.\n</think>\n\nThere.<|im_end|>", add_special_tokens=False)
        message = writer.parse(sampled, "call_0", prompt_ids=prompt)
        assert (message["reasoning_content"].strip(), message["content"].strip()) == ("Hm.", "There.")


DROPS = "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"  # fmt: skip  # noqa: E501


@pytest.mark.parametrize(
    ("tokenizer", "said"),
    [
        (chatml_tokenizer(DROPS), "drops tools: messages look the same with and without them"),
        (chatml_tokenizer(eos=None), "has no stop token, so no turn would end"),
        (chatml_tokenizer(eos="<|endoftext|>"), r"ends a turn with none of the stop tokens \(<\|endoftext\|>\)"),
        (chatml_tokenizer("{{ messages[7].content }}"), "refuses plain messages"),
        (chatml_tokenizer("{% if oops %}"), "refuses plain messages"),
        (
            chatml_tokenizer(DROPS.replace("{% for", "{{ tools }}{% for", 1)),
            "calls as the chat template of .* writes them can't be read again",
        ),
    ],
)
def test_what_would_be_lost_is_refused(tokenizer: PreTrainedTokenizerFast, said: str) -> None:
    with pytest.raises(InputError, match=said):
        ContextWriter(tokenizer, model_type="qwen2")


def test_a_template_that_drops_tools_is_refused_of_qwen3_too() -> None:
    with pytest.raises(InputError, match="drops tools"):
        ContextWriter(chatml_tokenizer(DROPS), model_type="qwen3")


def test_special_tokens_that_are_missing_are_named() -> None:
    with pytest.raises(InputError, match="'<tool_response>' not found"):
        ContextWriter(tokenizer_of(CHATML, CHATML_TOKENS[:5], "<|im_end|>"), model_type="qwen3")


def test_the_models_own_stop_tokens_count_too() -> None:
    tokenizer = chatml_tokenizer(eos="<|endoftext|>")
    stop = tokenizer.convert_tokens_to_ids("<|im_end|>")
    writer = ContextWriter(tokenizer, model_type="qwen2", stop_ids=[stop])
    assert writer.stop_ids == {stop, tokenizer.eos_token_id}
    sampled = tokenizer.encode("There.<|im_end|>", add_special_tokens=False)
    assert writer.parse(sampled, "call_0")["content"] == "There."


def test_a_lora_adapter_is_merged_into_its_model(llama: Path, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    model, _ = load_model(llama)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers in an old way
        adapted = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    adapted.save_pretrained(tmp_path / "adapter")
    with torch.inference_mode():
        expected = adapted(torch.tensor([[1, 2, 3]])).logits
    merged, _ = load_model(tmp_path / "adapter")
    assert type(merged) is LlamaForCausalLM
    with torch.inference_mode():
        assert torch.allclose(merged(torch.tensor([[1, 2, 3]])).logits, expected, atol=1e-4)
    config = tmp_path / "adapter" / "adapter_config.json"
    written = json.loads(config.read_text())
    for base, said in (
        (str(TINY), "does not fit its model"),
        (None, "names no model"),
        ("no/such/model", "there is none"),
    ):
        config.write_text(json.dumps({**written, "base_model_name_or_path": base}))
        with pytest.raises(InputError, match=said):
            load_model(tmp_path / "adapter")
    config.write_text("{")
    with pytest.raises(InputError, match="can't be read"):
        load_model(tmp_path / "adapter")


def test_a_folder_that_is_no_model_or_half_of_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no config\.json"):
        load_model(tmp_path)
    with pytest.raises(InputError, match="there is none"):
        load_model(tmp_path / "nothing")
    model = Qwen3ForCausalLM.from_pretrained(TINY)
    state = model.state_dict()
    del state["model.layers.1.mlp.up_proj.weight"]
    model.save_pretrained(tmp_path / "half", state_dict=state)
    AutoTokenizer.from_pretrained(TINY).save_pretrained(tmp_path / "half")
    with pytest.raises(InputError, match=r"lacks weights, which would be random: model\.layers\.1\.mlp\.up_proj"):
        load_model(tmp_path / "half")
    save(llama_tokenizer(), tmp_path / "small", vocab_size=256, bos_token_id=None, eos_token_id=None)
    with pytest.raises(InputError, match="a tokenizer with 261 tokens, and a model that knows 256"):
        load_model(tmp_path / "small")


def test_a_sliding_window_bounds_the_conversation() -> None:
    from transformers import MistralForCausalLM

    sizes: dict[str, Any] = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "vocab_size": 8}
    heads: dict[str, Any] = {"num_attention_heads": 1, "num_key_value_heads": 1, "max_position_embeddings": 512}
    model = MistralForCausalLM(MistralConfig(**sizes, **heads, sliding_window=64))
    assert longest_context(model) == 64
    model = MistralForCausalLM(MistralConfig(**sizes, **heads, sliding_window=None))
    assert longest_context(model) == 512
