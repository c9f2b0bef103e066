"""How a model wants its messages: the renderer that fits a tokenizer, what is checked of its chat template, and the
splice for chat forms that no renderer can extend.

What a template would drop without a word, or nobody could read again, is refused here, before anything is sampled.
Left out: writing contexts (`envs.context`).
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from jinja2 import TemplateError

from envs.trajectory import Message, assistant_message, calls_of
from tools import ToolCall
from tools.command import InputError

REMEMBERED, REMEMBERED_TEXTS = 32, 4_096
"""Texts of so many characters, and so many of them, are not tokenized again."""

_QUESTION: Message = {"role": "user", "content": "Which one?"}
_ANSWER = "This one."
_TOOL = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Look it up.",
        "parameters": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
    },
}
_CALL = {"id": "call00000", "type": "function", "function": {"name": "look_up", "arguments": '{"name": "lamp"}'}}

_MARKS = (
    ("<function=", "qwen3.5"),
    ("<arg_key>", "glm"),
    ("tool▁calls▁begin", "deepseek-v3"),
    ("<tool_call>", "qwen3"),
)
"""What a template writes calls with, and the parser that reads them."""


def renderer_for(tokenizer: Any, model_type: str) -> Any:
    """The renderer of `renderers` for a tokenizer; its default one, which uses the template, where it has no other.

    Qwen3's is taken for each model of that type that has Qwen3's template. It keeps all thinking, so that a context
    grows whatever comes. Raises InputError for a tokenizer that none fits.
    """
    from renderers import AutoRendererConfig, DefaultRendererConfig, Qwen3RendererConfig, create_renderer
    from renderers.base import MODEL_RENDERER_MAP

    remembering = _Remembering(tokenizer)
    try:
        if model_type == "qwen3":
            renderer = create_renderer(remembering, Qwen3RendererConfig(thinking_retention="all"))
            if _says_what_the_template_says(renderer, tokenizer):
                return renderer
        if tokenizer.name_or_path in MODEL_RENDERER_MAP:
            return create_renderer(remembering, AutoRendererConfig())
        parser = next((name for mark, name in _MARKS if mark in _text(tokenizer.chat_template)), None)
        if parser == "qwen3" and not _is_token(tokenizer, "<tool_call>"):
            parser = None  # it finds the mark as a token only; `message_in` finds the text
        return create_renderer(remembering, DefaultRendererConfig(tool_parser=parser))
    except (AssertionError, ValueError) as error:
        name = tokenizer.name_or_path or "(no path)"
        raise InputError(f"no renderer fits the tokenizer of {name}: {error}") from error


def is_default(renderer: Any) -> bool:
    """Whether a renderer is the one that knows no more than the template."""
    return type(renderer).__name__ == "DefaultRenderer"


def _says_what_the_template_says(renderer: Any, tokenizer: Any) -> bool:
    messages = [{"role": "system", "content": "Help."}, _QUESTION]
    ids = renderer.render_ids(messages, tools=[_TOOL], add_generation_prompt=True)
    return bool(tokenizer.decode(ids, skip_special_tokens=False) == _rendered(tokenizer, messages, [_TOOL], ready=True))


def _rendered(tokenizer: Any, messages: Sequence[Message], tools: object = None, *, ready: bool = False) -> str:
    """What the tokenizer's template makes of messages. Raises InputError where it refuses them."""
    try:
        text = tokenizer.apply_chat_template(list(messages), tools=tools, add_generation_prompt=ready, tokenize=False)
    except (ValueError, TypeError, KeyError, TemplateError) as error:
        raise InputError(f"the chat template of {_name(tokenizer)} refuses plain messages: {error}") from error
    return str(text)


def check_template(tokenizer: Any) -> None:
    """Raises InputError for a tokenizer without a chat template, and for a template that leaves out tools."""
    if not tokenizer.chat_template:
        raise InputError(
            f"the model {_name(tokenizer)} has no chat template: use an instruct model, "
            "or put a chat_template.jinja into its folder"
        )
    if _rendered(tokenizer, [_QUESTION], [_TOOL]) == _rendered(tokenizer, [_QUESTION]):
        raise InputError(
            f"the chat template of {_name(tokenizer)} drops tools: messages look the same with and without them, "
            "so the model would never see what it can call. Use a model that was trained with tools, or its template"
        )


def check_default(
    renderer: Any, tokenizer: Any, stop_ids: Iterable[int], parse: Callable[[list[int]], Message]
) -> None:
    """What a typed renderer knows of its model has to be found out of any other: that turns end, and that a call can
    be read again. Raises InputError where they don't, or can't."""
    stops = frozenset(stop_ids)
    if not stops:
        raise InputError(
            f"the tokenizer of {_name(tokenizer)} has no stop token, so no turn would end: "
            "set eos_token in its tokenizer_config.json"
        )
    said: Message = {"role": "assistant", "content": _ANSWER}
    if not stops & set(_after(renderer, [_QUESTION], said)):
        named = ", ".join(tokenizer.convert_ids_to_tokens(sorted(stops)))
        raise InputError(
            f"the chat template of {_name(tokenizer)} ends a turn with none of the stop tokens ({named}): are the "
            "special tokens of the template missing from the tokenizer, or is its eos_token another one?"
        )
    called: Message = {"role": "assistant", "content": "", "tool_calls": [_CALL]}
    ids = _after(renderer, [_QUESTION], called, tools=[_TOOL])
    read = [ToolCall.from_openai(call) for call in calls_of(parse(ids))]
    if [call.name for call in read] != ["look_up"]:
        text = tokenizer.decode(ids, skip_special_tokens=False)
        raise InputError(
            f"calls as the chat template of {_name(tokenizer)} writes them can't be read again: {text!r:.200}. "
            "Serve the model with its tool parser, and give openai:MODEL@BASE_URL"
        )


def _after(renderer: Any, messages: list[Message], turn: Message, tools: object = None) -> list[int]:
    """The tokens of a turn, as its chat form writes it after the generation prompt."""
    try:
        before: list[int] = renderer.render_ids(messages, tools=tools, add_generation_prompt=True)
        whole: list[int] = renderer.render_ids([*messages, turn], tools=tools)
    except (ValueError, TypeError, KeyError, TemplateError) as error:
        raise InputError(f"the chat template refuses a turn of an assistant: {error}") from error
    same = 0
    while same < min(len(before), len(whole)) and before[same] == whole[same]:
        same += 1
    return whole[same:]


def splice(renderer: Any, stop_ids: frozenset[int], turn: Message, ended: bool, new: Sequence[Message]) -> list[int]:
    """The tokens that follow a sampled turn when new messages come, where the chat form is known by its template only.

    They are what the template adds for the messages after a stand-in for the turn: the turn itself, and all before it,
    are not rendered. `ended` says whether the turn has its stop token; one that was cut off is closed first.
    A template may write the stand-in in another way when messages come, so its end is found by counting stop tokens.
    """
    answered = [message for message in new if message.get("role") == "tool"]
    names = [ToolCall.from_openai(call).name for call in calls_of(turn)]
    calls = [
        ToolCall(id=str(result.get("tool_call_id")), name=name or "unknown", arguments="{}").to_openai()
        for result, name in zip(answered, [*names, *[""] * len(answered)], strict=False)
    ]
    said: Message = {"role": "assistant", "content": "" if calls else _ANSWER}
    history = [_QUESTION, {**said, "tool_calls": calls} if calls else said]
    before: list[int] = renderer.render_ids(history)
    after: list[int] = renderer.render_ids([*history, *new], add_generation_prompt=True)
    turns = sum(token in stop_ids for token in before)
    closes = [place for place, token in enumerate(after) if token in stop_ids]
    if not 0 < turns <= len(closes):
        raise InputError("the chat form does not end a turn with a stop token, so a context can't be extended")
    return after[closes[turns - 1] + ended :]


def message_in(text: str, call_prefix: str) -> Message | None:
    """A message whose calls a renderer's parser does not find: `<tool_call>` blocks, where these are no tokens, and
    Llama 3's form, where the whole text is one call. None for a text without a call."""
    if "<tool_call>" in text:
        return assistant_message(text, call_prefix)
    bare = text.strip().removeprefix("<|python_tag|>").strip()
    if not re.match(r'\{\s*"(name|type)"\s*:', bare):
        return None
    call = ToolCall(id=f"{call_prefix}_0", name="", arguments=bare)
    try:
        read = json.loads(bare)
    except (ValueError, RecursionError):
        read = {}
    arguments = read.get("parameters", read.get("arguments"))
    if isinstance(read.get("name"), str) and isinstance(arguments, Mapping):
        call = ToolCall(id=call.id, name=read["name"], arguments=json.dumps(arguments, ensure_ascii=False))
    return {"role": "assistant", "content": "", "tool_calls": [call.to_openai()]}


def _is_token(tokenizer: Any, text: str) -> bool:
    token = tokenizer.convert_tokens_to_ids(text)
    return token is not None and token != tokenizer.unk_token_id


def _text(template: object) -> str:
    """A tokenizer may have several templates by name; the one for tools is taken where tools are given."""
    if isinstance(template, Mapping):
        return str(template.get("tool_use") or template.get("default") or "")
    return str(template)


def _name(tokenizer: Any) -> str:
    return str(tokenizer.name_or_path or "(no path)")


class _Remembering:
    """A tokenizer as renderers use it: it remembers short texts, which are the same few for every message.

    It can't be called, so that renderers don't work out which characters a token is from; nobody asks.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._known: dict[tuple[str, bool], list[int]] = {}

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        known = self._known.get((text, add_special_tokens))
        if known is None:
            known = self._tokenizer.encode(text, add_special_tokens=add_special_tokens)
            if len(text) <= REMEMBERED and len(self._known) < REMEMBERED_TEXTS:
                self._known[text, add_special_tokens] = known
        return list(known)

    def __getattr__(self, name: str) -> Any:
        if name == "__call__":
            raise AttributeError(name)
        return getattr(self._tokenizer, name)
