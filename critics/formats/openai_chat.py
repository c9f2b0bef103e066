"""OpenAI's chat form, and our own trajectories, which are that form with more beside it.

    {"id": ..., "tools": [...], "messages": [...]}

The id may miss: the line's number stands for it. Arguments are a text or an object.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from critics.formats.form import Form
from critics.formats.records import Line, Record
from envs.archive import plain_record


def looks_like_chat(record: Record) -> bool:
    return isinstance(record.value, Mapping) and isinstance(record.value.get("messages"), list)


def looks_like_ours(record: Record) -> bool:
    return looks_like_chat(record) and "schema_version" in record.value


def read(record: Record) -> Iterator[Mapping[str, Any]]:
    value = record.value
    if not isinstance(value, Mapping):
        raise ValueError(f"expected an object with 'messages', came {type(value).__name__}")
    yield value if "id" in value else {"id": str(record.line), **value}


def quickly(line: Line) -> Mapping[str, Any] | None:
    value = plain_record(line.text)
    return value if value is None or "id" in value else {"id": str(line.line), **value}


OPENAI = Form(name="openai", title="OpenAI chat messages", looks_like=looks_like_chat, read=read, quickly=quickly)
HINTSIGHT = Form(
    name="hintsight", title="hintsight's trajectories", looks_like=looks_like_ours, read=read, quickly=quickly
)
