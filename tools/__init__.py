"""What can be called, with which typed arguments, and how a bad call is answered."""

from tools.call import INVALID_CALL_CODES, ErrorCode, ToolCall, ToolResult, Violation
from tools.check import check_arguments, check_call
from tools.function import tool, tools_of
from tools.schema import READ, WRITE, Access, Tool
from tools.toolset import DomainError, InfrastructureFault, Toolset

__all__ = [
    "INVALID_CALL_CODES",
    "READ",
    "WRITE",
    "Access",
    "DomainError",
    "ErrorCode",
    "InfrastructureFault",
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
