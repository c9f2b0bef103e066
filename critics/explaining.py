"""What a finding says of a call in one sentence: what was expected and what came."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from critics.finding import NAME_CODES
from critics.hints import listed
from critics.leaks import leak_in
from tools import ErrorCode, Violation


def explained(name: str, violation: Violation) -> str:
    """What was expected of a call of this name and what came, in one sentence."""
    return _EXPLAINED.get(violation.code, _unfit)(name, violation)


def _of_name(name: str, violation: Violation) -> str:
    came = f"{_shown(violation.came)}{_leaked(name, violation)}"
    return f"expected one of the available tools ({listed(violation.allowed)}), came {came}"


def _missing(name: str, violation: Violation) -> str:
    return f"{name}: {violation.path} is required ({violation.expected}) and absent"


def _unexpected(name: str, violation: Violation) -> str:
    return f"{name}: {violation.path} is no argument; expected only: {listed(violation.allowed) or 'none'}"


def _refused(name: str, violation: Violation) -> str:
    return f"{name} was refused: {violation.expected}"


def _unfit(name: str, violation: Violation) -> str:
    if violation.allowed and violation.code is ErrorCode.INVALID_VALUE:
        return f"{name}: {violation.path} must be one of {listed(violation.allowed)}, came {_shown(violation.came)}"
    return f"{name or 'a call'}: {violation.path}: expected {violation.expected}, came {_shown(violation.came)}"


_EXPLAINED: Mapping[ErrorCode, Callable[[str, Violation], str]] = {
    **dict.fromkeys(NAME_CODES, _of_name),
    ErrorCode.MISSING_ARGUMENT: _missing,
    ErrorCode.UNEXPECTED_ARGUMENT: _unexpected,
    ErrorCode.DOMAIN_REJECTION: _refused,
}


def _leaked(name: str, violation: Violation) -> str:
    leak = leak_in(name, violation.allowed)
    if leak is None:
        return ""
    meant = f", {leak.meant} was meant" if leak.meant else ""
    return f": the template's token {leak.token} leaked into the name{meant}"


def _shown(value: Any, limit: int = 120) -> str:
    try:
        text = _to_json(value)
    except (ValueError, RecursionError):
        text = str(type(value).__name__)
    return text if len(text) <= limit else f"{text[:limit]}..."


_to_json = json.JSONEncoder(ensure_ascii=False).encode
