"""The short text that is inserted above an erroneous turn.

A hint says the *facts* that the model had and overlooked (which tools there are, which values are allowed), never what
the right call was. The tiny model has learnt to obey these very texts: a change of wording needs `make tiny`.
"""

from collections.abc import Iterable
from random import Random

from tools import ErrorCode, Violation

HINT_ROLE = "system"
"""The role of the hint's message. A user message would start a new query, which chat templates treat apart."""

PLACEBOS = (
    "Reminder: the store is open until six.",
    "Reminder: the lights go off at night.",
    "Reminder: the next holiday is in May.",
    "Reminder: the desk is on the first floor.",
)
"""Well-formed and irrelevant: what a control run inserts instead."""


def hint_for(violation: Violation, tool: str) -> str:
    """The hint for one violation of a call of `tool`."""
    argument = violation.path.removeprefix("$.")
    match violation.code:
        case ErrorCode.NONEXISTENT_TOOL | ErrorCode.UNAVAILABLE_TOOL if not violation.allowed:
            return "Reminder: no tools are available."
        case ErrorCode.NONEXISTENT_TOOL | ErrorCode.UNAVAILABLE_TOOL:
            return f"Reminder: the available tools are: {_listed(violation.allowed)}."
        case ErrorCode.INVALID_VALUE if violation.allowed:
            return f"Reminder: {argument} must be one of: {_listed(violation.allowed)}."
        case ErrorCode.INVALID_VALUE:
            return f"Reminder: {argument} must satisfy: {violation.expected}."
        case ErrorCode.WRONG_TYPE:
            return f"Reminder: {argument} must be of type: {violation.expected}."
        case ErrorCode.MISSING_ARGUMENT:
            return f"Reminder: {tool} requires: {_listed(violation.allowed)}."
        case ErrorCode.UNEXPECTED_ARGUMENT if not violation.allowed:
            return f"Reminder: {tool} takes no arguments."
        case ErrorCode.UNEXPECTED_ARGUMENT:
            return f"Reminder: {tool} takes only: {_listed(violation.allowed)}."
        case ErrorCode.MALFORMED_CALL:
            return "Reminder: a call is one JSON object with a name and arguments, closed before the turn ends."
        case ErrorCode.DOMAIN_REJECTION:
            return "Reminder: use what the request and the results say; the world refuses what does not fit them."
        case _:
            return NEUTRAL_HINTS.get(violation.code, "")


NEUTRAL_HINTS = {
    ErrorCode.PROTOCOL_VIOLATION: "Reminder: every turn is either a call or an answer.",
    ErrorCode.UNGROUNDED_VALUE: "Reminder: ids come from the request and from the results, as they are written there.",
    ErrorCode.REPEATED_CALL: "Reminder: this call was made before and nothing has changed since; its result stands.",
    ErrorCode.UNCORRECTED_RETRY: "Reminder: this very call was answered with an error; read it and change the call.",
    ErrorCode.BUDGET_EXHAUSTED: "Reminder: only a few turns are left.",
    ErrorCode.WRONG_FINAL_STATE: "Reminder: answer only when all that was asked for is done.",
}
"""What can be said without the facts of a call. Other codes have no hint: a fault is no mistake of the model's."""


def joined(hints: Iterable[str]) -> str:
    """Several hints as one text, each said once."""
    return " ".join(dict.fromkeys(hints))


def placebo(rng: Random) -> str:
    return rng.choice(PLACEBOS)


def hint_message(hint: str) -> dict[str, str]:
    """The chat message that carries a hint."""
    return {"role": HINT_ROLE, "content": hint}


def _listed(values: Iterable[object]) -> str:
    return ", ".join(str(value) for value in values)
