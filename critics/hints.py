"""The short text that is inserted above an erroneous turn.

A hint says the *facts* that the model had and overlooked (which tools there are, which values are allowed), never what
the right call was. The tiny model has learnt to obey the texts of the habits in `envs.store.tools`: a change of their
wording needs `make tiny`. Left out: hints that a model writes (`critics.judge.hinting`), and what a hint may not say
(`critics.gold`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random
from typing import Any, Literal

from tools import ErrorCode, ToolCall, Violation

HINT_ROLE = "system"
"""The role of the hint's message. A user message would start a new query, which chat templates treat apart."""

HintStyle = Literal["reminder", "system-note", "tool-result"]
"""How a hint stands above its turn; `hinted` says what each is."""

REPEATS = frozenset({ErrorCode.REPEATED_CALL, ErrorCode.UNCORRECTED_RETRY})
LONGEST_CALL = 160
"""Characters of an earlier call that a hint says again."""

PLACEBOS = (
    "Reminder: the store is open until six.",
    "Reminder: the lights go off at night.",
    "Reminder: the next holiday is in May.",
    "Reminder: the desk is on the first floor.",
)
"""Well-formed and irrelevant: what a control run inserts instead."""


def hint_for(violation: Violation, tool: str) -> str:
    """The hint for one violation of a call of `tool`."""
    say = _HINTS.get(violation.code)
    return say(violation, tool) if say else NEUTRAL_HINTS.get(violation.code, "")


def _of_names(violation: Violation, _: str) -> str:
    if not violation.allowed:
        return "Reminder: no tools are available."
    return f"Reminder: the available tools are: {listed(violation.allowed)}."


def _of_value(violation: Violation, _: str) -> str:
    if violation.allowed:
        return f"Reminder: {_argument(violation)} must be one of: {listed(violation.allowed)}."
    return f"Reminder: {_argument(violation)} must satisfy: {violation.expected}."


def _of_extra(violation: Violation, tool: str) -> str:
    if not violation.allowed:
        return f"Reminder: {tool} takes no arguments."
    return f"Reminder: {tool} takes only: {listed(violation.allowed)}."


def _argument(violation: Violation) -> str:
    return violation.path.removeprefix("$.")


_HINTS: Mapping[ErrorCode, Callable[[Violation, str], str]] = {
    ErrorCode.NONEXISTENT_TOOL: _of_names,
    ErrorCode.UNAVAILABLE_TOOL: _of_names,
    ErrorCode.INVALID_VALUE: _of_value,
    ErrorCode.UNEXPECTED_ARGUMENT: _of_extra,
    ErrorCode.WRONG_TYPE: lambda part, _: f"Reminder: {_argument(part)} must be of type: {part.expected}.",
    ErrorCode.MISSING_ARGUMENT: lambda part, tool: f"Reminder: {tool} requires: {listed(part.allowed)}.",
}

NEUTRAL_HINTS = {
    ErrorCode.MALFORMED_CALL: "Reminder: a call is one JSON object with a name and arguments, closed before the turn "
    "ends.",
    ErrorCode.DOMAIN_REJECTION: "Reminder: use what the request and the results say; the world refuses what does not "
    "fit them.",
    ErrorCode.PROTOCOL_VIOLATION: "Reminder: every turn is either a call or an answer.",
    ErrorCode.UNGROUNDED_VALUE: "Reminder: ids come from the request and from the results, as they are written there.",
    ErrorCode.REPEATED_CALL: "Reminder: this call was made before and nothing has changed since; its result stands.",
    ErrorCode.UNCORRECTED_RETRY: "Reminder: this very call was answered with an error; read it and change the call.",
    ErrorCode.BUDGET_EXHAUSTED: "Reminder: only a few turns are left.",
    ErrorCode.WRONG_FINAL_STATE: "Reminder: answer only when all that was asked for is done.",
}
"""What can be said without the facts of a call. Other codes have no hint: a fault is no mistake of the model's."""


JUDGED_HINTS: Mapping[ErrorCode, str] = {
    ErrorCode.WRONG_TOOL: "Reminder: choose the tool by what it is for{tools}.",
    ErrorCode.WRONG_VALUE: "Reminder: {argument} is what the request, the rules and the results say; read them again.",
    ErrorCode.MISSING_CALL: "Reminder: look up or do first what this turn relies on{tools}.",
    ErrorCode.UNNEEDED_CALL: "Reminder: make only the calls that the request needs.",
    ErrorCode.PREMATURE_STOP: "Reminder: not all that was asked for is done yet; answer only when it is.",
    ErrorCode.MISREAD_RESULT: "Reminder: say and use only what the results say, as it is written there.",
    ErrorCode.POLICY_VIOLATION: "Reminder: the rules in the first message hold for every turn; read them before you "
    "act.",
}
"""What can be said of an error that a reader of meaning found."""


def judged_hint(code: ErrorCode, *, argument: str = "", allowed: Sequence[Any] = ()) -> str:
    """The hint for a judge's code. `allowed` are the tools, or the words of an enum that the `argument` has."""
    if code is ErrorCode.WRONG_VALUE and allowed:
        return f"Reminder: {argument} is one of: {listed(allowed)}; the request and the results say which."
    tools = f"; the available tools are: {listed(allowed)}" if allowed else ""
    return JUDGED_HINTS[code].format(argument=argument or "every value", tools=tools)


def repeat_hint(code: ErrorCode, call: ToolCall) -> str:
    """The hint for a call that was made before: the fact is the earlier call, which was the same to the letter."""
    said = f"{call.name}({' '.join(call.arguments.split())})"
    if not call.name or len(said) > LONGEST_CALL:
        return NEUTRAL_HINTS[code]
    if code is ErrorCode.REPEATED_CALL:
        return f"Reminder: {said} was called before and nothing has changed since; its result stands."
    return f"Reminder: {said} was answered with an error; read it and change the call."


def joined(hints: Iterable[str]) -> str:
    """Several hints as one text, each said once."""
    return " ".join(dict.fromkeys(hints))


def placebo(rng: Random) -> str:
    return rng.choice(PLACEBOS)


def hint_message(hint: str) -> dict[str, str]:
    """The chat message that carries a hint."""
    return {"role": HINT_ROLE, "content": hint}


def hinted(heard: Sequence[Mapping[str, Any]], hint: str, style: HintStyle = "reminder") -> list[dict[str, Any]]:
    """What is heard before a turn, with the hint right above that turn.

    A `reminder` is a message of its own, by the system. A `system-note` is one too, but the user's and in tags, for
    chat forms that take no system message there. With `tool-result` the hint ends the last result, and no message is
    added; where a turn follows no result it is a reminder.
    """
    messages = [dict(message) for message in heard]
    if style == "system-note":
        return [*messages, {"role": "user", "content": f"<system-note>{hint}</system-note>"}]
    last = messages[-1] if messages else {}
    if style == "tool-result" and last.get("role") == "tool" and isinstance(last.get("content"), str):
        return [*messages[:-1], {**last, "content": f"{last['content']}\n\n{hint}"}]
    return [*messages, hint_message(hint)]


def listed(values: Iterable[object]) -> str:
    return ", ".join(map(str, values))
