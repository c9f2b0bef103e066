"""What must not move while errors are trained away, and the guard that undoes a round that moves it.

The rate of errors also falls when a model stops acting, breaks its calls, or answers too early. So a round is followed
by a look at success, valid calls per task and malformed calls on a few training tasks, and at the divergence from the
start model on turns that were right. Held-out tasks are never looked at here: they would choose the model.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from critics.finding import Criticized, Finding
from critics.rates import Part, by_task, difference, measure
from distill.config import Band
from distill.divergence import forward_kl
from distill.head import Head, divergences
from distill.prefill import Trunk, plain_hidden
from envs import ToolEnv, Trajectory, calls_of, make
from tools import ErrorCode

PROBE_TOKENS = 8_192
"""The most tokens of a probe: every round they are gone through once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Divergences:
    """KL(start || now) in nats a token: on calls where no habit applies, and on final answers."""

    clean: float
    final: float


class Probe:
    """The turns on which a model should stay as it is, with the start model's hidden states there, and its head.

    They are its own, from tasks that it solved: final answers, and right calls where none of the world's habits would
    be a mistake. (Where one would be, an untrained error's share of the distribution is meant to go.)
    """

    def __init__(self, model: Any, criticized: Sequence[Criticized]) -> None:
        self.trunks: list[Trunk] = []
        self.final: list[torch.Tensor] = []
        asked = 0
        for trajectory, findings in criticized:
            calls, answer = right_turns(trajectory, findings)
            asked += len(calls) + len(answer)
            if not calls and not answer:
                continue
            if asked > PROBE_TOKENS:
                break
            last = len(trajectory.turns) - 1
            ids = [*trajectory.prompt_ids(last), *trajectory.turns[last].token_ids]
            self.trunks.append(Trunk(ids, [*calls, *answer]))
            self.final.append(torch.tensor([False] * len(calls) + [True] * len(answer)))
        self.start, self.head = dict(plain_hidden(model, self.trunks)), Head(model).kept()

    def divergences(self, model: Any) -> Divergences:
        """How far a model has moved from the start; 0 where the probe has no such turns."""
        sums, counts = [0.0, 0.0], [0, 0]
        for place, now_ND in plain_hidden(model, self.trunks):
            with torch.no_grad():
                moved_N = divergences(forward_kl, self.head, self.start[place], Head(model), now_ND).cpu()
            for final in (False, True):
                of_kind_N = self.final[place] == final
                sums[final] += float(moved_N[of_kind_N].sum())
                counts[final] += int(of_kind_N.sum())
        clean, final_ = (total / max(1, count) for total, count in zip(sums, counts, strict=True))
        return Divergences(clean=clean, final=final_)


def right_turns(trajectory: Trajectory, findings: Sequence[Finding]) -> tuple[list[int], list[int]]:
    """The token positions of a solved trajectory's right calls where no habit applies, and of its final answer.

    The world is played again to know where habits apply. Both are empty for an unsolved one.
    """
    if not (trajectory.success and trajectory.turns):
        return [], []
    wrong = {finding.message_index for finding in findings}
    calls: list[int] = []
    answer: list[int] = []
    habits = [bool(env.applicable_habits) for _, env in played_again(trajectory)]
    position = 0
    for turn, applicable in zip(trajectory.turns, habits, strict=True):
        start = position + len(turn.prompt_ids)
        position = start + len(turn.token_ids)
        if not calls_of(trajectory.messages[turn.message_index]):
            answer = list(range(start, position))
        elif not applicable and turn.message_index not in wrong:
            calls += range(start, position)
    return calls, answer


def played_again(trajectory: Trajectory) -> Iterator[tuple[int, ToolEnv]]:
    """The trajectory's world as it stood before each assistant message, with that message's index.

    Raises InputError or KeyError where there is no such world or task.
    """
    env = make(trajectory.env, split=trajectory.task["split"])
    try:
        env.reset(seed=trajectory.task["seed"])
        for index, message in enumerate(trajectory.messages):
            if message["role"] == "assistant":
                yield index, env
                env.step(message)
    finally:
        env.close()


def broken(start: Sequence[Criticized], now: Sequence[Criticized], moved: Divergences, band: Band) -> list[str]:
    """Why a round is undone: each figure that has left its band, in words. `start` and `now` are the same tasks."""
    reasons: list[str] = []
    if band.off:
        return reasons
    if not moved.clean <= band.clean_divergence:
        reasons.append(f"divergence on right calls is {moved.clean:.3f} nats a token")
    if not moved.final <= band.final_divergence:  # nor if it is no number
        reasons.append(f"divergence on final answers is {moved.final:.3f} nats a token")
    if not now:
        return reasons
    before, after = measure(start), measure(now)
    success = difference(_solved(start), _solved(now))
    if success.high < -band.success:
        reasons.append(f"success fell from {before.success.rate:.0%} to {after.success.rate:.0%}")
    if after.valid_calls_per_task < band.valid_calls * before.valid_calls_per_task:
        fell = f"{before.valid_calls_per_task:.2f} to {after.valid_calls_per_task:.2f}"
        reasons.append(f"valid calls per task fell from {fell}")
    was, is_ = (figures.codes.get(ErrorCode.MALFORMED_CALL) for figures in (before, after))
    if is_ and is_.low > (was.rate if was else 0.0) + band.malformed:
        reasons.append(f"malformed calls rose to {is_.rate:.1f} per 100")
    return reasons


def _solved(criticized: Sequence[Criticized]) -> dict[str, Part]:
    return {task: measured.solved for task, measured in by_task(criticized).items()}
