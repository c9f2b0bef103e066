"""Messages to tokens and back, for one model: what a policy reads and what it said.

The one place where chat becomes token ids. Rollouts, the tiny model's training and hinted contexts all come from here,
so that they agree exactly. A sampled turn is never rendered again: a context only ever grows. `renderers` knows each
model family's form; `envs.chatform` picks one, and helps where none can extend a context.
"""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from jinja2 import TemplateError

from envs.chatform import check_default, check_template, is_default, message_in, renderer_for, splice
from envs.trajectory import Message
from tools import ToolCall
from tools.command import InputError

_LOG = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Spliced:
    """What splices have cost so far. `added` are the tokens that contexts grew by."""

    turns: int = 0
    added: int = 0
    seconds: float = 0.0


class ContextWriter:
    """Writes contexts for one tokenizer. `stop_ids` are the model's own, beside those of its chat form.

    Needs a fast tokenizer with a chat template; raises InputError for one without, since there is no telling how the
    model wants its messages, and for a template that drops tools, ends no turn, or writes calls that can't be read.
    """

    def __init__(self, tokenizer: Any, *, model_type: str, stop_ids: Sequence[int] = ()) -> None:
        check_template(tokenizer)
        self.tokenizer = tokenizer
        self.renderer = renderer_for(tokenizer, model_type)
        self.stop_ids = frozenset(self.renderer.get_stop_token_ids())
        self.spliced = Spliced()
        self.by_template = is_default(self.renderer)
        if self.by_template:
            self.stop_ids |= frozenset(stop_ids)
            check_default(self.renderer, tokenizer, self.stop_ids, lambda ids: self.parse(ids, "call"))

    def first(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] | None) -> list[int]:
        """The prompt of a first turn, up to and with the generation prompt.

        Raises InputError where the model's chat form refuses the messages.
        """
        with _refusals():
            ids: list[int] = self.renderer.render_ids(list(messages), tools=tools, add_generation_prompt=True)
        return ids

    def whole(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] | None) -> list[int]:
        """A conversation up to its last message, without a generation prompt; raises InputError as `first` does."""
        with _refusals():
            ids: list[int] = self.renderer.render_ids(list(messages), tools=tools, add_generation_prompt=False)
        return ids

    def extension(self, prompt_ids: Sequence[int], token_ids: Sequence[int], messages: Sequence[Message]) -> list[int]:
        """`extend` without the word on how the tokens came about."""
        return self.extend(prompt_ids, token_ids, messages)[0]

    def extend(
        self, prompt_ids: Sequence[int], token_ids: Sequence[int], messages: Sequence[Message]
    ) -> tuple[list[int], bool]:
        """The token ids that follow a sampled turn when `messages` (results, a hint) come, up to the next turn, and
        whether they are exactly what the chat form has there: not if they had to be spliced.

        `prompt_ids` is all that came before the turn, or the last part of it; `token_ids` is the turn as sampled; they
        stay as they are. Raises InputError where the model's chat form can't be extended so.
        """
        before = [*prompt_ids, *token_ids]
        with _refusals():
            bridged = self.renderer.bridge_to_next_turn(list(prompt_ids), list(token_ids), list(messages))
            if bridged is None or bridged.token_ids[: len(before)] != before:
                return self._spliced(prompt_ids, token_ids, messages), False
        extension: list[int] = bridged.token_ids[len(before) :]
        return extension, True

    def _spliced(self, prompt_ids: Sequence[int], token_ids: Sequence[int], messages: Sequence[Message]) -> list[int]:
        began = perf_counter()
        turn = self.parse(token_ids, "call", prompt_ids=prompt_ids)
        ended = bool(token_ids) and token_ids[-1] in self.stop_ids
        ids = splice(self.renderer, self.stop_ids, turn, ended, messages)
        self.spliced.turns += 1
        self.spliced.added += len(ids)
        self.spliced.seconds += perf_counter() - began
        if self.spliced.turns == 1:
            _LOG.warning(
                "%s has no way to extend a context: what follows a turn is rendered by the chat template and spliced "
                "in, which took %.1f ms for %d tokens (0 tokens are prefilled again), and such trajectories are not "
                "marked token_exact",
                type(self.renderer).__name__,
                1_000 * self.spliced.seconds,
                len(ids),
            )
        return ids

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of token ids, special tokens included."""
        text: str = self.tokenizer.decode(list(token_ids), skip_special_tokens=False)
        return text

    def parse(self, token_ids: Sequence[int], call_prefix: str, *, prompt_ids: Sequence[int] = ()) -> Message:
        """The assistant message that sampled token ids stand for.

        `prompt_ids` ends with the generation prompt, which some chat forms open the reasoning in.
        A call that does not parse keeps its text as `arguments` and has no name: the world answers it as malformed.
        """
        said = self._without_stop(token_ids) if self.by_template else list(token_ids)
        parsed = self.renderer.parse_response(said, prompt_ids=list(prompt_ids) or None)
        calls = [_call(call, f"{call_prefix}_{place}") for place, call in enumerate(parsed.tool_calls)]
        message: Message = {"role": "assistant", "content": parsed.content}
        if calls:
            message["tool_calls"] = [call.to_openai() for call in calls]
        elif self.by_template and (found := message_in(parsed.content, call_prefix)):
            message = found
        if parsed.reasoning_content:
            message["reasoning_content"] = parsed.reasoning_content
        return message

    def _without_stop(self, token_ids: Sequence[int]) -> list[int]:
        """A turn up to its stop token: the default renderer knows one of them only."""
        end = next((place for place, token in enumerate(token_ids) if token in self.stop_ids), len(token_ids))
        return list(token_ids[:end])


@contextmanager
def _refusals() -> Iterator[None]:
    """A chat form says no in its own way: a renderer by ValueError, a template by raising as it likes."""
    try:
        yield
    except InputError:
        raise
    except (ValueError, TemplateError) as error:
        raise InputError(f"the model's chat form refuses these messages: {error}") from error


def _call(parsed: Any, call_id: str) -> ToolCall:
    if parsed.status != "ok" or not isinstance(parsed.name, str):
        return ToolCall(id=call_id, name="", arguments=parsed.raw)
    return ToolCall(id=call_id, name=parsed.name, arguments=json.dumps(parsed.arguments, ensure_ascii=False))
