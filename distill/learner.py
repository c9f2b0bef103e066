"""One round of learning: findings -> corrections -> hinted prefill -> update.

The student is moved to the teacher, who has read the hint, at the error tokens of erroneous turns. It never sees a hint
itself. Beside it, whether it acts and what it answers in the end are held to the start model (`distill.anchor`).
`distill.run` does the rollouts and the evaluation around it. Under torchrun each rank scores its share of the
trajectories, and works on its share of each minibatch (`distill.ranks`, `distill.student`).
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby, islice
from math import isfinite, log
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import torch
from transformers.cache_utils import Cache

from critics.finding import CERTAIN, Criticized, Finding
from critics.gold import leaked
from critics.hints import HintStyle, joined, placebo
from distill.adapter import adapted
from distill.alternatives import with_alternatives
from distill.anchor import Anchor, anchors, endless, held, moved
from distill.config import HintKind, Scale, Update
from distill.correction import Correction, Unbindable, bind, by_trunk, trunk_of
from distill.divergence import DIVERGENCES
from distill.prefill import Trunk, hinted_prefill, on_branches, on_trunks
from distill.ranks import Ranks, micro_batches
from distill.rendered import with_tokens
from distill.stale import Ratios, restate
from distill.state import load_state, save_state
from distill.student import Student
from distill.teacher import Teacher
from envs.context import ContextWriter
from envs.policies.loading import longest_context
from tools import INVALID_CALL_CODES, ErrorCode
from tools.command import InputError

Watch = Callable[[int, int], None]

BETAS = (0.9, 0.95)
"""AdamW's. A long memory of squares would hold the large gradients of the first rounds against the last ones' small."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundFigures:
    """What one round did.

    `hint_effect` is, by code, the share of errors whose tokens at least halve in probability under the hint; `loss` the
    mean divergence of a correction (nats) over the round's steps, `anchor_loss` that of a held token, `losses` that of
    each step's corrections. The update ended early where it was not `finite`.
    """

    corrections: int
    admitted: int
    dropped: dict[str, int]
    hint_effect: dict[str, float]
    loss: float
    anchor_loss: float
    steps: int
    finite: bool = True
    losses: tuple[float, ...] = ()


class Lesson(NamedTuple):
    """A trajectory to learn from. `teacher_NV` has the teacher's log-probs at the N asked tokens, where they stay;
    `weights` is how much each of them counts where they are stale."""

    trunk: Trunk
    corrections: int
    teacher_NV: torch.Tensor
    weights: tuple[float, ...] = ()


class Loss(NamedTuple):
    """A step's divergences in nats: of a correction from its teacher, of an anchor's token from the start model."""

    corrections: float
    anchors: float


class Learner:
    """A student, its teacher, and the optimizer; `learn` makes one round's update from criticized trajectories.

    `model` is trained in place, on findings of the `codes`. Hints that are not `trusted`, since they come from outside,
    are looked at for what only the right path knows. Deterministic for the same seed, trajectories and machine.
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
        self.writer, self.update, self.hint, self.seed = writer, update, hint, seed
        self.style, self.codes, self.trusted = style, codes, trusted
        self.micro_batch = scale.micro_batch
        self.ranks = ranks or Ranks(cpu=model.device.type == "cpu")
        self.ratios: Ratios = {}
        if scale.spread == "fsdp2" and update.teacher == "ema":
            raise InputError("an ema teacher is no whole model under fsdp2: choose another teacher, or ddp")
        if scale.lora and update.refresh:
            raise InputError("--refresh needs a second model, which --lora does without: leave out one of them")
        self.model = adapted(model, scale)
        self.teacher = Teacher(self.model, update)
        self.student = Student(self.model, scale, self.ranks)
        self.optimizer = torch.optim.AdamW(
            self.student.parameters(), lr=update.learning_rate, betas=BETAS, weight_decay=0.0
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
        self.ratios = ratios or {}
        with self.student.whole():
            corrections, lessons, dropped = self.prepare(criticized, rng)
            anchored = self._anchors(criticized) if self.update.anchor else []
        losses = list(self._steps(lessons, anchored, rng, watch))
        finite = [loss for loss in losses if isfinite(loss.corrections + loss.anchors)]
        figures = RoundFigures(
            corrections=len(corrections),
            admitted=sum(correction.admitted for correction in corrections),
            dropped=dict(dropped),
            hint_effect=hint_effect(corrections),
            loss=sum(loss.corrections for loss in finite) / max(1, len(finite)),
            anchor_loss=sum(loss.anchors for loss in finite) / max(1, len(finite)),
            steps=len(finite),
            finite=len(finite) == len(losses),
            losses=tuple(loss.corrections for loss in finite),
        )
        return corrections, figures

    def _anchors(self, criticized: Iterable[Criticized]) -> list[Anchor]:
        solved = [trajectory for trajectory, _ in criticized if held(trajectory)]
        return self.ranks.gathered(anchors(self.teacher.start, self.ranks.share(solved)))

    def prepare(
        self, criticized: Iterable[Criticized], rng: Random
    ) -> tuple[list[Correction], list[Lesson], Counter[str]]:
        """Corrections with the teacher's log-probs, what is to be learnt, and how many turns were dropped and why.

        Nothing is updated. Raises InputError where the teacher says no finite number.
        """
        bound, dropped = self._bind(criticized, rng)
        groups = self.ranks.share(by_trunk(bound))
        trunks = [trunk_of(group, "turn") for group in groups]
        found: dict[int, tuple[int, list[Correction], list[Lesson]]] = {}
        for place, teacher_NV in hinted_prefill(self.teacher.model, trunks):
            scored = _scored(groups[place], teacher_NV, least_fall=-log(self.update.admit))
            admitted = [pair for pair in scored if pair[0].admitted]
            lessons = [self._lesson(admitted)] if admitted else []
            found[place] = len(trunks[place].ids), [correction for correction, _ in scored], lessons
        # By length, as one process goes through them, so that any number of ranks has the same minibatches.
        every = sorted(self.ranks.gathered([found[place] for place in sorted(found)]), key=lambda item: item[0])
        corrections = [correction for _, scored, _ in every for correction in scored]
        lessons = [lesson for _, _, learnt in every for lesson in learnt]
        if refused := sum(not correction.admitted for correction in corrections):
            dropped["the hint did not lower the error enough"] = refused
        corrections = with_alternatives(self.model, self.teacher.model, self.writer, corrections)
        return corrections, lessons, dropped

    def _bind(self, criticized: Iterable[Criticized], rng: Random) -> tuple[list[Correction], Counter[str]]:
        turns = [(trajectory, group) for trajectory, findings in criticized for group in by_turn(findings, self.codes)]
        hints = given([joined(finding.hint for finding in group) for _, group in turns], self.hint, rng)
        longest = self.model.config.max_position_embeddings
        bound: list[Correction] = []
        dropped: Counter[str] = Counter()
        for (trajectory, group), hint in zip(turns, hints, strict=True):
            if not self.trusted and leaked(hint, trajectory, group[0].message_index) is not None:
                dropped["the hint says what only the right path knows"] += 1
                continue
            try:
                bound.append(bind(trajectory, group, hint, self.writer, longest=longest, style=self.style))
            except Unbindable as reason:
                dropped[str(reason)] += 1
        return bound, dropped

    def _lesson(self, admitted: Sequence[tuple[Correction, torch.Tensor]]) -> Lesson:
        corrections = [correction for correction, _ in admitted]
        rows = [
            teacher_TV[[position - correction.target[0] for position in correction.asked(self.update.scope)]]
            for correction, teacher_TV in admitted
        ]
        weights = tuple(
            self.ratios.get(correction.id, {}).get(position, 1.0)
            for correction in corrections
            for position in correction.asked(self.update.scope)
        )
        return Lesson(trunk_of(corrections, self.update.scope).cut(), len(corrections), torch.cat(rows), weights)

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
            if not isfinite(loss.corrections + loss.anchors):
                return
            watch(step, len(minibatches))

    def _step(self, minibatch: Sequence[Lesson], held: Sequence[Anchor]) -> Loss:
        """One step of the optimizer, or none where the loss is no finite number.

        A rank works on its share, in micro-batches; each counts for as much as its part of the whole minibatch.
        """
        corrections = sum(lesson.corrections for lesson in minibatch)
        tokens = sum(len(anchor.start_NV) for anchor in held)
        parts = micro_batches(minibatch, held, self.ranks, self.micro_batch)
        sums = [0.0, 0.0]
        for number, (lessons, anchored, counts, anchored_count) in enumerate(parts, 1):
            of_corrections = counts * sum(lesson.corrections for lesson in lessons) / corrections
            of_tokens = anchored_count * sum(len(anchor.start_NV) for anchor in anchored) / max(1, tokens)
            with self.student.gathering(last=number == len(parts)):
                loss, shown = self.student.loss(partial(self._loss, lessons, anchored, of_corrections, of_tokens))
                (loss * self.ranks.world).backward()  # the ranks' gradients are averaged
            sums = [total + part for total, part in zip(sums, shown, strict=True)]
        corrected, moved_by = self.ranks.summed(sums, self.model.device)
        if isfinite(corrected + moved_by):
            torch.nn.utils.clip_grad_norm_(self.student.parameters(), self.update.max_gradient)
            self.optimizer.step()
            self.teacher.follow(self.model)
        self.optimizer.zero_grad()
        return Loss(corrected, moved_by)

    def _loss(
        self, minibatch: Sequence[Lesson], held: Sequence[Anchor], of_corrections: float, of_tokens: float
    ) -> tuple[torch.Tensor, tuple[float, float]]:
        """The loss of some lessons and anchors, which are those parts of a step's; and its two terms."""
        trunks = [lesson.trunk for lesson in minibatch]
        student_NV, cache = on_trunks(self.model, trunks, keep=self.teacher.live)
        teacher_NV = self._taught(minibatch, cache)
        divergence_N = DIVERGENCES[self.update.divergence](teacher_NV, student_NV)
        weight_N = divergence_N.new_tensor([weight for lesson in minibatch for weight in lesson.weights])
        corrected = of_corrections * (weight_N * divergence_N).sum() / sum(lesson.corrections for lesson in minibatch)
        anchored = of_tokens * moved(self.model, held) if held else corrected.new_zeros(())
        return corrected + self.update.anchor * anchored, (corrected.item(), anchored.item())

    @torch.no_grad()
    def _taught(self, minibatch: Sequence[Lesson], cache: Cache | None) -> torch.Tensor:
        """The teacher's log-probs at the asked tokens; a live teacher's branches leave the student's own `cache`."""
        if not self.teacher.moves:
            return torch.cat([lesson.teacher_NV for lesson in minibatch])
        trunks = [lesson.trunk._replace(asked=()) for lesson in minibatch]
        if cache is None:
            _, cache = on_trunks(self.teacher.model, trunks, keep=True)
        assert cache is not None
        return on_branches(self.teacher.model, trunks, cache)


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
        restated = restate(model, [trajectory for trajectory, _ in rendered], longest=longest_context(model))
    again = zip(restated.trajectories, (findings for _, findings in rendered), strict=True)
    _, figures = learner.learn(again)
    return replace(figures, dropped={**figures.dropped, **dropped})


def _scored(
    group: Sequence[Correction], teacher_NV: torch.Tensor, *, least_fall: float
) -> list[tuple[Correction, torch.Tensor]]:
    """Each correction of a trunk with the teacher's log-probs, and with its distributions at the target, [T, V].

    Admitted is one whose error tokens, taken together, fall by more than `least_fall` nats under the hint.
    """
    scored: list[tuple[Correction, torch.Tensor]] = []
    sizes = [len(correction.student_logprobs) for correction in group]
    for correction, teacher_TV in zip(group, teacher_NV.split(sizes), strict=True):
        turn = torch.tensor(correction.plain_ids[slice(*correction.target)], device=teacher_TV.device)
        logprobs: list[float] = teacher_TV.gather(-1, turn[:, None])[:, 0].tolist()
        if not all(map(isfinite, logprobs)):
            raise InputError("the model gives log-probs that are no finite numbers: is its checkpoint whole?")
        with_teacher = replace(correction, teacher_logprobs=logprobs)
        admitted = with_teacher.fall(with_teacher.error_tokens) > least_fall
        scored.append((replace(with_teacher, admitted=admitted), teacher_TV))
    return scored


def by_turn(findings: Sequence[Finding], codes: Collection[ErrorCode] = INVALID_CALL_CODES) -> Iterator[list[Finding]]:
    """The findings of some codes, turn by turn; warnings are not trained on."""
    trained = [f for f in findings if f.code in codes and f.confidence == CERTAIN]
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
