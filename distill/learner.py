"""One round of learning: findings -> corrections -> hinted prefill -> update.

The student is moved to the teacher, who has read the hint, at the error tokens of erroneous turns. It never sees a hint
itself. In the same pass what it was sure of, whether it acts and what it answers are held to the start model
(`distill.anchor`).
`distill.preparing` says what there is to learn, `distill.lesson` what a step makes small; `distill.run` does what is
around it. Under torchrun each rank works on its share (`distill.ranks`, `distill.student`).
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from math import isfinite
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import torch

from critics.finding import Criticized
from critics.hints import HintStyle
from distill.adapter import adapted
from distill.alternatives import with_alternatives
from distill.anchor import Anchor, anchors, endless, held
from distill.config import HintKind, Scale, Update
from distill.correction import Correction
from distill.lesson import Lesson, Objective, Shares, Totals, holding
from distill.preparing import Preparation, Prepared, context_length, hint_effect
from distill.ranks import Ranks, micro_batches
from distill.remote import RemoteTeacher
from distill.rendered import with_tokens
from distill.sharing import checkpointed, why_not_shared
from distill.stale import Ratios, restate
from distill.state import load_state, save_state
from distill.student import Student
from distill.teacher import Reader, Teacher
from envs.context import ContextWriter
from tools import INVALID_CALL_CODES, ErrorCode
from tools.command import InputError

Watch = Callable[[int, int], None]

BETAS = (0.9, 0.95)
"""AdamW's. A long memory of squares would hold the large gradients of the first rounds against the last ones' small."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundFigures:
    """What one round did.

    `hint_effect` is, by code, the share of errors whose tokens at least halve in probability under the hint; `loss` the
    mean divergence of a correction (nats) over the round's steps, `anchor_loss` that of a held token, `reward_loss`
    that of the final reward, `losses` the divergence at each step. The update ended early where it was not `finite`.
    `read_whole` says why the model reads every hinted context whole, if it does.
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
    losses: tuple[float, ...] = ()
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

    def __init__(
        self,
        model: Any,
        writer: ContextWriter,
        update: Update,
        *,
        hint: HintKind = "real",
        style: HintStyle = "reminder",
        codes: Collection[ErrorCode] = INVALID_CALL_CODES,
        trusted: bool = True,
        seed: int = 0,
        scale: Scale | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        scale = scale or Scale()
        update.check()
        scale.check()
        self.writer, self.update, self.seed = writer, update, seed
        self.micro_batch = scale.micro_batch
        self.ranks = ranks or Ranks(cpu=model.device.type == "cpu")
        _check_together(update, scale)
        self.model = adapted(model, scale)
        self.teacher = (RemoteTeacher if update.teacher_by else Teacher)(self.model, update)
        if update.recompute:
            checkpointed(self.model)
        self.student = Student(self.model, scale, self.ranks)
        self.optimizer = torch.optim.AdamW(
            self.student.parameters(), lr=update.learning_rate, betas=BETAS, weight_decay=0.0
        )
        # Sharded ranks go through the model in step, so they must have as many passes.
        pass_tokens = 0 if self.student.sharded else update.pass_tokens
        self.objective = Objective(self.model, self.teacher, update, pass_tokens=pass_tokens)
        self.preparation = Preparation(
            writer=writer,
            teacher=self.teacher,
            update=update,
            ranks=self.ranks,
            hint=hint,
            style=style,
            codes=codes,
            trusted=trusted,
        )

    def save(self, folder: Path) -> None:
        """Everything that `load` needs to go on as if nothing had happened; all ranks call it."""
        save_state(folder, self.student, self.optimizer, self.teacher)

    def load(self, folder: Path) -> None:
        """Go on from what was saved. Raises InputError where it is of another model."""
        load_state(folder, self.student, self.optimizer, self.teacher)

    def set_rate(self, share: float) -> None:
        """Learn at a share of the configured learning rate from here on."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.update.learning_rate * share

    def refresh(self) -> None:
        """A teacher that was frozen becomes what the student is now."""
        with self.student.whole():
            self.teacher.refresh(self.model)

    def learn(
        self,
        criticized: Iterable[Criticized],
        *,
        number: int = 0,
        watch: Watch = lambda step, steps: None,
        ratios: Ratios | None = None,
    ) -> tuple[list[Correction], RoundFigures]:
        """Move the student; gives the corrections with their log-probs, and the round's figures.

        `number` is the round's, `watch` is told of every step, `ratios` say by how much stale tokens count. A loss that
        is no finite number ends the update before its step. Raises InputError where the teacher says no finite
        number, before the first step.
        """
        rng = Random(f"learner/{self.seed}/{number}")
        criticized = list(criticized)
        corrections, lessons, dropped = self.prepare(criticized, rng, ratios)
        anchored = self._anchors(self.teacher.start, criticized) if self.teacher.start else []
        if not self.update.detach:  # an anchor's tokens are where nothing is detached
            lessons = holding(lessons, anchored)
        losses = list(self._steps(lessons, anchored, rng, watch))
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
            losses=tuple(loss.corrections for loss in finite),
            read_whole=why_not_shared(self.teacher.model),
        )
        return corrections, figures

    def prepare(self, criticized: Iterable[Criticized], rng: Random, ratios: Ratios | None = None) -> Prepared:
        """Corrections, lessons, and what was dropped; nothing is updated. Raises InputError as `learn` does."""
        with self.student.whole():
            prepared = self.preparation(list(criticized), rng, ratios or {})
            shown = with_alternatives(self.model, self.teacher, self.writer, prepared.corrections)
        return prepared._replace(corrections=shown)

    def _anchors(self, start: Reader, criticized: Iterable[Criticized]) -> list[Anchor]:
        holding = [each for each in criticized if held(each)]
        with self.student.whole():
            return self.ranks.gathered(anchors(start, self.ranks.share(holding)))

    def _steps(self, lessons: Sequence[Lesson], held: Sequence[Anchor], rng: Random, watch: Watch) -> Iterator[Loss]:
        """Pass over the lessons in random minibatches; yields each step's loss.

        Beside those that hold nothing are as many anchors.
        """
        size = self.update.minibatch
        minibatches = [
            shuffled[start : start + size]
            for shuffled in (rng.sample(lessons, len(lessons)) for _ in range(self.update.epochs))
            for start in range(0, len(shuffled), size)
        ]
        beside = endless(held, rng)
        for step, minibatch in enumerate(minibatches, 1):
            loss = self._step(minibatch, list(islice(beside, sum(lesson.anchor is None for lesson in minibatch))))
            yield loss
            if not loss.finite:
                return
            watch(step, len(minibatches))

    def _step(self, minibatch: Sequence[Lesson], held: Sequence[Anchor]) -> Loss:
        """One step of the optimizer, or none where the loss is no finite number.

        A rank works on its share, in micro-batches, each in as many passes as it takes.
        """
        passes = list(self._passes(minibatch, held))
        sums = dict.fromkeys(Loss._fields, 0.0)
        for number, one_pass in enumerate(passes, 1):
            with self.student.gathering(last=number == len(passes)):
                loss, shares = self.student.loss(one_pass)
                (loss * self.ranks.world).backward()  # the ranks' gradients are averaged
            for name, share in shares.items():
                sums[name] += share
        said = Loss(*self.ranks.summed(list(sums.values()), self.model.device))
        if said.finite:
            torch.nn.utils.clip_grad_norm_(self.student.parameters(), self.update.max_gradient)
            self.optimizer.step()
            self.teacher.follow(self.model)
        self.optimizer.zero_grad()
        return said

    def _passes(self, minibatch: Sequence[Lesson], held: Sequence[Anchor]) -> Iterator[Callable[[], Any]]:
        """This rank's passes of a step, each of which gives its part of the loss, and its shares as numbers."""
        totals = Totals.of(minibatch, held)
        weights = {"corrections": self.update.correct, "anchors": self.update.anchor, "reward": self.update.sampled}

        def weighed(one_pass: Callable[[], Shares], counts: bool) -> tuple[torch.Tensor, dict[str, float]]:
            shares = {name: share * counts for name, share in one_pass().items()}
            loss = torch.stack([weights[name] * share for name, share in shares.items()]).sum()
            return loss, {name: share.item() for name, share in shares.items()}

        for part in micro_batches(minibatch, held, self.ranks, self.micro_batch):
            for one_pass in self.objective.of_lessons_in(part.items, totals):
                yield partial(weighed, one_pass, part.items_count)
            for one_pass in self.objective.of_anchors_in(part.beside, totals):
                yield partial(weighed, one_pass, part.beside_counts)


def _check_together(update: Update, scale: Scale) -> None:
    """Raises InputError for an update that can't be made in this way of spreading a model."""
    if scale.spread == "fsdp2" and update.teacher == "ema":
        raise InputError("an ema teacher is no whole model under fsdp2: choose another teacher, or ddp")
    if scale.spread == "fsdp2" and update.detach:
        raise InputError(
            "--detach takes a trajectory at a time, and fsdp2 needs as many passes on each device: use ddp"
        )
    if scale.lora and update.refresh:
        raise InputError("--refresh needs a second model, which --lora does without: leave out one of them")


def update(
    model: Any, tokenizer: Any, criticized: Iterable[Criticized], *, config: Update | None = None, seed: int = 0
) -> RoundFigures:
    """One update of `model`, in place, from trajectories and findings of anywhere; gives the figures of what it did.

    `model` is a causal language model of transformers, `tokenizer` its own, with a chat template. A trajectory without
    turns gets them from its messages; and the model is asked for the log-probs of all turns, whoever said them. What
    can't be learnt from is dropped, and counted in `dropped` with its reason. For several updates, with guards and
    evaluations, there is `Learner`, and `distill.run`. Raises InputError for a tokenizer that has no chat template.
    """
    stops = getattr(model.generation_config, "eos_token_id", None) if hasattr(model, "generation_config") else None
    writer = ContextWriter(
        tokenizer,
        model_type=model.config.model_type,
        stop_ids=stops if isinstance(stops, list) else [stops] if stops is not None else [],
    )
    rendered, dropped = with_tokens(criticized, writer)
    learner = Learner(model, writer, config or Update(), seed=seed)
    with learner.student.whole():
        restated = restate(model, [trajectory for trajectory, _ in rendered], longest=context_length(model))
    again = zip(restated.trajectories, (findings for _, findings in rendered), strict=True)
    _, figures = learner.learn(again)
    return replace(figures, dropped={**figures.dropped, **dropped})
