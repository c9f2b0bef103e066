"""What a finding says of a call in one sentence: what was expected and what came."""

import json
from typing import Any

from critics.finding import NAME_CODES
from critics.leaks import leak_in
from tools import ErrorCode, Violation


def explained(name: str, violation: Violation) -> str:
    """What was expected of a call of this name and what came, in one sentence."""
    allowed = ", ".join(map(str, violation.allowed))
    match violation.code:
        case code if code in NAME_CODES:
            leaked = _leaked(name, violation)
            return f"expected one of the available tools ({allowed}), came {_shown(violation.came)}{leaked}"
        case ErrorCode.MISSING_ARGUMENT:
            return f"{name}: {violation.path} is required ({violation.expected}) and absent"
        case ErrorCode.UNEXPECTED_ARGUMENT:
            return f"{name}: {violation.path} is no argument; expected only: {allowed or 'none'}"
        case ErrorCode.DOMAIN_REJECTION:
            return f"{name} was refused: {violation.expected}"
        case ErrorCode.INVALID_VALUE if violation.allowed:
            return f"{name}: {violation.path} must be one of {allowed}, came {_shown(violation.came)}"
        case _:
            came = _shown(violation.came)
            return f"{name or 'a call'}: {violation.path}: expected {violation.expected}, came {came}"


def _leaked(name: str, violation: Violation) -> str:
    leak = leak_in(name, violation.allowed)
    if leak is None:
        return ""
    meant = f", {leak.meant} was meant" if leak.meant else ""
    return f": the template's token {leak.token} leaked into the name{meant}"


def _shown(value: Any, limit: int = 120) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (ValueError, RecursionError):
        text = str(type(value).__name__)
    return text if len(text) <= limit else f"{text[:limit]}..."
