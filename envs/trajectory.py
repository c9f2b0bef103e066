"""The record of one rollout: messages, turns with their token ids and log-probs, results, reward, stop reason.

A trajectory is data. `read_trajectories` and `Archive` in `envs.archive` bring it from and to files.
"""

import json
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from msgspec import Struct, to_builtins

from tools import ToolCall
from tools.logged import remembered_tools

SCHEMA_VERSION = 1

Message = dict[str, Any]
"""A chat message in OpenAI's form."""


class StopReason(StrEnum):
    """Why a rollout ended."""

    ANSWERED = "answered"
    TURN_LIMIT = "turn_limit"
    ERROR_LIMIT = "error_limit"
    TOKEN_LIMIT = "token_limit"
    INFRASTRUCTURE_FAULT = "infrastructure_fault"


BUDGET_STOPS = frozenset({StopReason.TURN_LIMIT, StopReason.ERROR_LIMIT, StopReason.TOKEN_LIMIT})


class Turn(Struct, frozen=True, kw_only=True):
    """The tokens of one assistant message, as they were sampled; they are never rendered again.

    `prompt_ids` is the part of the context that is new since the turn before: the first turn's whole prompt, later the
    tool results and the generation prompt. `token_ids` and `logprobs` (nats, under the sampling distribution at
    temperature 1) are of one length. `raw` is the decoded text with its special tokens.
    """

    message_index: int
    prompt_ids: Sequence[int]
    token_ids: Sequence[int]
    logprobs: Sequence[float]
    raw: str


class Trajectory(Struct, frozen=True, kw_only=True):  # a frozen dataclass takes ten times as long to make
    """One finished rollout; its fields are those of the file format.

    `tools` are all that were offered; those in `tools_from` only from the message of that index on. A log from
    elsewhere may not say which there were: then `tools_known` is false. `fault` says what the infrastructure failed at,
    where that ended the rollout.
    """

    id: str
    env: str
    task: Mapping[str, Any]
    policy: str
    tools: Sequence[Mapping[str, Any]]
    messages: Sequence[Message]
    turns: Sequence[Turn] = ()
    reward: float = 0.0
    success: bool = False
    stop_reason: str = StopReason.ANSWERED
    token_exact: bool = False
    tools_from: Mapping[str, int] = {}
    fault: str = ""
    tools_known: bool = True
    schema_version: int = SCHEMA_VERSION

    def prompt_ids(self, turn: int) -> list[int]:
        """All token ids before the `turn`-th turn's own: what the policy saw when it wrote that turn."""
        ids: list[int] = []
        for earlier in self.turns[:turn]:
            ids += [*earlier.prompt_ids, *earlier.token_ids]
        return [*ids, *self.turns[turn].prompt_ids]

    def turn_at(self, message_index: int) -> int | None:
        """The number of the turn that is message `message_index`; None if its tokens are not known."""
        return next((number for number, turn in enumerate(self.turns) if turn.message_index == message_index), None)

    def to_json(self) -> dict[str, Any]:
        record: dict[str, Any] = to_builtins(self)
        if not self.fault:
            del record["fault"]
        if not record.pop("tools_known"):
            del record["tools"]
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Trajectory":
        """Read a record of the file format; a trajectory from elsewhere needs `id` and `messages` only, and has `tools`
        where they are known.

        Raises ValueError for a record that lacks them, or of another schema version.
        """
        version = record.get("schema_version", SCHEMA_VERSION)
        if version != SCHEMA_VERSION:
            raise ValueError(f"schema_version is {version!r}, this hintsight reads {SCHEMA_VERSION}")
        messages = record.get("messages")
        if "id" not in record or not isinstance(messages, list) or not _DICTS.issuperset(map(type, messages)):
            raise ValueError(f"no trajectory: expected 'id' and a list of 'messages', came {', '.join(record) or '{}'}")
        task, tools, turns = record.get("task") or {}, record.get("tools") or (), record.get("turns") or ()
        if type(task) is not dict and not isinstance(task, Mapping):
            raise ValueError(f"expected task to be an object, came {type(task).__name__}")
        if remembered_tools(tools) is None:  # else they were looked at before
            _refuse_others("tools", tools)
        if turns:
            _refuse_others("turns", turns)
        return cls(
            id=str(record["id"]),
            env=str(record.get("env", "")),
            task=task,
            policy=str(record.get("policy", "")),
            tools=tools,
            messages=messages,
            turns=tuple(Turn(**turn) for turn in turns) if turns else (),
            reward=float(record.get("reward") or 0.0),
            success=bool(record.get("success")),
            stop_reason=str(record.get("stop_reason", StopReason.ANSWERED)),
            token_exact=bool(record.get("token_exact")),
            tools_from=_tools_from(record["tools_from"]) if record.get("tools_from") else {},
            fault=str(record.get("fault") or ""),
            tools_known=record.get("tools") is not None,
        )


_DICTS = frozenset({dict})


def _refuse_others(name: str, parts: Any) -> None:
    """Raise ValueError for a list that holds something else than objects."""
    if not (_DICTS.issuperset(map(type, parts)) or all(isinstance(part, Mapping) for part in parts)):
        raise ValueError(f"expected {name} to be a list of objects, came {parts!r:.80}")


def _tools_from(value: Any) -> dict[str, int]:
    if not (isinstance(value, Mapping) and all(isinstance(index, int) for index in value.values())):
        raise ValueError(f"expected tools_from to map tool names to message indexes, came {value!r:.80}")
    return dict(value)


def calls_of(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The tool calls of a message, as OpenAI's form has them; none for a message without."""
    return message.get("tool_calls") or [] if message.get("role") == "assistant" else []


def is_assistant_message(message: Any) -> bool:
    """Whether something is an assistant's message in OpenAI's form: a text, tool calls with names, or both."""
    if not isinstance(message, dict) or message.get("role") != "assistant":
        return False
    text, calls = message.get("content"), message.get("tool_calls")
    if not (text is None or isinstance(text, str)):
        return False
    return calls is None or (isinstance(calls, list) and all(map(_is_call, calls)))


def _is_call(call: Any) -> bool:
    function = call.get("function") if isinstance(call, dict) else None
    return isinstance(function, dict) and isinstance(function.get("name"), str)


_CALL_BLOCK = re.compile(r"<tool_call>(.*?)(?:</tool_call>|\Z)", re.DOTALL)


def assistant_message(text: str, call_prefix: str) -> Message:
    """An assistant's plain text as a message: `<tool_call>{"name": ..., "arguments": {...}}</tool_call>` is a call, as
    in the chat forms of Hermes and Qwen, and the rest is content.

    A block that does not parse has an empty name and its text as `arguments`: the world answers it as malformed. The
    calls' ids are `call_prefix` and their number.
    """
    blocks = _CALL_BLOCK.findall(text)
    message: Message = {"role": "assistant", "content": _CALL_BLOCK.sub("", text).strip() if blocks else text}
    if blocks:
        calls = [_read_block(block.strip(), f"{call_prefix}_{place}") for place, block in enumerate(blocks)]
        message["tool_calls"] = [call.to_openai() for call in calls]
    return message


def _read_block(block: str, call_id: str) -> ToolCall:
    try:
        call = json.loads(block)
    except (ValueError, RecursionError):
        call = None
    if not (isinstance(call, dict) and isinstance(call.get("name"), str)):
        return ToolCall(id=call_id, name="", arguments=block)
    return ToolCall.from_openai({"id": call_id, "function": call})
