"""Trajectories with one error whose place is known: what a judge is tried on.

The expert of a world acts, and at one turn makes the mistake that a code names. Of `missing_call` there is one kind: a
lookup is taken out, and a later call has what only that lookup said. Left out: mistakes that no call or answer shows.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from msgspec import structs

from critics.finding import content_of
from critics.judge.answer import place_of
from critics.reading import Reading
from critics.spans import Span
from envs import Message, Trajectory, calls_of
from envs.policies.base import Context, Reply
from envs.policies.guess import guess
from envs.policies.mistakes import MISTAKES, mistaken
from envs.rollout import rollout
from tools import READ, ErrorCode, ToolCall, Toolset, Violation
from tools.misfits import json_path

READ_CODES = (
    ErrorCode.WRONG_TOOL,
    ErrorCode.WRONG_VALUE,
    ErrorCode.MISSING_CALL,
    ErrorCode.UNNEEDED_CALL,
    ErrorCode.PREMATURE_STOP,
    ErrorCode.MISREAD_RESULT,
    ErrorCode.POLICY_VIOLATION,
)
"""The judge's codes that can be planted."""

EARLY = "Done, all of that is taken care of."
MISREAD = "I am sorry, the last call was refused, so nothing has been done."
FORBIDDEN = "Never use {tool}: a colleague takes over where it would be needed."


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """The error that a trajectory was given, in the words of a finding."""

    code: ErrorCode
    message_index: int
    call_index: int | None = None
    path: str = ""

    def span(self, reading: Reading) -> Span:
        """What a finding at exactly this place marks."""
        attempt = next(
            (a for a in reading.attempts if (a.message_index, a.call_index) == (self.message_index, self.call_index)),
            None,
        )
        if attempt is None:
            return 0, len(reading.text(self.message_index))
        place = place_of(attempt, reading)
        if self.code is ErrorCode.WRONG_TOOL:
            return place.name
        if not self.path:
            return place.whole
        return place.of(Violation(code=self.code, path=self.path, expected="", came=None))


def planted(
    world: str, code: ErrorCode | None, seeds: range, *, split: str = "test"
) -> Iterator[tuple[Trajectory, Planted | None]]:
    """Expert trajectories of a world with one error of a code each; without a code they are right.

    A task that gives no room for the error is left out.
    """
    planter = Planter(code)
    for trajectory in rollout(planter, world, seeds, split=split):
        if code is None:
            yield trajectory, None
        elif code in _EDITS:
            yield from _EDITS[code](trajectory)
        elif (error := planter.planted.get(trajectory.id)) and not _made_again(trajectory, error):
            yield trajectory, error


class Planter:
    """The expert, who makes one mistake of a code from a turn on that is drawn for each task; `planted` says where."""

    name = "planter"

    def __init__(self, code: ErrorCode | None) -> None:
        self.code = code
        self.planted: dict[str, Planted] = {}

    def act(self, contexts: Sequence[Context]) -> list[Reply]:
        return [Reply(message=self._act(context)) for context in contexts]

    def _act(self, context: Context) -> Message:
        right = context.env.expert_action()
        if self.code is None or context.id in self.planted:
            return right
        rng = Random(f"planted/{context.id}/{self.code}")
        length = int(context.env.task_record().get("plan_length", 1))
        if context.env.turns < rng.randrange(max(1, length)):
            return right
        wrong = _mistake(self.code, right, context, rng)
        if wrong is None:
            return right
        path = _differs(right, wrong, self.code)
        self.planted[context.id] = Planted(
            code=self.code,
            message_index=len(context.messages),
            call_index=0 if calls_of(wrong) else None,
            path=path,
        )
        return wrong


def _mistake(code: ErrorCode, right: Message, context: Context, rng: Random) -> Message | None:
    """The wrong turn in place of a right one; None where this turn gives no room for the error."""
    calls = [ToolCall.from_openai(call) for call in calls_of(right)]
    acted = any(message.get("role") == "tool" for message in context.messages)
    if code is ErrorCode.PREMATURE_STOP:
        return {"role": "assistant", "content": EARLY} if calls and acted else None
    if code is ErrorCode.MISREAD_RESULT:
        last = context.messages[-1]
        heard = last.get("role") == "tool" and not last.get("is_error")
        return {"role": "assistant", "content": MISREAD} if heard and not calls else None
    if code is ErrorCode.UNNEEDED_CALL and not calls and acted:
        calls = [ToolCall(id=f"call_{context.env.turns}", name="", arguments="{}")]
    if not calls or code in _EDITS:
        return None
    wrong = _wrong_call(code, calls[0], context, rng)
    return None if wrong is None else {**right, "tool_calls": [wrong.to_openai()]}


def _wrong_call(code: ErrorCode, call: ToolCall, context: Context, rng: Random) -> ToolCall | None:
    toolset = context.env.toolset
    if code in MISTAKES:
        return mistaken(call, toolset, code, rng)
    seen = _seen(context.messages)
    if code is ErrorCode.WRONG_VALUE:
        return _other_value(call, toolset, seen, rng)
    known = {**seen, **{name: [value] for name, value in json.loads(call.arguments).items()}}
    others = [
        tool
        for tool in toolset.offered.values()
        if tool.name != call.name and (code is ErrorCode.WRONG_TOOL or tool.access is READ)
    ]
    rng.shuffle(others)
    made = {earlier["function"]["name"] for message in context.messages for earlier in calls_of(message)}
    for tool in others:
        if code is ErrorCode.UNNEEDED_CALL and tool.name in made:
            continue
        arguments = _filled(tool.parameters, known, rng, guessing=code is ErrorCode.WRONG_TOOL)
        wrong = None if arguments is None else _written(replace(call, name=tool.name), arguments)
        if wrong is not None and not toolset.check(wrong)[1]:
            return wrong
    return None


def _filled(
    schema: Mapping[str, Any], known: Mapping[str, Sequence[Any]], rng: Random, *, guessing: bool
) -> dict[str, Any] | None:
    """The required arguments of a tool, with values that are known under their names; else guessed, or None."""
    arguments: dict[str, Any] = {}
    for name in schema.get("required", ()):
        part = schema.get("properties", {}).get(name, {})
        if name in known and "enum" not in part:
            arguments[name] = rng.choice(known[name])
        elif guessing or "enum" in part:
            arguments[name] = guess(part, rng, root=schema)
        else:
            return None
    return arguments


def _other_value(call: ToolCall, toolset: Toolset, seen: Mapping[str, Sequence[Any]], rng: Random) -> ToolCall | None:
    """The call with one argument's value exchanged for another one that the schema allows."""
    arguments: dict[str, Any] = json.loads(call.arguments)
    properties = toolset.offered[call.name].parameters.get("properties", {})
    names = list(arguments)
    rng.shuffle(names)
    for name in names:
        others = _others(arguments[name], properties.get(name, {}), seen.get(name, ()))
        rng.shuffle(others)
        for value in others:
            wrong = _written(call, {**arguments, name: value})
            if not toolset.check(wrong)[1]:
                return wrong
    return None


def _others(value: Any, schema: Mapping[str, Any], seen: Sequence[Any]) -> list[Any]:
    if isinstance(value, bool) or value is None or isinstance(value, (dict, list)):
        return []
    if "enum" in schema:
        return [other for other in schema["enum"] if other != value]
    if others := [other for other in seen if other != value and type(other) is type(value)]:
        return others
    if isinstance(value, int):
        return [value + 1, value + 10]
    digits = [place for place, letter in enumerate(str(value)) if letter.isdigit()]
    if not isinstance(value, str) or not digits:
        return []
    last = digits[-1]
    return [f"{value[:last]}{(int(value[last]) + step) % 10}{value[last + 1 :]}" for step in (1, 3)]


def _written(call: ToolCall, arguments: Mapping[str, Any]) -> ToolCall:
    return replace(call, arguments=json.dumps(arguments, ensure_ascii=False))


def _seen(messages: Sequence[Message]) -> dict[str, list[Any]]:
    """The texts and numbers in earlier results, by the names that they had there."""
    seen: dict[str, list[Any]] = {}
    for message in messages:
        if message.get("role") != "tool" or message.get("is_error"):
            continue
        try:
            pending = [json.loads(content_of(message))]
        except (ValueError, RecursionError):
            continue
        while pending:
            part = pending.pop()
            members = part.items() if isinstance(part, dict) else ()
            for name, value in members:
                if isinstance(value, (str, int)) and not isinstance(value, bool) and value not in seen.get(name, ()):
                    seen.setdefault(name, []).append(value)
            inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
            pending.extend(value for value in inner if isinstance(value, (dict, list)))
    return seen


def _differs(right: Message, wrong: Message, code: ErrorCode) -> str:
    """The path of what was changed in a call, as a finding has it."""
    if not (calls_of(right) and calls_of(wrong)) or code is ErrorCode.UNNEEDED_CALL:
        return ""
    before, after = (ToolCall.from_openai(calls_of(message)[0]) for message in (right, wrong))
    if before.name != after.name:
        return "name"
    try:
        ours, theirs = json.loads(before.arguments), json.loads(after.arguments)
    except ValueError:
        return "$"
    changed = [
        name for name in {**ours, **theirs} if name not in ours or name not in theirs or ours[name] != theirs[name]
    ]
    return json_path("$", changed[0]) if changed else "$"


def _made_again(trajectory: Trajectory, error: Planted) -> bool:
    """Whether an unneeded call turned out to be one of the plan's."""
    if error.code is not ErrorCode.UNNEEDED_CALL:
        return False
    name = calls_of(trajectory.messages[error.message_index])[0]["function"]["name"]
    later = trajectory.messages[error.message_index + 1 :]
    return any(call["function"]["name"] == name for message in later for call in calls_of(message))


def _forbidden(trajectory: Trajectory) -> Iterator[tuple[Trajectory, Planted]]:
    """A right trajectory under a system text that forbids one of its calls."""
    made = [
        (index, number, call["function"]["name"])
        for index, message in enumerate(trajectory.messages)
        for number, call in enumerate(calls_of(message))
    ]
    names = [name for _, _, name in made]
    once = [place for place in made if names.count(place[2]) == 1]
    first = trajectory.messages[0]
    if not once or first.get("role") != "system":
        return
    index, number, name = Random(f"planted/{trajectory.id}").choice(once)
    system = {**first, "content": f"{content_of(first)}\n{FORBIDDEN.format(tool=name)}"}
    messages = [system, *trajectory.messages[1:]]
    error = Planted(code=ErrorCode.POLICY_VIOLATION, message_index=index, call_index=number)
    yield structs.replace(trajectory, messages=messages), error


def _left_out(trajectory: Trajectory) -> Iterator[tuple[Trajectory, Planted]]:
    """A right trajectory without a lookup that a later call relies on: it has a value that only this lookup said."""
    messages = trajectory.messages
    offered = _words(json.dumps(trajectory.tools))
    places = [
        (index, later)
        for index, message in enumerate(messages[:-1])
        if len(calls_of(message)) == 1 and messages[index + 1].get("role") == "tool"
        for later in range(index + 2, len(messages))
        if _relied_on(messages, index, later) - offered
    ]
    if places:
        index, later = Random(f"planted/{trajectory.id}").choice(places)
        error = Planted(code=ErrorCode.MISSING_CALL, message_index=later - 2, call_index=0)
        yield structs.replace(trajectory, messages=[*messages[:index], *messages[index + 2 :]]), error


def _relied_on(messages: Sequence[Message], lookup: int, later: int) -> set[str]:
    """The words in the first call of a turn that a lookup's result says, and nothing else before the turn."""
    others = [*messages[:lookup], *messages[lookup + 2 : later]]
    said = _words(*map(content_of, others), *(call["function"]["arguments"] for m in others for call in calls_of(m)))
    needed = _words(*(call["function"]["arguments"] for call in calls_of(messages[later])[:1]))
    return needed & _words(content_of(messages[lookup + 1])) - said


def _words(*texts: str) -> set[str]:
    return {word for text in texts for word in re.findall(r"\w+", text)}


_EDITS: Mapping[ErrorCode, Callable[[Trajectory], Iterator[tuple[Trajectory, Planted]]]] = {
    ErrorCode.POLICY_VIOLATION: _forbidden,
    ErrorCode.MISSING_CALL: _left_out,
}
"""The errors that a right trajectory is given afterwards."""
