"""A line that a person types while playing: a tool call, an answer, or a command; and how it could go on.

    find_order order_id=417             a call; the value becomes what the tool's schema asks for
    find_order order_id="417"           in quotes it stays text
    find_order order_id:=417            exactly this JSON
    {"name": "find_order", "arguments": {"order_id": 417}}
    answer The order is cancelled.
    :undo

A call that can be read is sent as it is, right or wrong: what is wrong with it is the world's to say.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from envs.trajectory import Message
from tools import ToolCall, Toolset
from tools.command import InputError, did_you_mean
from tools.line import ARGUMENT, DECODER, properties_of, read_arguments

COMMANDS: Mapping[str, str] = {
    ":help": "how to act",
    ":task": "show the task again",
    ":tools": "show the tools again",
    ":schema NAME": "show a tool's JSON Schema",
    ":state": "show the state of the world",
    ":hint": "say what the expert would do next, without doing it",
    ":expert": "let the expert make the next move",
    ":model NAME": "let a model make the next move: tiny, or a model's folder",
    ":undo": "take the last move back",
    ":save FILE": "append the trajectory to a file, once the episode has ended",
    ":quit": "leave",
}
"""What can be typed besides calls and answers, with what it does."""

_NAMES = [command.split()[0] for command in COMMANDS]


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command (`:schema`) and the text after it."""

    name: str
    text: str = ""


def read_line(line: str, toolset: Toolset, call_id: str) -> Command | Message:
    """A typed line as a command or as the assistant message that it stands for.

    Raises InputError, with what to write instead, for a line that is neither.
    """
    line = line.strip()
    word, _, rest = line.partition(" ")
    if word.startswith(":"):
        if word not in _NAMES:
            raise InputError(f"no command {word!r}: {did_you_mean(word, _NAMES)}")
        return Command(name=word, text=rest.strip())
    if word == "answer":
        if not rest.strip():
            raise InputError("an answer needs a text: write  answer TEXT")
        return {"role": "assistant", "content": rest.strip()}
    if line.startswith("{"):
        return _saying(_json_call(line, call_id))
    if word in toolset.offered or ARGUMENT.match(rest.strip()):
        tool = toolset.offered.get(word)
        properties = properties_of(tool.parameters) if tool else {}
        arguments = read_arguments(rest, properties)
        return _saying(ToolCall(id=call_id, name=word, arguments=json.dumps(arguments, ensure_ascii=False)))
    if f":{word.lower()}" in _NAMES:
        raise InputError(f"a command starts with a colon: write  :{word.lower()}")
    if rest:
        raise InputError(
            "that is neither a call nor an answer: write  answer TEXT  to end the episode with it, or :help"
        )
    near = did_you_mean(word, list(toolset.offered))
    raise InputError(
        f'no tool {word!r}: {near} - to call it all the same, write {{"name": "{word}", "arguments": {{}}}}'
    )


def completions(before: str, toolset: Toolset) -> list[str]:
    """What the last word of a line could become, each with the space or `=` that follows it."""
    *words, last = before.split(" ")
    words = [word for word in words if word]
    if not words:
        candidates = [f"{word} " for word in [*toolset.offered, "answer", *_NAMES]]
    elif words == [":schema"]:
        candidates = [f"{name} " for name in toolset.offered]
    elif words[0] in toolset.offered:
        properties = properties_of(toolset.offered[words[0]].parameters)
        name, equals, _ = last.partition("=")
        if equals:
            candidates = [f"{name}={_typed(value)} " for value in choices(properties.get(name, {}))]
        else:
            used = {word.partition("=")[0] for word in words[1:]}
            candidates = [f"{name}=" for name in properties if name not in used]
    else:
        candidates = []
    return [candidate for candidate in candidates if candidate.startswith(last)]


def choices(schema: Mapping[str, Any]) -> list[Any]:
    """The values that a schema allows, where there are few of them."""
    if "enum" in schema:
        return list(schema["enum"])
    return [True, False] if schema.get("type") == "boolean" else []


def _typed(value: Any) -> str:
    """A value as a person types it."""
    return value if isinstance(value, str) and re.fullmatch(r"\w+", value) else json.dumps(value, ensure_ascii=False)


def _saying(call: ToolCall) -> Message:
    return {"role": "assistant", "content": "", "tool_calls": [call.to_openai()]}


def _json_call(line: str, call_id: str) -> ToolCall:
    """A call in JSON. Arguments that are a string are sent as they are, so that one can be malformed on purpose."""
    try:
        record = DECODER.decode(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"that is no JSON ({error}), so it was not sent") from error
    name, arguments = record.get("name"), record.get("arguments", {})
    if not isinstance(name, str) or set(record) - {"name", "arguments"}:
        raise InputError('a call in JSON is {"name": "...", "arguments": {...}}')
    return ToolCall.from_openai({"id": call_id, "function": {"name": name, "arguments": arguments}})
