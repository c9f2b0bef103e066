"""One round of learning: rollouts -> findings -> corrections -> hinted prefill -> update.

The plain form of the method. The teacher is the frozen start model over the hinted context; the student is moved to it
by forward KL at the error tokens only, and never sees a hint. Left out: other teachers, scopes and divergences, guards
that undo a round, reward beside it.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import groupby
from math import log
from random import Random
from typing import Any

import torch

from critics.finding import CERTAIN, Finding
from critics.hints import joined, placebo
from distill.config import HintKind, Update
from distill.correction import Correction, Unbindable, bind
from distill.divergence import forward_kl
from distill.prefill import Span, logprobs_at, prefilled
from envs.context import ContextWriter
from envs.trajectory import Trajectory
from tools import INVALID_CALL_CODES

Criticized = tuple[Trajectory, Sequence[Finding]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundFigures:
    """What one round did. `hint_effect` is, by code, the share of corrections whose error at least halved under the
    hint; `loss` the mean KL of a correction (nats) over the round's steps."""

    corrections: int
    admitted: int
    dropped: dict[str, int]
    hint_effect: dict[str, float]
    loss: float
    steps: int


class Learner:
    """A student, its frozen teacher, and the optimizer; `learn` makes one round's update from criticized trajectories.

    `model` is trained in place. Deterministic for the same seed, trajectories and machine.
    """

    def __init__(self, model: Any, writer: ContextWriter, update: Update, *, hint: HintKind = "real", seed: int = 0):
        update.check()
        self.model, self.writer, self.update, self.hint = model, writer, update, hint
        self.teacher = deepcopy(model).eval().requires_grad_(False)
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=update.learning_rate, weight_decay=0.0)
        self.rng = Random(f"learner/{seed}")

    def corrections(self, criticized: Iterable[Criticized]) -> tuple[list[Correction], Counter[str]]:
        """A correction for each turn with invalid calls, and how many turns could not be bound, by reason."""
        corrections: list[Correction] = []
        dropped: Counter[str] = Counter()
        longest = self.model.config.max_position_embeddings
        for trajectory, findings in criticized:
            for turn_findings in by_turn(findings):
                hint = placebo(self.rng) if self.hint == "placebo" else joined(f.hint for f in turn_findings)
                try:
                    corrections.append(bind(trajectory, turn_findings, hint, self.writer, longest=longest))
                except Unbindable as reason:
                    dropped[str(reason)] += 1
        return corrections, dropped

    def learn(
        self, criticized: Iterable[Criticized], watch: Callable[[int, int], None] = lambda step, steps: None
    ) -> tuple[list[Correction], RoundFigures]:
        """Move the student; gives the corrections with their log-probs, and the round's figures.

        `watch` is told of every step. Raises FloatingPointError, the student unchanged by that step, if a loss is NaN.
        """
        bound, dropped = self.corrections(criticized)
        teachers = prefilled(self.teacher, [teacher_span(correction) for correction in bound])
        scored = [scored_by(teacher, correction) for correction, teacher in zip(bound, teachers, strict=True)]
        refused = sum(not correction.admitted for correction in scored)
        if refused:
            dropped["the hint did not lower the error"] = refused
        admitted = [pair for pair in zip(scored, teachers, strict=True) if pair[0].admitted]
        losses = list(self._steps(admitted, watch))
        figures = RoundFigures(
            corrections=len(scored),
            admitted=len(admitted),
            dropped=dict(dropped),
            hint_effect=hint_effect(scored),
            loss=sum(losses) / max(1, len(losses)),
            steps=len(losses),
        )
        return scored, figures

    def _steps(
        self, admitted: Sequence[tuple[Correction, torch.Tensor]], watch: Callable[[int, int], None]
    ) -> Iterator[float]:
        """Pass over the corrections in random minibatches; yields each step's loss, in nats a correction."""
        size = self.update.minibatch
        minibatches = [
            shuffled[start : start + size]
            for shuffled in (self.rng.sample(admitted, len(admitted)) for _ in range(self.update.epochs))
            for start in range(0, len(shuffled), size)
        ]
        for step, minibatch in enumerate(minibatches, 1):
            yield self._step(minibatch)
            watch(step, len(minibatches))

    def _step(self, minibatch: Sequence[tuple[Correction, torch.Tensor]]) -> float:
        student_NV = logprobs_at(self.model, [student_span(correction) for correction, _ in minibatch])
        teacher_NV = torch.cat([teacher for _, teacher in minibatch])
        loss = forward_kl(teacher_NV, student_NV).sum() / len(minibatch)
        if not torch.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss.item()}: lower the learning rate")
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.update.max_gradient)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.item()


def scored_by(teacher_NV: torch.Tensor, correction: Correction) -> Correction:
    """The correction with the teacher's log-probs; admitted if the hint lowers the error tokens as a whole."""
    tokens = [correction.plain_ids[position] for position in correction.error_tokens]
    teacher: list[float] = teacher_NV[torch.arange(len(tokens)), tokens].tolist()
    admitted = sum(teacher) < sum(correction.student_logprobs)
    return replace(correction, teacher_logprobs=teacher, admitted=admitted)


def by_turn(findings: Sequence[Finding]) -> Iterator[list[Finding]]:
    """The findings that make a call invalid, turn by turn; warnings and other codes are not trained on."""
    trained = [f for f in findings if f.code in INVALID_CALL_CODES and f.confidence == CERTAIN]
    ordered = sorted(trained, key=lambda finding: finding.message_index)
    for _, group in groupby(ordered, key=lambda finding: finding.message_index):
        yield list(group)


def hint_effect(corrections: Iterable[Correction]) -> dict[str, float]:
    """By code, the share of corrections whose error tokens at least halve in probability under the hint."""
    halved: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for correction in corrections:
        for code in correction.codes:
            counts[code] += 1
            fall = sum(correction.student_logprobs) - sum(correction.teacher_logprobs)
            halved[code] += fall >= log(2)
    return {code: halved[code] / counts[code] for code in sorted(counts)}


def student_span(correction: Correction) -> Span:
    """The error tokens in the plain context."""
    return _cut(correction.plain_ids, correction.error_tokens)


def teacher_span(correction: Correction) -> Span:
    """The error tokens in the hinted context."""
    return _cut(correction.hinted_ids, correction.hinted_error_tokens)


def _cut(ids: Sequence[int], positions: Sequence[int]) -> Span:
    """Without what comes after the last asked token: a causal model's distributions don't depend on it."""
    return Span(ids[: positions[-1]], positions)
