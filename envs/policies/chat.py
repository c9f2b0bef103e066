"""OpenAI's chat completions, to and from our messages: what goes out to a server, and what its answer means.

Answers are read as plain JSON, since servers that call themselves compatible differ in what they leave out and add.
Left out: how the request travels (`envs.policies.server`).
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from envs.policies.base import Context, Reply
from envs.trajectory import Message, Turn, calls_of
from tools import ToolCall

KEYS = ("role", "content", "name", "tool_calls", "tool_call_id")
"""What OpenAI knows of a message; our own keys (`is_error`, `reasoning_content`) stay at home."""

KNOWN_FINISHES = frozenset({"stop", "tool_calls", "length", "function_call", "content_filter"})
FAILED_FINISHES = frozenset({"abort", "error"})
"""The server gave up in the middle of an answer, and says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a server is asked: a conversation, the tools in it, and `more` of what the body has, by OpenAI's names."""

    messages: Sequence[Message]
    tools: Sequence[Mapping[str, Any]] = ()
    seed: int = 0
    more: Mapping[str, Any] = field(default_factory=dict)


class Unreadable(Exception):
    """An answer that is none: half a JSON, or one without a message in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A server's answer, as far as it can be read."""

    message: Mapping[str, Any]
    choice: Mapping[str, Any]
    whole: Mapping[str, Any]

    @classmethod
    def read(cls, text: str) -> "Answer":
        """Raises Unreadable for what is no chat completion."""
        try:
            whole = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise Unreadable(f"the answer is no JSON ({error})") from error
        choices = whole.get("choices") if isinstance(whole, dict) else None
        choice = choices[0] if isinstance(choices, list) and choices else None
        message = choice.get("message") if isinstance(choice, dict) else None
        if not isinstance(choice, dict) or not isinstance(message, dict):
            raise Unreadable(f"the answer has no message in it: {text:.200}")
        if choice.get("finish_reason") in FAILED_FINISHES:
            raise Unreadable(f"the server gave up in the middle of its answer ({choice['finish_reason']})")
        return cls(message=message, choice=choice, whole=whole)

    @property
    def finish_reason(self) -> str:
        return str(self.choice.get("finish_reason"))

    @property
    def model(self) -> str:
        return str(self.whole.get("model") or "")

    @property
    def tokens(self) -> tuple[int, int]:
        """How many tokens the server counted: of the prompt, and of the answer."""
        usage = self.whole.get("usage")
        counts = usage if isinstance(usage, dict) else {}
        prompt, completion = (counts.get(name) for name in ("prompt_tokens", "completion_tokens"))
        return int(prompt) if isinstance(prompt, int) else 0, int(completion) if isinstance(completion, int) else 0

    def reply(self, context: Context) -> Reply:
        """The answer as a turn of the conversation."""
        return Reply(
            message=_message(self.message, f"call_{len(context.messages)}"),
            turn=_turn(self.whole, self.choice, context),
            cut=self.finish_reason == "length",
            context_tokens=sum(self.tokens),
        )


def outgoing(messages: Iterable[Message], *, readable: bool) -> list[dict[str, Any]]:
    """Messages as a server takes them. Where arguments have to be `readable`, those that are no JSON object are wrapped
    in one: some servers parse a conversation's earlier calls, and refuse it for ever after one that was malformed."""
    out = []
    for message in messages:
        clean = {key: message[key] for key in KEYS if message.get(key) is not None}
        clean.setdefault("content", "")
        if readable and (calls := calls_of(message)):
            clean["tool_calls"] = [_readable(call) for call in calls]
        out.append(clean)
    return out


def has_unreadable_call(messages: Iterable[Message]) -> bool:
    """Whether a call of the conversation has arguments that are no JSON object, or no name."""
    return any(_readable(call) != call for message in messages for call in calls_of(message))


def _readable(call: Mapping[str, Any]) -> Mapping[str, Any]:
    parsed = ToolCall.from_openai(call)
    try:
        arguments = json.loads(parsed.arguments)
    except (ValueError, RecursionError):
        arguments = None
    if isinstance(arguments, dict) and parsed.name:
        return call
    text = parsed.arguments if isinstance(arguments, dict) else json.dumps({"malformed": parsed.arguments})
    return ToolCall(id=parsed.id, name=parsed.name or "malformed", arguments=text).to_openai()


def _message(answer: Mapping[str, Any], call_prefix: str) -> Message:
    message: Message = {"role": "assistant", "content": _text(answer.get("content"))}
    if reasoning := _text(answer.get("reasoning_content") or answer.get("reasoning")):
        message["reasoning_content"] = reasoning
    calls = answer.get("tool_calls")
    if isinstance(calls, list) and calls:
        message["tool_calls"] = [_call(call, f"{call_prefix}_{place}") for place, call in enumerate(calls)]
    return message


def _call(call: Any, spare_id: str) -> dict[str, Any]:
    """A call as it came; what is no call at all keeps its text as arguments, for the world to answer as malformed."""
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        return ToolCall(id=spare_id, name="", arguments=json.dumps(call)).to_openai()
    read = ToolCall.from_openai(call)
    return ToolCall(id=read.id or spare_id, name=read.name, arguments=read.arguments).to_openai()


def _text(content: Any) -> str:
    """The text of a content, which may come in parts."""
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _turn(whole: Mapping[str, Any], choice: Mapping[str, Any], context: Context) -> Turn | None:
    """The tokens of an answer, where the server gives them all and they go on from the turns before.

    A server renders a conversation anew each time; where that changes earlier tokens, there is no exact turn.
    """
    prompt_ids = whole.get("prompt_token_ids") or choice.get("prompt_token_ids")
    token_ids = choice.get("token_ids")
    logprobs = choice.get("logprobs")
    scored = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not (_ids(prompt_ids) and _ids(token_ids) and isinstance(scored, list) and len(scored) == len(token_ids)):
        return None
    before = [token for turn in context.turns for token in (*turn.prompt_ids, *turn.token_ids)]
    if prompt_ids[: len(before)] != before:
        return None
    try:
        return Turn(
            message_index=len(context.messages),
            prompt_ids=prompt_ids[len(before) :],
            token_ids=token_ids,
            logprobs=[float(part["logprob"]) for part in scored],
            raw=_raw(scored),
        )
    except (KeyError, TypeError, ValueError):
        return None


def _ids(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and bool(value) and all(isinstance(token, int) for token in value)


def _raw(scored: Sequence[Mapping[str, Any]]) -> str:
    """The text of the tokens. A token may be a part of a character, so it goes by bytes where they are given."""
    if all(isinstance(part.get("bytes"), list) for part in scored):
        return b"".join(bytes(part["bytes"]) for part in scored).decode("utf-8", "replace")
    return "".join(str(part["token"]) for part in scored)
