"""What is said of a pile of logs: the figures, the worst tools and arguments, some examples, and what was odd.

`Gathering` takes one trajectory after another and keeps only what it will say, however many come.
Left out: how it looks (`critics.report`).
"""

import re
from collections import Counter, deque
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from critics.finding import CERTAIN, NAME_CODES, Criticized, Finding, text_of
from critics.formats import Place, Unreadable
from critics.rates import Count, Measured, Rate
from envs import StopReason, Trajectory, calls_of
from tools import INVALID_CALL_CODES, ErrorCode

BEFORE, WITHIN, AFTER = 24, 48, 80
"""So many characters around and of a span are kept for an example."""

LISTED = 100
"""So many unreadable places are kept; the rest is counted."""

NAMES = 10_000
"""So many tools and arguments are told apart: a model can invent names without end."""

ARGUMENT_CODES = INVALID_CALL_CODES - NAME_CODES - {ErrorCode.MALFORMED_CALL}


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A finding, where it is, and the text around its span."""

    place: Place
    trajectory: str
    finding: Finding
    before: str
    within: str
    after: str

    @classmethod
    def of(cls, place: Place, trajectory: Trajectory, finding: Finding) -> "Example":
        text, (start, end) = text_of(trajectory, finding) or "", finding.span
        within = text[start:end]
        if len(within) > WITHIN:
            within = f"{within[: WITHIN // 2]}...{within[-WITHIN // 2 :]}"
        return cls(
            place=place,
            trajectory=trajectory.id[:WITHIN],
            finding=finding,
            before=text[max(0, start - BEFORE) : start],
            within=within,
            after=text[end : end + AFTER],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Worst:
    """How often a tool, or an argument of it, was got wrong, of all calls of that tool."""

    tool: str
    argument: str = ""
    code: ErrorCode | None = None
    wrong: Rate

    def to_json(self) -> dict[str, Any]:
        named: dict[str, Any] = {"tool": self.tool}
        if self.code is not None:
            named |= {"argument": self.argument, "code": str(self.code)}
        return {**named, "wrong": self.wrong.count, "calls": self.wrong.total, "per_100": self.wrong.to_json()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """Something about the logs that is no error of a model, how often, and where first."""

    text: str
    count: int
    first: Place

    def to_json(self) -> dict[str, Any]:
        return {"text": self.text, "count": self.count, "file": self.first.file, "line": self.first.line}


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """All that is said of some logs. `unreadable` holds the first places only, `unread` counts all of them."""

    measured: Measured
    tools: Sequence[Worst]
    arguments: Sequence[Worst]
    examples: Mapping[ErrorCode, Sequence[Example]]
    unreadable: Sequence[Unreadable]
    unread: int
    remarks: Sequence[Remark]

    def found(self, code: ErrorCode) -> bool:
        return code in self.measured.codes or code in self.measured.warnings or code in self.examples

    def to_json(self) -> dict[str, Any]:
        return {
            **self.measured.to_json(),
            "tools": [worst.to_json() for worst in self.tools],
            "arguments": [worst.to_json() for worst in self.arguments],
            "unread": self.unread,
            "unreadable": [
                {"file": part.place.file, "line": part.place.line, "reason": part.reason} for part in self.unreadable
            ],
            "remarks": [remark.to_json() for remark in self.remarks],
        }


Key = TypeVar("Key", bound=Hashable)


class _Names(Counter[Key]):
    """Counts by key that stop at `NAMES` keys."""

    def add(self, key: Key) -> None:
        if key in self or len(self) < NAMES:
            self[key] += 1


@dataclass(slots=True)
class Gathering:
    """What has been read so far. `wanted` examples of each code are kept."""

    wanted: int = 1
    count: Count = field(default_factory=Count)
    calls: _Names[str] = field(default_factory=_Names)
    invalid: _Names[str] = field(default_factory=_Names)
    arguments: _Names[tuple[str, str, ErrorCode]] = field(default_factory=_Names)
    examples: dict[ErrorCode, list[Example]] = field(default_factory=dict)
    unreadable: list[Unreadable] = field(default_factory=list)
    unread: int = 0
    remarks: dict[str, Remark] = field(default_factory=dict)
    ids: set[int] = field(default_factory=set)
    places: deque[Place] = field(default_factory=deque)

    def expect(self, place: Place) -> None:
        """Where the next trajectory that `watched` will see stands."""
        self.places.append(place)

    def watched(self, criticized: Iterable[Criticized]) -> Iterator[Criticized]:
        """The same trajectories in the same order, each gathered as it passes. Readers between may read ahead."""
        for trajectory, findings in criticized:
            self.add(self.places.popleft(), trajectory, findings)
            yield trajectory, findings

    def refuse(self, part: Unreadable) -> None:
        self.unread += 1
        if len(self.unreadable) < LISTED:
            self.unreadable.append(part)

    def add(self, place: Place, trajectory: Trajectory, findings: Sequence[Finding]) -> None:
        self.count.add(trajectory, findings)
        self._look(place, trajectory)
        for finding in findings:
            kept = self.examples.setdefault(finding.code, [])
            if len(kept) < self.wanted:
                kept.append(Example.of(place, trajectory, finding))
        if findings and trajectory.stop_reason != StopReason.INFRASTRUCTURE_FAULT:
            self._blame(trajectory, findings)

    def _look(self, place: Place, trajectory: Trajectory) -> None:
        """Count the calls of each tool, and note what is odd about the log."""
        waiting: set[str] = set()
        called = unanswered = 0
        for message in trajectory.messages:
            if message.get("role") == "tool":
                waiting.discard(str(message.get("tool_call_id") or ""))
            elif made := calls_of(message):
                unanswered += len(waiting)
                waiting = {str(call.get("id") or "") for call in made}
                called += len(made)
                for call in made:
                    self.calls.add(_name(call))
        if called and not trajectory.tools:
            self._remark(NO_TOOLS, 1, place)
        if unanswered:
            self._remark(UNANSWERED, unanswered, place)
        if (known := hash(trajectory.id)) in self.ids:
            self._remark(SAME_ID, 1, place)
        self.ids.add(known)

    def _remark(self, text: str, count: int, place: Place) -> None:
        known = self.remarks.get(text)
        first = known.first if known else place
        self.remarks[text] = Remark(text=text, count=count + (known.count if known else 0), first=first)

    def _blame(self, trajectory: Trajectory, findings: Sequence[Finding]) -> None:
        """Count invalid calls by tool, and what is wrong with arguments by argument."""
        blamed: set[tuple[int, int]] = set()
        for finding in findings:
            index = finding.call_index
            if index is None or finding.confidence != CERTAIN or finding.code not in INVALID_CALL_CODES:
                continue
            tool = _name(calls_of(trajectory.messages[finding.message_index])[index])
            if (finding.message_index, index) not in blamed:
                blamed.add((finding.message_index, index))
                self.invalid.add(tool)
            if finding.code in ARGUMENT_CODES:
                self.arguments.add((tool, _argument(finding.path), finding.code))

    def overview(self) -> Overview:
        return Overview(
            measured=self.count.measured(),
            tools=list(self._worst_tools()),
            arguments=list(self._worst_arguments()),
            examples=self.examples,
            unreadable=self.unreadable,
            unread=self.unread,
            remarks=list(self.remarks.values()),
        )

    def _worst_tools(self) -> Iterator[Worst]:
        for tool, wrong in self.invalid.most_common():
            yield Worst(tool=tool, wrong=Rate.share(wrong, max(wrong, self.calls[tool]), per=100))

    def _worst_arguments(self) -> Iterator[Worst]:
        for (tool, argument, code), wrong in self.arguments.most_common():
            rate = Rate.share(wrong, max(wrong, self.calls[tool]), per=100)
            yield Worst(tool=tool, argument=argument, code=code, wrong=rate)


NO_TOOLS = "trajectories with calls that don't say which tools there were (give them with --tools FILE)"
UNANSWERED = "calls that have no result when the next calls come"
SAME_ID = "trajectories with the id of an earlier one (both are counted)"


def _name(call: Mapping[str, Any]) -> str:
    function = call.get("function")
    return str(function.get("name") or "") if isinstance(function, Mapping) else ""


def _argument(path: str) -> str:
    """A path with the same name for all items of an array: `$.items[3].sku` is `items[].sku`."""
    return re.sub(r"\[\d+\]", "[]", path.removeprefix("$").removeprefix(".")) or "(all)"
