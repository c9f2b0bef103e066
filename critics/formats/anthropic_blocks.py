"""Anthropic's messages: calls are `tool_use` blocks of an assistant's content, results `tool_result` blocks of a user.

    {"id": ..., "system": ..., "tools": [{"name", "input_schema"}], "messages": [{"role", "content": [blocks]}]}

One message becomes several where it holds several results, so that a finding's message index counts in OpenAI's form.
Left out: calls that Anthropic's servers carry out themselves (`server_tool_use`).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from critics.formats.form import OPEN, Form, assistant, result, schema, tool_call
from critics.formats.records import Record
from envs import Message

BLOCKS = frozenset({"tool_use", "tool_result"})
"""Parts of a content that only this form has."""


def looks_like(record: Record) -> bool:
    value = record.value
    if not isinstance(value, Mapping) or not isinstance(value.get("messages"), list):
        return False
    tools = value.get("tools")
    if isinstance(tools, list) and any(isinstance(tool, Mapping) and "input_schema" in tool for tool in tools):
        return True
    parts = (part for message in value["messages"] for part in _blocks(message))
    return any(part.get("type") in BLOCKS for part in parts)


def read(record: Record) -> Iterator[Mapping[str, Any]]:
    value = record.value
    if not isinstance(value, Mapping) or not isinstance(value.get("messages"), list):
        raise ValueError("expected an object with 'messages' in Anthropic's form")
    messages: list[Message] = []
    if value.get("system"):
        messages.append({"role": "system", "content": _text(value["system"])})
    for message in value["messages"]:
        if not isinstance(message, Mapping):
            raise ValueError(f"expected a message, an object with 'role' and 'content', came {message!r:.80}")
        messages += [_turn(message)] if message.get("role") == "assistant" else _of_user(message)
    ours = {"id": str(value.get("id", record.line)), "policy": str(value.get("model") or ""), "messages": messages}
    if value.get("tools") is not None:
        ours["tools"] = [_tool(tool) for tool in value["tools"]]
    yield ours


def _tool(tool: Any) -> dict[str, Any]:
    if not isinstance(tool, Mapping) or not isinstance(tool.get("name"), str):
        raise ValueError(f"expected a tool with 'name' and 'input_schema', came {tool!r:.80}")
    if "function" in tool:
        return dict(tool)
    # Anthropic's own tools (bash, text_editor, ...) are named by their type and come without a schema.
    return schema(tool["name"], tool.get("description"), tool.get("input_schema", OPEN))


def _turn(message: Mapping[str, Any]) -> Message:
    parts = list(_blocks(message))
    content = _text(message.get("content"))
    calls = [
        tool_call(part.get("id"), part.get("name"), part.get("input", "")) for part in parts if _is(part, "tool_use")
    ]
    thought = "".join(str(part.get("thinking") or "") for part in parts if _is(part, "thinking"))
    return assistant(content or None, calls, thought)


def _of_user(message: Mapping[str, Any]) -> list[Message]:
    """The results in a user's message, and what is said beside them."""
    results = [
        result(part.get("tool_use_id"), _text(part.get("content")), is_error=part.get("is_error") is True)
        for part in _blocks(message)
        if _is(part, "tool_result")
    ]
    said = _text(message.get("content"))
    return [*results, {"role": str(message.get("role")), "content": said}] if said or not results else results


def _blocks(message: Any) -> Iterator[Mapping[str, Any]]:
    content = message.get("content") if isinstance(message, Mapping) else None
    if isinstance(content, Sequence) and not isinstance(content, str):
        yield from (part for part in content if isinstance(part, Mapping))


def _is(part: Mapping[str, Any], kind: str) -> bool:
    return part.get("type") == kind


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(str(part.get("text") or "") for part in _blocks({"content": content}) if _is(part, "text"))


ANTHROPIC = Form(name="anthropic", title="Anthropic's tool_use blocks", looks_like=looks_like, read=read)
