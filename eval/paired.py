"""Two sets of trajectories of the same tasks, brought together task by task, and what chance says of their differences.

Of a trajectory, counts are kept, its findings, and the tokens of its right turns: no texts, so that memory stays small.
Left out: which figures are compared (`eval.compare`).
"""

import re
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import erfc, sqrt
from pathlib import Path

from msgspec.structs import replace

from critics.finding import WARNING, Criticized, Finding
from critics.rates import Amount, calls_in
from envs.trajectory import StopReason, Trajectory
from eval.leaderboard import criticized_in
from eval.standing import task_of
from tools import INVALID_CALL_CODES, ErrorCode

FLIPS = 10_000
"""So many random flips a p-value comes from."""
MANY = 1_000
"""With so many tasks the sum of flipped parts is as good as normal, and none is drawn."""

_HINT_WORD = re.compile(r"\bhint(s|ed)?\b", re.IGNORECASE)
"""A student never reads a hint; one that speaks of hints has learnt the words instead of the lesson."""


@dataclass(frozen=True, slots=True)
class RightTurn:
    """A turn in which nothing is wrong: a mark of the context that it was written in, its tokens and log-probs."""

    context: int
    token_ids: Sequence[int]
    logprobs: Sequence[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One trajectory in figures. `bare` is the trajectory without its texts, with its findings."""

    bare: Criticized
    codes: Counter[ErrorCode]
    invalid: int
    calls: int
    turns: int
    hint_words: int
    tokens: int
    logprob: float
    right: Sequence[RightTurn]

    @property
    def known(self) -> bool:
        """Whether its world is known, and so whether it was solved."""
        return bool(self.bare[0].env)

    @property
    def solved(self) -> bool:
        return self.known and self.bare[0].success

    @classmethod
    def of(cls, trajectory: Trajectory, findings: Sequence[Finding]) -> "Attempt":
        wrong = [part for part in findings if part.confidence != WARNING]
        places = {(part.code, part.message_index, part.call_index) for part in wrong}
        written = [part for part in trajectory.messages if part.get("role") == "assistant"]
        return cls(
            bare=(replace(trajectory, tools=(), messages=(), turns=()), wrong),
            codes=Counter(code for code, _, _ in places),
            invalid=len({(index, call) for code, index, call in places if code in INVALID_CALL_CODES}),
            calls=calls_in(trajectory, findings),
            turns=len(written),
            hint_words=sum(bool(_HINT_WORD.search(str(part.get("content") or ""))) for part in written),
            tokens=sum(len(turn.token_ids) for turn in trajectory.turns),
            logprob=sum(sum(turn.logprobs) for turn in trajectory.turns),
            right=list(_right_turns(trajectory, {part.message_index for part in wrong})),
        )


def _right_turns(trajectory: Trajectory, wrong: set[int]) -> Iterator[RightTurn]:
    context = 0
    for turn in trajectory.turns:
        context = hash((context, tuple(turn.prompt_ids)))
        if turn.message_index not in wrong:
            yield RightTurn(context, array("q", turn.token_ids), array("f", turn.logprobs))
        context = hash((context, tuple(turn.token_ids)))


@dataclass(slots=True, kw_only=True)
class Side:
    """One of the two: attempts by task, in the order of the file. A task's name has its world, split and seed."""

    path: Path
    tasks: dict[str, list[Attempt]] = field(default_factory=dict)
    policies: Counter[str] = field(default_factory=Counter)
    sets: Counter[str] = field(default_factory=Counter)
    faults: int = 0

    @classmethod
    def read(cls, path: Path) -> "Side":
        """Raises InputError for a file that can't be read or has no trajectories."""
        side = cls(path=path)
        for trajectory, findings in criticized_in(path):
            if trajectory.stop_reason == StopReason.INFRASTRUCTURE_FAULT:
                side.faults += 1
                continue
            side.policies[trajectory.policy or path.name] += 1
            side.sets[_set_of(trajectory)] += 1
            side.tasks.setdefault(task_of(trajectory), []).append(Attempt.of(trajectory, findings))
        return side

    def seen(self) -> str:
        """Which tasks there are, in a few words."""
        sets = ", ".join(f"{count} of {name}" for name, count in self.sets.most_common(3))
        return f"{self.path} has {len(self.tasks)} tasks ({sets or 'all ended by faults'})"


def _set_of(trajectory: Trajectory) -> str:
    return f"{trajectory.env or 'a world not known'} {trajectory.task.get('split') or ''}".strip()


def flip_p(before: Mapping[str, Amount], after: Mapping[str, Amount], *, seed: int = 0) -> float | None:
    """How often chance alone makes a difference of two ratios as large as this: the two-sided p-value, at least 1e-4.

    Each task adds its part to the difference: s = (y2 - R n2) / N2 - (y1 - R n1) / N1, with R the ratio of both sides
    together. If nothing had changed, either sign of a part would be as likely; so signs are flipped at random. Swapping
    the counts themselves would not do: where one side makes fewer calls, that alone would look like a difference of
    rates. None without two tasks that both have, or where all of a side's totals are 0.
    Sources: R. A. Fisher, "The design of experiments" (1935); B. Phipson and G. K. Smyth, "Permutation p-values should
    never be zero", Stat. Appl. Genet. Mol. Biol. 9 (2010).
    """
    import numpy as np  # the help has to come at once

    tasks = [task for task in before if task in after]
    if len(tasks) < 2:
        return None
    first_T2, second_T2 = (np.array([side[task] for task in tasks], dtype=float) for side in (before, after))
    first_2, second_2 = first_T2.sum(0), second_T2.sum(0)
    if not (first_2[1] and second_2[1]):
        return None
    ratio_2 = np.array([1.0, -(first_2[0] + second_2[0]) / (first_2[1] + second_2[1])])
    parts_T = second_T2 @ ratio_2 / second_2[1] - first_T2 @ ratio_2 / first_2[1]
    real = abs(parts_T.sum()) * (1 - 1e-9) - 1e-12
    if len(tasks) >= MANY:
        spread = float(np.sqrt((parts_T**2).sum()))
        return max(1 / (FLIPS + 1), erfc(max(0.0, real) / spread / sqrt(2))) if spread else 1.0
    random, extreme, left = np.random.default_rng(seed), 0, FLIPS
    while left:
        some = min(left, max(1, 2_000_000 // len(tasks)))
        signs_ST = 2.0 * random.integers(0, 2, (some, len(tasks)), dtype=np.int8) - 1.0
        extreme += int((np.abs(signs_ST @ parts_T) >= real).sum())
        left -= some
    return (extreme + 1) / (FLIPS + 1)


def holm(values: Mapping[str, float | None]) -> dict[str, float | None]:
    """p-values of several questions asked at once, so adjusted that the chance of any false alarm stays as said.

    Source: S. Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6 (1979).
    """
    known = sorted((value, name) for name, value in values.items() if value is not None)
    adjusted: dict[str, float | None] = dict.fromkeys(values)
    least = 0.0
    for place, (value, name) in enumerate(known):
        least = max(least, min(1.0, value * (len(known) - place)))
        adjusted[name] = least
    return adjusted


def shift(pairs: Iterable[tuple[Attempt, Attempt]]) -> Amount:
    """Log-prob before minus after, summed over tokens of right turns that both wrote in the same context, and how many.

    It is 0 where nothing has moved. It sees only tokens that both sampled, so it is no KL divergence.
    """
    moved, tokens = 0.0, 0
    for was, is_ in pairs:
        turns = {turn.context: turn for turn in is_.right}
        for first in was.right:
            second = turns.get(first.context)
            for place, token in enumerate(first.token_ids if second else ()):
                assert second is not None
                if place >= len(second.token_ids) or second.token_ids[place] != token:
                    break
                moved += first.logprobs[place] - second.logprobs[place]
                tokens += 1
    return moved, tokens
