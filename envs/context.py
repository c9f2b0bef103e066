"""Messages to tokens and back, for one model: what a policy reads and what it said.

The one place where chat becomes token ids. Rollouts, the tiny model's training and hinted contexts all come from here,
so that they agree exactly. A sampled turn is never rendered again: a context only ever grows. `renderers` knows each
model family's form; this module picks one and keeps to that rule.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from jinja2 import TemplateError

from envs.trajectory import Message
from tools import ToolCall
from tools.command import InputError


class ContextWriter:
    """Writes contexts for one tokenizer.

    Needs a fast tokenizer with a chat template; raises InputError for one without, since there is no telling how the
    model wants its messages.
    """

    def __init__(self, tokenizer: Any, *, model_type: str) -> None:
        if not tokenizer.chat_template:
            raise InputError(
                f"the model {tokenizer.name_or_path or '(no path)'} has no chat template: use an instruct model, "
                "or put a chat_template.jinja into its folder"
            )
        self.tokenizer = tokenizer
        self.renderer = _renderer(tokenizer, model_type)
        self.stop_ids = frozenset(self.renderer.get_stop_token_ids())

    def first(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] | None) -> list[int]:
        """The prompt of a first turn, up to and with the generation prompt.

        Raises InputError where the model's chat form refuses the messages.
        """
        with _refusals():
            ids: list[int] = self.renderer.render_ids(list(messages), tools=tools, add_generation_prompt=True)
        return ids

    def extension(self, prompt_ids: Sequence[int], token_ids: Sequence[int], messages: Sequence[Message]) -> list[int]:
        """The token ids that follow a sampled turn when `messages` (results, a hint) come, up to the next turn.

        `prompt_ids` is all that came before the turn, `token_ids` the turn as sampled; they stay as they are.
        Raises InputError where the model's chat form can't be extended so.
        """
        before = [*prompt_ids, *token_ids]
        with _refusals():
            bridged = self.renderer.bridge_to_next_turn(list(prompt_ids), list(token_ids), list(messages))
        if bridged is None or bridged.token_ids[: len(before)] != before:
            raise InputError(
                f"the chat form of {type(self.renderer).__name__} can't be extended without rendering earlier turns "
                "again: use a model of the Qwen3 family"
            )
        extension: list[int] = bridged.token_ids[len(before) :]
        return extension

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of token ids, special tokens included."""
        text: str = self.tokenizer.decode(list(token_ids), skip_special_tokens=False)
        return text

    def parse(self, token_ids: Sequence[int], call_prefix: str, *, prompt_ids: Sequence[int] = ()) -> Message:
        """The assistant message that sampled token ids stand for.

        `prompt_ids` ends with the generation prompt, which some chat forms open the reasoning in.
        A call that does not parse keeps its text as `arguments` and has no name: the world answers it as malformed.
        """
        parsed = self.renderer.parse_response(list(token_ids), prompt_ids=list(prompt_ids) or None)
        calls = [_call(call, f"{call_prefix}_{place}") for place, call in enumerate(parsed.tool_calls)]
        message: Message = {"role": "assistant", "content": parsed.content}
        if parsed.reasoning_content:
            message["reasoning_content"] = parsed.reasoning_content
        if calls:
            message["tool_calls"] = [call.to_openai() for call in calls]
        return message


@contextmanager
def _refusals() -> Iterator[None]:
    """A chat form says no in its own way: a renderer by ValueError, a template by raising as it likes."""
    try:
        yield
    except (ValueError, TemplateError) as error:
        raise InputError(f"the model's chat form refuses these messages: {error}") from error


def _call(parsed: Any, call_id: str) -> ToolCall:
    if parsed.status != "ok" or not isinstance(parsed.name, str):
        return ToolCall(id=call_id, name="", arguments=parsed.raw)
    return ToolCall(id=call_id, name=parsed.name, arguments=json.dumps(parsed.arguments, ensure_ascii=False))


def _renderer(tokenizer: Any, model_type: str) -> Any:
    """Qwen3's renderer keeps all thinking, so that a context grows whatever comes; others are found by model name."""
    from renderers import Qwen3RendererConfig, create_renderer

    config = Qwen3RendererConfig(thinking_retention="all") if model_type == "qwen3" else None
    try:
        return create_renderer(tokenizer, config)
    except (AssertionError, ValueError) as error:
        name = tokenizer.name_or_path or "(no path)"
        raise InputError(f"no renderer fits the tokenizer of {name}: {error}") from error
