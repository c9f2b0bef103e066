"""What must not move while errors are trained away, and the guard that undoes a round that moves it.

The rate of errors also falls when a model stops acting, breaks its calls, or answers too early. So a round is followed
by a look at success, valid calls per task and malformed calls on a few training tasks, and at the divergence from the
start model on turns that were right. Held-out tasks are never looked at here: they would choose the model.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from critics.attempt import canonical
from critics.finding import Criticized, Finding
from critics.rates import Part, by_task, difference, measure
from distill.config import Band
from distill.divergence import forward_kl
from distill.head import Head, divergences
from distill.prefill import Trunk, plain_hidden
from envs import ToolEnv, Trajectory, calls_of, make
from tools import ErrorCode, ToolCall

PROBE_TOKENS = 8_192
"""The most tokens of a probe: every round they are gone through once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Divergences:
    """KL(start || now) in nats a token: on calls where no habit applies, and on final answers."""

    clean: float
    final: float


class Probe:
    """The turns on which a model should stay as it is, with the start model's hidden states there, and its head.

    They are its own: final answers of tasks that it solved, and right calls where none of the world's habits would be a
    mistake. (Where one would be, an untrained error's share of the distribution is meant to go.)
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
    """The token positions of a trajectory's right calls where no habit applies, and of a solved one's final answer.

    A call is right that nothing was found against, in an unsolved trajectory one that the world's expert would make.
    The world is played again to know.
    """
    wrong = {finding.message_index for finding in findings}
    calls: list[int] = []
    answer: list[int] = []
    position = 0
    played = played_again(trajectory) if trajectory.turns else ()
    for turn, (index, env) in zip(trajectory.turns, played, strict=True):
        start = position + len(turn.prompt_ids)
        position = start + len(turn.token_ids)
        message = trajectory.messages[index]
        if not calls_of(message):
            answer = list(range(start, position)) if trajectory.success else []
        elif index not in wrong and not env.applicable_habits:
            right = trajectory.success or _asked(message) == _asked(env.expert_action())
            calls += range(start, position) if right else ()
    return calls, answer


def _asked(message: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a message's calls ask for, however their JSON is written."""
    return [(call.name, canonical(call.arguments)) for call in map(ToolCall.from_openai, calls_of(message))]


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
