"""What a form of logs is: how it is told from others, and how a record of it becomes ours."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from json import dumps
from typing import Any

from critics.formats.records import Line, Record
from envs import Message
from tools import ToolCall

OPEN = {"type": "object", "additionalProperties": True}
"""The parameters of a tool that a log names without a schema: anything goes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A part of a record that can't be read as a trajectory of its own, and why."""

    reason: str


Reader = Callable[[Record], Iterable[Mapping[str, Any] | Refused]]
"""Makes a record into those of our own file form, without `tools` where the log doesn't say which were offered.

Raises ValueError, TypeError, KeyError or AttributeError for a record that is not of the form.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A form of logs. `lists` are the members of a document whose items are its records. `quickly` reads a line of
    JSONL that has nothing odd about it in one go, and gives None for any other."""

    name: str
    title: str
    looks_like: Callable[[Record], bool]
    read: Reader
    lists: frozenset[str] = frozenset()
    quickly: Callable[[Line], Mapping[str, Any] | None] = lambda line: None


def schema(name: str, description: Any, parameters: Any) -> dict[str, Any]:
    """A tool in OpenAI's form. One without parameters takes none; one whose parameters are not known has `OPEN`."""
    function = {"name": name, "description": str(description or ""), "parameters": parameters or {"type": "object"}}
    return {"type": "function", "function": function}


def tool_call(call_id: Any, name: Any, arguments: Any) -> dict[str, Any]:
    """A call in OpenAI's form. Arguments that are a text are the model's own words, and stay as they are."""
    text = arguments if isinstance(arguments, str) else dumps(arguments, ensure_ascii=False)
    return ToolCall(id=str(call_id or ""), name=str(name or ""), arguments=text).to_openai()


def assistant(content: str | None, calls: Iterable[dict[str, Any]], reasoning: str = "") -> Message:
    message: Message = {"role": "assistant", "content": content}
    if reasoning:
        message["reasoning_content"] = reasoning
    if made := list(calls):
        message["tool_calls"] = made
    return message


def result(call_id: Any, content: str, *, is_error: bool = False) -> Message:
    message: Message = {"role": "tool", "tool_call_id": str(call_id or ""), "content": content}
    if is_error:
        message["is_error"] = True
    return message
