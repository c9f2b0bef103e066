"""One round of learning: findings -> corrections -> hinted prefill -> update.

The student is moved to the teacher, who has read the hint, at the error tokens of erroneous turns. It never sees a hint
itself. Beside it, whether it acts and what it answers in the end are held to the start model (`distill.anchor`).
`distill.lesson` says what a step makes small, `distill.run` does the rollouts and the evaluation around it.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import groupby, islice
from math import isfinite, log
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator

from critics.finding import CERTAIN, Criticized, Finding
from critics.hints import joined, placebo
from distill.anchor import Anchor, anchors, endless
from distill.config import HintKind, Update
from distill.correction import Correction, Unbindable, bind, by_trunk, checked, sampled_trunk, trunk_of
from distill.head import Head, strange_head
from distill.lesson import Lesson, Objective, Sampled
from distill.prefill import Trunk, hinted_hidden
from distill.reward import advantages
from distill.sharing import checkpointed, why_not_shared
from distill.teacher import Teacher
from envs import StopReason, Trajectory
from envs.context import ContextWriter
from tools import INVALID_CALL_CODES
from tools.command import InputError

Watch = Callable[[int, int], None]

BETAS = (0.9, 0.95)
"""AdamW's. A long memory of squares would hold the large gradients of the first rounds against the last ones' small."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundFigures:
    """What one round did.

    `hint_effect` is, by code, the share of errors whose tokens at least halve in probability under the hint; `loss` the
    mean divergence of a correction (nats) over the round's steps, `anchor_loss` that of a held token, `reward_loss`
    that of the final reward. The update ended early where it was not `finite`. `read_whole` says why the model reads
    every hinted context whole, if it does.
    """

    corrections: int
    admitted: int
    dropped: dict[str, int]
    hint_effect: dict[str, float]
    loss: float
    anchor_loss: float
    steps: int
    finite: bool = True
    reward_loss: float = 0.0
    read_whole: str = ""


class Loss(NamedTuple):
    """A step's divergences in nats: of a correction from its teacher, of an anchor's token from the start model; and
    the reward's loss."""

    corrections: float = 0.0
    anchors: float = 0.0
    reward: float = 0.0

    @property
    def finite(self) -> bool:
        return isfinite(sum(self))


class Learner:
    """A student, its teacher, and the optimizer; `learn` makes one round's update from criticized trajectories.

    `model` is trained in place. Deterministic for the same seed, trajectories and machine.
    """

    def __init__(self, model: Any, writer: ContextWriter, update: Update, *, hint: HintKind = "real", seed: int = 0):
        update.check()
        self.writer, self.update, self.hint, self.seed = writer, update, hint, seed
        self.teacher = Teacher(model, update)
        if update.recompute:
            checkpointed(model)
        self.accelerator = Accelerator(cpu=model.device.type == "cpu")
        optimizer = torch.optim.AdamW(model.parameters(), lr=update.learning_rate, betas=BETAS, weight_decay=0.0)
        self.model, self.optimizer = self.accelerator.prepare(model, optimizer)
        self.accelerator.register_for_checkpointing(self.teacher)

    def save(self, folder: Path) -> None:
        """Everything that `load` needs to go on as if nothing had happened."""
        self.accelerator.save_state(str(folder))

    def load(self, folder: Path) -> None:
        self.accelerator.load_state(str(folder))

    def set_rate(self, share: float) -> None:
        """Learn at a share of the configured learning rate from here on."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.update.learning_rate * share

    def learn(
        self, criticized: Iterable[Criticized], *, number: int = 0, watch: Watch = lambda step, steps: None
    ) -> tuple[list[Correction], RoundFigures]:
        """Move the student; gives the corrections with their log-probs, and the round's figures.

        `number` is the round's, `watch` is told of every step. A loss that is no finite number ends the update before
        its step. Raises InputError where the teacher says no finite number, before the first step.
        """
        rng = Random(f"learner/{self.seed}/{number}")
        criticized = list(criticized)
        corrections, lessons, dropped = self.prepare(criticized, rng)
        start = self.teacher.start
        held = anchors(start, (trajectory for trajectory, _ in criticized)) if start else []
        losses = list(self._steps(lessons, held, rng, watch))
        finite = [loss for loss in losses if loss.finite]
        figures = RoundFigures(
            corrections=len(corrections),
            admitted=sum(correction.admitted for correction in corrections),
            dropped=dict(dropped),
            hint_effect=hint_effect(corrections),
            loss=sum(loss.corrections for loss in finite) / max(1, len(finite)),
            anchor_loss=sum(loss.anchors for loss in finite) / max(1, len(finite)),
            steps=len(finite),
            finite=len(finite) == len(losses),
            reward_loss=sum(loss.reward for loss in finite) / max(1, len(finite)),
            read_whole=why_not_shared(self.teacher.model),
        )
        return corrections, figures

    def prepare(
        self, criticized: Iterable[Criticized], rng: Random
    ) -> tuple[list[Correction], list[Lesson], Counter[str]]:
        """Corrections with the teacher's log-probs, what is to be learnt, and how many turns were dropped and why.

        Nothing is updated. Raises InputError where the teacher says no finite number, and for a model whose logits
        can't be made of its hidden states.
        """
        self._look_at_model()
        criticized = list(criticized)
        bound, dropped = self._bind(criticized, rng)
        groups = by_trunk(bound)
        trunks = [trunk_of(group, "turn") for group in groups]
        corrections: list[Correction] = []
        lessons: dict[str, Lesson] = {}
        with self.teacher.reading():
            for place, teacher_ND in hinted_hidden(self.teacher.model, trunks, tokens=self.update.pass_tokens):
                scored = _scored(groups[place], teacher_ND, self.teacher.head, least_fall=-log(self.update.admit))
                corrections += [correction for correction, _ in scored]
                if admitted := [pair for pair in scored if pair[0].admitted]:
                    lessons[admitted[0][0].id] = self._lesson(admitted)
        if refused := sum(not correction.admitted for correction in corrections):
            dropped["the hint did not lower the error enough"] = refused
        if self.update.reward:
            lessons.update(self._rewarded([trajectory for trajectory, _ in criticized], lessons, dropped))
        return corrections, list(lessons.values()), dropped

    def _look_at_model(self) -> None:
        """Say what is slow with this model; raises InputError for what would be wrong."""
        with self.teacher.reading():
            if strange_head(self.teacher.model):
                raise InputError(
                    "the model does something to its logits that is not known here: add it to distill.head"
                )
        if reason := why_not_shared(self.teacher.model):
            _say_once(f"every hinted context is read whole, since {reason}")

    def _bind(self, criticized: Iterable[Criticized], rng: Random) -> tuple[list[Correction], Counter[str]]:
        turns = [(trajectory, group) for trajectory, findings in criticized for group in by_turn(findings)]
        hints = given([joined(finding.hint for finding in group) for _, group in turns], self.hint, rng)
        longest = self._longest
        bound: list[Correction] = []
        dropped: Counter[str] = Counter()
        for (trajectory, group), hint in zip(turns, hints, strict=True):
            try:
                bound.append(bind(trajectory, group, hint, self.writer, longest=longest))
            except Unbindable as reason:
                dropped[str(reason)] += 1
        return bound, dropped

    @property
    def _longest(self) -> int:
        """The longest context of the model, in tokens; what says nothing of it has none."""
        config = self.model.config.get_text_config()
        return int(getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None) or 2**20)

    def _lesson(self, admitted: Sequence[tuple[Correction, torch.Tensor]]) -> Lesson:
        corrections = [correction for correction, _ in admitted]
        rows = [
            teacher_TD[[position - correction.target[0] for position in correction.asked(self.update.scope)]]
            for correction, teacher_TD in admitted
        ]
        stays = None if self.teacher.moves else torch.cat(rows)
        return Lesson(trunk_of(corrections, self.update.scope).cut(), len(corrections), stays)

    def _rewarded(
        self, trajectories: Sequence[Trajectory], lessons: Mapping[str, Lesson], dropped: Counter[str]
    ) -> Iterator[tuple[str, Lesson]]:
        """The trajectories that were better or worse than others of their task; those with corrections keep them."""
        tried = [one for one in trajectories if one.turns and one.stop_reason != StopReason.INFRASTRUCTURE_FAULT]
        tasks = [(one.env, one.task.get("split"), one.task.get("seed", one.id)) for one in tried]
        for trajectory, advantage in zip(tried, advantages([one.reward for one in tried], tasks), strict=True):
            if not advantage:
                continue
            trunk = sampled_trunk(trajectory)
            try:
                for turn in trajectory.turns:
                    checked(turn, self.writer)
                if len(trunk.ids) > self._longest:
                    raise Unbindable("the trajectory is longer than the model's context")
            except Unbindable as reason:
                dropped[f"reward: {reason}"] += 1
                continue
            logprobs = [logprob for turn in trajectory.turns for logprob in turn.logprobs]
            sampled = Sampled([trunk.ids[position] for position in trunk.asked], logprobs, advantage)
            lesson = lessons.get(trajectory.id) or Lesson(Trunk(trunk.ids), 0)
            asked = [*lesson.trunk.asked, *trunk.asked]
            yield trajectory.id, lesson._replace(trunk=Trunk(trunk.ids, asked, lesson.trunk.branches), sampled=sampled)

    def _steps(self, lessons: Sequence[Lesson], held: Sequence[Anchor], rng: Random, watch: Watch) -> Iterator[Loss]:
        """Pass over the lessons in random minibatches, each with as many anchors beside it; yields each step's loss."""
        size = self.update.minibatch
        minibatches = [
            shuffled[start : start + size]
            for shuffled in (rng.sample(lessons, len(lessons)) for _ in range(self.update.epochs))
            for start in range(0, len(shuffled), size)
        ]
        beside = endless(held, rng)
        for step, minibatch in enumerate(minibatches, 1):
            loss = self._step(minibatch, list(islice(beside, len(minibatch))))
            yield loss
            if not loss.finite:
                return
            watch(step, len(minibatches))

    def _step(self, minibatch: Sequence[Lesson], held: Sequence[Anchor]) -> Loss:
        """One step of the optimizer, or none where the loss is no finite number."""
        weights = {"corrections": 1.0, "anchors": self.update.anchor, "reward": self.update.reward}
        sums: dict[str, float] = dict.fromkeys(weights, 0.0)
        for shares in Objective(self.model, self.teacher, self.update)(minibatch, held):
            for name, share in shares.items():
                sums[name] += share.item()
            if not Loss(**sums).finite:
                self.optimizer.zero_grad()
                return Loss(**sums)
            self.accelerator.backward(sum(weights[name] * share for name, share in shares.items()))
        self.accelerator.clip_grad_norm_(self.model.parameters(), self.update.max_gradient)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.teacher.follow(self.model)
        return Loss(**sums)


def _scored(
    group: Sequence[Correction], teacher_ND: torch.Tensor, head: Head, *, least_fall: float
) -> list[tuple[Correction, torch.Tensor]]:
    """Each correction of a trunk with the teacher's log-probs, and with its hidden states at the target, [T, D].

    Admitted is one whose error tokens, taken together, fall by more than `least_fall` nats under the hint.
    """
    scored: list[tuple[Correction, torch.Tensor]] = []
    sizes = [len(correction.student_logprobs) for correction in group]
    for correction, teacher_TD in zip(group, teacher_ND.split(sizes), strict=True):
        turn = torch.tensor(correction.plain_ids[slice(*correction.target)], device=teacher_TD.device)
        with torch.no_grad():
            logprobs: list[float] = head.token_logprobs(teacher_TD, turn).tolist()
        if not all(map(isfinite, logprobs)):
            raise InputError("the model gives log-probs that are no finite numbers: is its checkpoint whole?")
        with_teacher = replace(correction, teacher_logprobs=logprobs)
        admitted = with_teacher.fall(with_teacher.error_tokens) > least_fall
        scored.append((replace(with_teacher, admitted=admitted), teacher_TD))
    return scored


@cache
def _say_once(warning: str) -> None:
    logging.getLogger(__name__).warning(warning)


def by_turn(findings: Sequence[Finding]) -> Iterator[list[Finding]]:
    """The findings that make a call invalid, turn by turn; warnings and other codes are not trained on."""
    trained = [f for f in findings if f.code in INVALID_CALL_CODES and f.confidence == CERTAIN]
    ordered = sorted(trained, key=lambda finding: finding.message_index)
    for _, group in groupby(ordered, key=lambda finding: finding.message_index):
        yield list(group)


def given(hints: Sequence[str], kind: HintKind, rng: Random) -> list[str]:
    """The hints that are inserted in place of the real ones: a control has something else there.

    A shuffled hint is another turn's, and of another text wherever there is one.
    """
    match kind:
        case "real":
            return list(hints)
        case "placebo":
            return [placebo(rng) for _ in hints]
        case "shuffled":
            return [rng.choice([other for other in hints if other != hint] or hints) for hint in hints]


def hint_effect(corrections: Iterable[Correction]) -> dict[str, float]:
    """By code, the share of errors whose tokens at least halve in probability under the hint."""
    halved: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for correction in corrections:
        for finding in correction.findings:
            counts[finding.code] += 1
            halved[finding.code] += correction.fall(finding.tokens) >= log(2)
    return {code: halved[code] / counts[code] for code in sorted(counts)}
