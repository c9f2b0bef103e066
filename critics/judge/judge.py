"""A model that reads trajectories and says where the mistakes are that rules can't see.

Rules come first: what they found is shown to the judge as known, and never counted twice. Each window is asked about
once, once more where its answer is not of the form, and in halves where the model has no room for it. What a judge says
is checked (`critics.judge.answer`) before it is a finding. A window that got no answer is *unjudged*: that is the
infrastructure's fault, it is counted as such, and the next run over the same file asks again.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from critics.finding import Criticized, Finding
from critics.judge.answer import Unreadable, findings_in, read_answer
from critics.judge.asker import Asker, Failed, Question
from critics.judge.asking import Asking, Watch
from critics.judge.cache import Cache, Said
from critics.judge.prompt import RESPONSE_FORMAT, question, question_again
from critics.judge.window import WINDOW, Window, windows
from critics.reading import Reading, read
from envs import StopReason, Trajectory

CHUNK = 64
"""Trajectories whose windows are asked about together."""


@dataclass(slots=True, kw_only=True)
class Tally:
    """What became of the questions. `dropped` counts entries by reason, `unreadable` windows whose answers were none of
    the form, `unjudged` windows without an answer, by what the infrastructure said."""

    windows: int = 0
    findings: int = 0
    unreadable: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    unjudged: Counter[str] = field(default_factory=Counter)

    def to_json(self) -> dict[str, Any]:
        return {
            "windows": self.windows,
            "findings": self.findings,
            "unreadable": self.unreadable,
            "dropped": dict(sorted(self.dropped.items())),
            "unjudged": dict(sorted(self.unjudged.items())),
        }


@dataclass(slots=True, kw_only=True, eq=False)
class _Case:
    """A window to be judged, of the trajectory at `place` in its chunk."""

    place: int
    window: Window
    asked: Question
    again: bool = False


class Judge:
    """Reads trajectories that rules have read. Its findings have a template's hint; `tally` says what it did."""

    def __init__(
        self,
        asker: Asker,
        cache: Cache | None = None,
        *,
        size: int = WINDOW,
        watch: Watch = lambda finished, total: None,
    ) -> None:
        self.asking, self.size = Asking(asker, cache or Cache(), watch), size
        self.tally = Tally()

    def read(self, criticized: Iterable[Criticized]) -> Iterator[Criticized]:
        """The same trajectories in order, each with the judge's findings among the others."""
        self.asking.begin()
        waiting = iter(criticized)
        while chunk := list(islice(waiting, CHUNK)):
            yield from self._chunk(chunk)

    def _chunk(self, chunk: Sequence[Criticized]) -> list[Criticized]:
        readings = {place: read(pair[0]) for place, pair in enumerate(chunk) if _can_be_judged(pair[0])}
        said: dict[int, list[Finding]] = {place: [] for place in readings}
        cases = [
            _Case(place=place, window=window, asked=question(window))
            for place, reading in readings.items()
            for window in windows(reading, chunk[place][1], size=self.size)
        ]
        self.tally.windows += len(cases)
        while cases:
            answers = self.asking.answers([case.asked for case in cases], RESPONSE_FORMAT)
            cases = [
                more
                for case, answer in zip(cases, answers, strict=True)
                for more in self._heard(case, answer, readings[case.place], chunk[case.place][1], said[case.place])
            ]
        return [
            (trajectory, sorted([*found, *said.get(place, ())], key=_order))
            for place, (trajectory, found) in enumerate(chunk)
        ]

    def _heard(
        self, case: _Case, answer: Said | Failed, reading: Reading, found: Sequence[Finding], said: list[Finding]
    ) -> list[_Case]:
        """Take an answer: add its findings to `said`; gives what has to be asked because of it."""
        if isinstance(answer, Failed):
            halves = case.window.halves() if answer.too_long else ()
            if not halves:
                self.tally.unjudged[answer.why] += 1
            self.tally.windows += max(0, len(halves) - 1)
            return [_Case(place=case.place, window=half, asked=question(half)) for half in halves]
        try:
            read_out = read_answer(answer.text)
        except Unreadable as error:
            if case.again:
                self.tally.unreadable += 1
                return []
            asked = question_again(case.asked, answer.text, str(error))
            return [_Case(place=case.place, window=case.window, asked=asked, again=True)]
        findings, dropped = findings_in(read_out, case.window, reading, [*found, *said])
        said.extend(findings)
        self.tally.findings += len(findings)
        self.tally.dropped.update(drop.reason for drop in dropped)
        return []


def _can_be_judged(trajectory: Trajectory) -> bool:
    """Of a trajectory that an infrastructure fault cut short nothing is the model's doing."""
    return trajectory.stop_reason != StopReason.INFRASTRUCTURE_FAULT


def _order(finding: Finding) -> tuple[int, int, int, int]:
    call_index = -1 if finding.call_index is None else finding.call_index
    return finding.message_index, call_index, *finding.span
