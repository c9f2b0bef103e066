"""A trajectory read once, for all rules: its calls checked, placed in the text, and joined with their results.

Left out: what is an error and what isn't (`critics.rules`).
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from msgspec import Struct

from critics.answers import ERROR, FLAGGED, answer_of, flagged_answer
from critics.attempt import Attempt
from critics.explaining import explained
from critics.finding import CERTAIN, Confidence, Finding, content_of
from critics.hints import REPEATS, hint_for, repeat_hint
from critics.spans import Span
from critics.wording import wording_of
from envs import Trajectory
from tools import ErrorCode, Tool, Violation
from tools.call import parts_of
from tools.check import check_logged, check_text
from tools.logged import LoggedTools, logged_tools, remembered_tools


class Reading(Struct, kw_only=True, eq=False):
    """A trajectory as rules see it. `turns` are the assistant's messages, `users` the user's. `calling` has the
    attempts of each turn that calls, `answers` the contents of the other turns, `suspects` the attempts that the schema
    has something against or that were answered with an error. What the schema has against them is in `violations` by
    code, those whose errors' own words stand for a code are in `worded`. `strays` are tool results for
    calls that nobody made: (turn, result) by message.
    """

    trajectory: Trajectory
    offered: Mapping[str, Tool]
    turns: Sequence[int]
    users: Sequence[int]
    raws: Mapping[int, str]
    attempts: Sequence[Attempt]
    calling: Mapping[int, Sequence[Attempt]]
    answers: Mapping[int, str]
    suspects: Sequence[Attempt]
    violations: Mapping[ErrorCode, Sequence[tuple[Attempt, Violation]]]
    worded: Mapping[ErrorCode, Sequence[Attempt]]
    strays: Sequence[tuple[int, int]] = ()

    @property
    def shown(self) -> set[ErrorCode]:
        """The codes that a schema or an answer shows."""
        return self.violations.keys() | self.worded.keys()

    @property
    def last_turn(self) -> int:
        """The message that a finding about the whole trajectory stands at."""
        return self.turns[-1] if self.turns else max(0, len(self.trajectory.messages) - 1)

    def text(self, message_index: int) -> str:
        """What a whole turn says: its raw text, or its content where that is not known."""
        said = self.raws.get(message_index, self.answers.get(message_index))
        messages = self.trajectory.messages
        if said is not None or message_index >= len(messages):
            return said or ""
        return content_of(messages[message_index])

    def at_violation(
        self,
        attempt: Attempt,
        violation: Violation,
        confidence: Confidence = CERTAIN,
        *,
        said: str = "",
        hint: str = "",
    ) -> Finding:
        """A finding about the part of a call that a violation names; `said` and `hint` where its own texts won't do."""
        return Finding(
            code=violation.code,
            message_index=attempt.message_index,
            call_index=attempt.call_index,
            path=violation.path,
            span=attempt.place(self.raws.get(attempt.message_index)).of(violation),
            explanation=said or explained(attempt.name, violation),
            hint=hint or hint_for(violation, attempt.name),
            confidence=confidence,
        )

    def at_call(self, attempt: Attempt, code: ErrorCode, explanation: str) -> Finding:
        """A finding about a whole call, marked at all of its turn."""
        raw = self.raws.get(attempt.message_index)
        end = len(attempt.text if raw is None else raw)
        return Finding(
            code=code,
            message_index=attempt.message_index,
            call_index=attempt.call_index,
            span=(0, end),
            explanation=explanation,
            hint=repeat_hint(code, attempt.call) if code in REPEATS else _hint(code),
        )

    def at_turn(self, message_index: int, code: ErrorCode, explanation: str, span: Span | None = None) -> Finding:
        """A finding about a turn; all of it unless `span` says which part."""
        return Finding(
            code=code,
            message_index=message_index,
            span=span or (0, len(self.text(message_index))),
            explanation=explanation,
            hint=_hint(code),
        )


def read(trajectory: Trajectory) -> Reading:
    """Read a trajectory. Raises ValueError for tools or calls that are not in OpenAI's form."""
    tools = trajectory.tools
    offered = remembered_tools(tools) or logged_tools(_objects(tools, "tools"))
    joined = _joined(trajectory.messages)
    suspects = _suspects(trajectory, offered, joined.attempts)
    return Reading(
        trajectory=trajectory,
        offered=offered,
        turns=joined.turns,
        users=joined.users,
        raws={turn.message_index: turn.raw for turn in trajectory.turns} if trajectory.turns else {},
        attempts=joined.attempts,
        calling=joined.calling,
        answers=joined.answers,
        suspects=suspects,
        violations=_violations(suspects) if suspects else {},
        worded=_worded(suspects) if suspects else {},
        strays=joined.strays,
    )


def _suspects(trajectory: Trajectory, offered: LoggedTools, attempts: Iterable[Attempt]) -> list[Attempt]:
    """Check all calls and judge their answers; the calls that something is wrong with."""
    suspects: list[Attempt] = []
    check = _Check(trajectory, offered)
    known = offered.tools if check.plainly else {}  # asked here, since almost every call is of one of them
    checked = _is_of_our_worlds(trajectory)
    judge = flagged_answer if checked else answer_of
    for attempt in attempts:
        answer = attempt.answer = judge(attempt.result)
        text = attempt.text
        tool = known.get(attempt.name)
        attempt.arguments, violations = check(attempt) if tool is None else check_text(text, tool)
        if not text and not violations and _could_not_parse(attempt):
            expected = "arguments in JSON, as this environment reads no text at all"
            violations = [Violation(code=ErrorCode.MALFORMED_CALL, path="$", expected=expected, came="")]
        if violations or answer is FLAGGED or answer is ERROR:
            attempt.violations, attempt.checked = violations, checked
            suspects.append(attempt)
    return suspects


def _violations(suspects: Iterable[Attempt]) -> Mapping[ErrorCode, Sequence[tuple[Attempt, Violation]]]:
    found: dict[ErrorCode, list[tuple[Attempt, Violation]]] = {}
    for suspect in suspects:
        for violation in suspect.violations:
            found.setdefault(violation.code, []).append((suspect, violation))
    return found


def _worded(suspects: Iterable[Attempt]) -> Mapping[ErrorCode, Sequence[Attempt]]:
    found: dict[ErrorCode, list[Attempt]] = {}
    for suspect in suspects:
        wording = suspect.wording
        if wording is not None:
            found.setdefault(wording.code, []).append(suspect)
    return found


def _is_of_our_worlds(trajectory: Trajectory) -> bool:
    """Whether a rollout of `envs` wrote it: that says the seed and the split of its task."""
    return bool(trajectory.env) and "seed" in trajectory.task and "split" in trajectory.task


class _Check:
    """Checks calls against the tools that a trajectory has offered so far; `plainly`, where these are always the
    same."""

    def __init__(self, trajectory: Trajectory, offered: LoggedTools) -> None:
        self.offered = offered
        self.known = trajectory.tools_known
        catalogue = trajectory.task.get("catalogue")
        self.catalogue = frozenset(map(str, catalogue)) if catalogue else frozenset()
        self.tools_from = trajectory.tools_from
        self.plainly = self.known and not self.tools_from

    def __call__(self, attempt: Attempt) -> tuple[Mapping[str, Any], Sequence[Violation]]:
        name, text, index = attempt.name, attempt.text, attempt.message_index
        if not self.known:  # of such a call only the form can be checked
            return check_logged(name, text, {name: ANYTHING} if name else {})
        if self.plainly:
            return check_logged(name, text, self.offered, self.catalogue)
        if name in self.offered and self.tools_from.get(name, index) <= index:
            return check_logged(name, text, self.offered)
        later = frozenset(name for name, first in self.tools_from.items() if first > index)
        return check_logged(name, text, self.offered.without(later), self.catalogue | later)


ANYTHING = Tool(name="", description="", parameters={})


def _could_not_parse(attempt: Attempt) -> bool:
    """Whether an environment that was given no text for arguments says that this is no JSON; for others it is `{}`."""
    result = attempt.result
    wrong = result is not None and answer_of(result) in (ERROR, FLAGGED)
    wording = wording_of(content_of(result)[:1_000]) if wrong and result else None
    return wording is not None and wording.code is ErrorCode.MALFORMED_CALL


def _objects(parts: Any, what: str) -> Sequence[Mapping[str, Any]]:
    if not isinstance(parts, (list, tuple)) or not (
        _DICTS.issuperset(map(type, parts)) or all(isinstance(part, Mapping) for part in parts)
    ):
        raise ValueError(f"expected {what} to be a list of objects in OpenAI's form, came {str(parts)[:80]}")
    return parts


_DICTS = frozenset({dict})


class _Joined:
    """The messages of a trajectory told apart, and the calls with their results.

    Programs may use an id again in a later turn, so a result belongs to the latest call of its id that still waits; a
    result without an id to the earliest call of the latest turn that waits.
    """

    def __init__(self, messages: Sequence[Mapping[str, Any]]) -> None:
        turns: list[int] = []
        users: list[int] = []
        answers: dict[int, str] = {}
        attempts: list[Attempt] = []
        calling: dict[int, Sequence[Attempt]] = {}
        strays: list[tuple[int, int]] = []
        waiting: dict[str, list[Attempt]] = {}
        self.turns, self.users, self.answers = turns, users, answers
        self.attempts, self.calling, self.strays = attempts, calling, strays
        for index, message in enumerate(messages):
            role = message.get("role")
            if role == "tool":
                call_id = message.get("tool_call_id")
                own = waiting.get(call_id if type(call_id) is str else str(call_id or ""))
                if own is None:
                    strays.append((turns[-1] if turns else 0, index))
                    continue
                for attempt in own:
                    if attempt.result is None:
                        attempt.result = message  # type: ignore[assignment]
                        break
            elif role == "assistant":
                turns.append(index)
                made = message.get("tool_calls")
                if not made:
                    waiting[""] = []
                    content = message.get("content")
                    answers[index] = content if type(content) is str else _without_calls(message)
                elif len(made) == 1:
                    call_id, name, text = parts_of(made[0])
                    only = Attempt(index, 0, made, call_id, name, text)
                    attempts.append(only)
                    calling[index] = waiting[""] = waiting[call_id] = [only]
                else:
                    several = [Attempt(index, place, made, *parts_of(call)) for place, call in enumerate(made)]
                    calling[index] = waiting[""] = several
                    attempts += several
                    _wait(several, waiting)
            elif role == "user":
                users.append(index)


def _without_calls(message: Mapping[str, Any]) -> str:
    """The text of a turn that has no calls. Raises ValueError where its parts are some, in another form."""
    content = message.get("content")
    if isinstance(content, list) and any(isinstance(part, dict) and part.get("type") == "tool_use" for part in content):
        raise ValueError("its calls are Anthropic's blocks: read it with --format anthropic")
    return content_of(dict(message))


def _joined(messages: Sequence[Mapping[str, Any]]) -> _Joined:
    """Raises ValueError for messages or calls that are no lists of objects."""
    try:
        return _Joined(messages)
    except (AttributeError, LookupError, TypeError):
        for message in _objects(messages, "messages"):
            _objects(message.get("tool_calls") or [], "tool_calls")
        raise


def _wait(attempts: list[Attempt], waiting: dict[str, list[Attempt]]) -> None:
    """From now on, the ids of these calls mean them."""
    for attempt in attempts:
        waiting[attempt.id] = []
    for attempt in attempts:
        waiting[attempt.id].append(attempt)


@cache
def _hint(code: ErrorCode) -> str:
    return hint_for(Violation(code=code, path="", expected="", came=None), "")
