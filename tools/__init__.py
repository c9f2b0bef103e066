"""What can be called, with which typed arguments, and how a bad call is answered."""

from tools.call import INVALID_CALL_CODES, ErrorCode, ToolCall, ToolResult, Violation
from tools.check import check_arguments, check_call
from tools.schema import READ, WRITE, Access, Tool, tool, tools_of
from tools.toolset import DomainError, Toolset

__all__ = [
    "INVALID_CALL_CODES",
    "READ",
    "WRITE",
    "Access",
    "DomainError",
    "ErrorCode",
    "Tool",
    "ToolCall",
    "ToolResult",
    "Toolset",
    "Violation",
    "check_arguments",
    "check_call",
    "tool",
    "tools_of",
]
