"""A tool call, what can be wrong with it, and the answer that it gets.

`ErrorCode` is the one set of error codes that every package uses: results, findings, hints and leaderboards.
Left out: how a call is checked (`tools.check`) and carried out (`tools.toolset`).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from msgspec import Struct
from pydantic_core import to_jsonable_python


class ErrorCode(StrEnum):
    """What can go wrong in a tool-calling trajectory. The string is what files and tables show."""

    MALFORMED_CALL = "malformed_call"
    PROTOCOL_VIOLATION = "protocol_violation"
    NONEXISTENT_TOOL = "nonexistent_tool"
    UNAVAILABLE_TOOL = "unavailable_tool"
    MISSING_ARGUMENT = "missing_argument"
    UNEXPECTED_ARGUMENT = "unexpected_argument"
    WRONG_TYPE = "wrong_type"
    INVALID_VALUE = "invalid_value"
    UNGROUNDED_VALUE = "ungrounded_value"
    REPEATED_CALL = "repeated_call"
    UNCORRECTED_RETRY = "uncorrected_retry"
    DOMAIN_REJECTION = "domain_rejection"
    BUDGET_EXHAUSTED = "budget_exhausted"
    WRONG_FINAL_STATE = "wrong_final_state"
    WRONG_TOOL = "wrong_tool"
    WRONG_VALUE = "wrong_value"
    MISSING_CALL = "missing_call"
    UNNEEDED_CALL = "unneeded_call"
    PREMATURE_STOP = "premature_stop"
    MISREAD_RESULT = "misread_result"
    POLICY_VIOLATION = "policy_violation"
    INFRASTRUCTURE_FAULT = "infrastructure_fault"


INVALID_CALL_CODES = frozenset(
    {
        ErrorCode.MALFORMED_CALL,
        ErrorCode.NONEXISTENT_TOOL,
        ErrorCode.UNAVAILABLE_TOOL,
        ErrorCode.MISSING_ARGUMENT,
        ErrorCode.UNEXPECTED_ARGUMENT,
        ErrorCode.WRONG_TYPE,
        ErrorCode.INVALID_VALUE,
    }
)
"""A call with at least one of these is an *invalid call*; `invalid_per_100` is their share of all calls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """One call as the model wrote it. `arguments` is the raw JSON text, which need not parse.

    A call whose very block did not parse has an empty `name` and the block's text as `arguments`.
    """

    id: str
    name: str
    arguments: str

    @classmethod
    def from_openai(cls, call: Mapping[str, Any]) -> "ToolCall":
        """Read an entry of OpenAI's `tool_calls`; arguments may come as a string or as an object."""
        call_id, name, arguments = parts_of(call)
        return cls(id=call_id, name=name, arguments=arguments)

    def to_openai(self) -> dict[str, Any]:
        return {"id": self.id, "type": "function", "function": {"name": self.name, "arguments": self.arguments}}


def parts_of(call: Mapping[str, Any]) -> tuple[str, str, str]:
    """Id, name and arguments of an entry of OpenAI's `tool_calls`, as a `ToolCall` has them.

    Raises ValueError for what is no such entry.
    """
    function = call.get("function")
    if type(function) is not dict and not isinstance(function, Mapping):
        raise ValueError(f"expected a tool call with a 'function' object, got {call!r}: use OpenAI's chat form")
    call_id, name, arguments = call.get("id"), function.get("name"), function.get("arguments")
    if type(call_id) is type(name) is type(arguments) is str:
        return call_id, name, arguments
    return (
        call_id if type(call_id) is str else str(call_id or ""),
        name if type(name) is str else str(name or ""),
        arguments if isinstance(arguments, str) else "" if arguments is None else json.dumps(arguments),
    )


class Violation(Struct, frozen=True, kw_only=True):  # a frozen dataclass takes ten times as long to make
    """One thing that is wrong with a call.

    `path` is the JSON path in the arguments (`$.order_id`), `$` for the arguments as a whole, `name` for the tool's
    name. `allowed` lists the choices where there is a finite list of them: tool names, argument names, enum values.
    `suggestion` is the one of them that was probably meant.
    """

    code: ErrorCode
    path: str
    expected: str
    came: Any
    allowed: tuple[Any, ...] = ()
    suggestion: str | None = None

    def to_json(self, *, suggest: bool = True) -> dict[str, Any]:
        """A JSON record, short whatever came; without the suggestion where it isn't to be said."""
        record: dict[str, Any] = {"code": str(self.code), "path": shown(self.path)}
        record["expected"] = shown(self.expected, 2_000)
        record["came"] = shown(self.came)
        if self.allowed:
            record["allowed"] = list(self.allowed)
        if suggest and self.suggestion is not None:
            record["suggestion"] = self.suggestion
        return record


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """What a call is answered with. `content` is the text of the `role: "tool"` message."""

    content: str
    violations: tuple[Violation, ...] = ()

    @property
    def is_error(self) -> bool:
        return bool(self.violations)

    @classmethod
    def success(cls, value: Any) -> "ToolResult":
        """What a tool gave, as JSON; pydantic models, dataclasses, enums and dates are written as pydantic does."""
        return cls(content=_to_text(value))

    @classmethod
    def error(cls, *violations: Violation, suggest: bool = False) -> "ToolResult":
        """Say what is wrong; with `suggest` also what was probably meant."""
        content = _to_text({"errors": [violation.to_json(suggest=suggest) for violation in violations]})
        return cls(content=content, violations=violations)

    def to_message(self, call_id: str) -> dict[str, Any]:
        """The OpenAI message; `is_error` (as in MCP) tells an error from a result that merely mentions one."""
        message: dict[str, Any] = {"role": "tool", "tool_call_id": call_id, "content": self.content}
        if self.is_error:
            message["is_error"] = True
        return message


_ENCODER = json.JSONEncoder(ensure_ascii=False, default=to_jsonable_python)
# JSONEncoder makes the C encoder anew for each value, which takes longer than to write a small one.
_make: Any = getattr(json.encoder, "c_make_encoder", None)
_C_ENCODER: Any = _make and _make(
    None, to_jsonable_python, json.encoder.encode_basestring, None, ": ", ", ", False, False, True
)


def _to_text(value: Any) -> str:
    """JSON that can be written as UTF-8: a lone surrogate, which JSON's escapes can spell, becomes a question mark."""
    text = "".join(_C_ENCODER(value, 0)) if _C_ENCODER else _ENCODER.encode(value)
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def shown(value: Any, limit: int = 200) -> Any:
    """A value as it is said back: cut where its text is long."""
    try:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    except RecursionError:
        return f"a {type(value).__name__} that nests too deeply"
    return value if len(text) <= limit else f"{text[:limit]}... ({len(text)} characters)"
