"""What a policy's trajectories on one set of tasks add up to: counts by task, no texts, so that memory stays small.

A task is what is independent: its attempts, and the calls in them, are not. So intervals are over tasks
(`eval.metrics.clustered`). Left out: which trajectories belong together (`eval.leaderboard`), and how it looks.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

from critics.finding import WARNING, Finding
from critics.rates import Count, Measured, Part, Rate
from envs.trajectory import StopReason, Trajectory, calls_of
from eval.metrics import clustered, pass_at_k, pass_hat_k
from tools import INVALID_CALL_CODES, ErrorCode

LATE = 10
"""Turns from this one on are one group."""


@dataclass(slots=True)
class Attempts:
    """The attempts at one task. `known` are those whose world is known, `sampled` the tokens where they are."""

    count: int = 0
    known: int = 0
    solved: int = 0
    calls: int = 0
    invalid: int = 0
    turns: int = 0
    sampled: int = 0
    logprob: float = 0.0
    codes: Counter[ErrorCode] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """The chances that one of `k` attempts succeeds, and that all do: means over tasks."""

    k: int
    at: float
    hat: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """A policy's figures. `tasks` is how many different ones were tried; `passes` are for every k that each of them has
    attempts for.

    `groups` has the share of invalid calls (per 100) by what the calls are grouped by: `turn`, the turn's number, and
    `tools`, how many were offered. `entropy` is the mean negative log-prob of a sampled token, in nats, which estimates
    the entropy; it and the tokens are None where no tokens are known.
    """

    measured: Measured
    tasks: int
    passes: Sequence[Pass]
    calls_per_task: float
    turns_per_task: float
    tokens_per_task: float | None
    entropy: float | None
    groups: Mapping[str, Mapping[int, Rate]]

    def to_json(self) -> dict[str, Any]:
        return {
            **self.measured.to_json(),
            "different_tasks": self.tasks,
            "passes": {str(each.k): {"pass_at_k": each.at, "pass_hat_k": each.hat} for each in self.passes},
            "calls_per_task": self.calls_per_task,
            "turns_per_task": self.turns_per_task,
            "tokens_per_task": self.tokens_per_task,
            "entropy": self.entropy,
            "groups": {
                name: {str(number): rate.to_json() | {"calls": rate.total} for number, rate in sorted(group.items())}
                for name, group in self.groups.items()
            },
        }


class Standing:
    """Takes one trajectory after the other; `figures` gives what they add up to so far."""

    def __init__(self) -> None:
        self.count = Count()
        self.tasks: dict[str, Attempts] = {}
        self.groups: dict[str, dict[int, dict[str, Part]]] = {"turn": {}, "tools": {}}

    def add(self, trajectory: Trajectory, findings: Sequence[Finding]) -> None:
        self.count.add(trajectory, findings)
        if trajectory.stop_reason == StopReason.INFRASTRUCTURE_FAULT:
            return
        task = task_of(trajectory)
        wrong = [finding for finding in findings if finding.confidence != WARNING]
        attempts = self.tasks.setdefault(task, Attempts())
        attempts.count += 1
        attempts.known += bool(trajectory.env)
        attempts.solved += bool(trajectory.env) and trajectory.success
        for code, _, _ in {(part.code, part.message_index, part.call_index) for part in wrong}:
            attempts.codes[code] += 1
        for number, (invalid, calls) in enumerate(parts_by_turn(trajectory, wrong), 1):
            attempts.turns += 1
            attempts.calls += calls
            attempts.invalid += invalid
            for name, group in (("turn", min(number, LATE)), ("tools", len(trajectory.tools))):
                _add(self.groups[name].setdefault(group, {}), task, (invalid, calls))
        attempts.sampled += sum(len(turn.token_ids) for turn in trajectory.turns)
        attempts.logprob += sum(sum(turn.logprobs) for turn in trajectory.turns)

    def parts(self, of: str) -> dict[str, Part]:
        """By task, a count and its total: `invalid` calls of calls, `solved` attempts of those whose world is known, or
        calls with the error code that is named."""
        match of:
            case "invalid":
                return {task: (part.invalid, part.calls) for task, part in self.tasks.items()}
            case "solved":
                return {task: (part.solved, part.known) for task, part in self.tasks.items()}
            case code:
                return {task: (part.codes[ErrorCode(code)], part.calls) for task, part in self.tasks.items()}

    def figures(self) -> Figures:
        measured, attempts = self.count.measured(), list(self.tasks.values())
        tried, sampled = sum(part.count for part in attempts), sum(part.sampled for part in attempts)
        return Figures(
            measured=replace(
                measured,
                invalid_per_100=clustered(self.parts("invalid").values(), per=100),
                success=clustered(self.parts("solved").values()),
                codes={code: self._rate(code, rate) for code, rate in measured.codes.items()},
            ),
            tasks=len(attempts),
            passes=list(passes((part.known, part.solved) for part in attempts)),
            calls_per_task=sum(part.calls for part in attempts) / max(1, tried),
            turns_per_task=sum(part.turns for part in attempts) / max(1, tried),
            tokens_per_task=sampled / tried if sampled else None,
            entropy=-sum(part.logprob for part in attempts) / sampled if sampled else None,
            groups={
                name: {
                    number: rate
                    for number, parts in groups.items()
                    if (rate := clustered(parts.values(), per=100)).total
                }
                for name, groups in self.groups.items()
            },
        )

    def _rate(self, code: ErrorCode, plain: Rate) -> Rate:
        """The same rate with an interval over tasks, where it is a share of the calls; codes of turns keep theirs."""
        parts = self.parts(str(code)).values()
        is_share = all(hits <= calls for hits, calls in parts) and sum(hits for hits, _ in parts) == plain.count
        return clustered(parts, per=100) if is_share else plain


def task_of(trajectory: Trajectory) -> str:
    """A task's name: world, split and seed, or its own id; a trajectory whose task is not known stands alone."""
    keys = (trajectory.task.get(name) for name in ("seed", "id"))
    key = next((key for key in keys if isinstance(key, (str, int))), trajectory.id)
    split = trajectory.task.get("split")
    return "/".join(str(part) for part in (trajectory.env, split, key) if part not in (None, ""))


def passes(tried: Iterable[tuple[int, int]]) -> Iterator[Pass]:
    """pass@k and pass^k for each k up to the fewest attempts that a task has, from (attempts, solved) by task."""
    tasks = [(n, c) for n, c in tried if n]
    for k in range(1, min((n for n, _ in tasks), default=0) + 1):
        at, hat = (fmean(chance(n, c, k) for n, c in tasks) for chance in (pass_at_k, pass_hat_k))
        yield Pass(k=k, at=at, hat=hat)


def parts_by_turn(trajectory: Trajectory, wrong: Iterable[Finding]) -> Iterator[Part]:
    """For each turn its invalid calls, and its calls; a turn whose call can't be read has one, an invalid one."""
    invalid: dict[int, set[int | None]] = {}
    for finding in wrong:
        if finding.code in INVALID_CALL_CODES:
            invalid.setdefault(finding.message_index, set()).add(finding.call_index)
    for index, message in enumerate(trajectory.messages):
        if message.get("role") == "assistant":
            blamed = invalid.get(index, set())
            yield len(blamed), len(calls_of(message)) + (None in blamed)


def _add(parts: dict[str, Part], task: str, part: Part) -> None:
    hits, total = parts.get(task, (0, 0))
    parts[task] = hits + part[0], total + part[1]
