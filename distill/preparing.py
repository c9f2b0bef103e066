"""What a round learns from: findings -> corrections -> hinted prefill -> lessons. Nothing is updated here.

Under torchrun each rank scores its share of the trajectories (`distill.ranks`), and all of them know all that came of
it. Left out: the update (`distill.learner`), and what it makes small (`distill.lesson`).
"""

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import isfinite, log
from random import Random
from typing import Any, NamedTuple

import torch

from critics.finding import Criticized
from critics.gold import leaked
from critics.hints import HintStyle, joined, placebo
from distill.baselines import Baseline
from distill.config import HintKind, Update
from distill.correction import Correction, Unbindable, bind, by_trunk, by_turn, checked, sampled_trunk, trunk_of
from distill.head import Speaker, strange_head
from distill.lesson import Lesson, Sampled
from distill.prefill import Trunk
from distill.ranks import Ranks
from distill.reward import advantages
from distill.sharing import why_not_shared
from distill.stale import Ratios
from distill.teacher import Teacher
from envs import StopReason, Trajectory
from envs.context import ContextWriter
from tools import INVALID_CALL_CODES, ErrorCode
from tools.command import InputError


class Prepared(NamedTuple):
    """Corrections with the teacher's log-probs, what is to be learnt, and how many turns were dropped and why."""

    corrections: list[Correction]
    lessons: list[Lesson]
    dropped: Counter[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """Makes lessons of criticized trajectories. Hints are put as `style` says; findings with one of `codes` are learnt
    from. Hints that come from elsewhere are not `trusted`: one that says what only the right path knows is dropped."""

    writer: ContextWriter
    teacher: Teacher
    update: Update
    ranks: Ranks
    hint: HintKind = "real"
    style: HintStyle = "reminder"
    codes: Collection[ErrorCode] = INVALID_CALL_CODES
    trusted: bool = True

    def __call__(self, criticized: Sequence[Criticized], rng: Random, ratios: Ratios) -> Prepared:
        """`ratios` say by how much stale tokens count. Raises InputError where the teacher says no finite number, and
        for a model whose logits can't be made of its hidden states."""
        self._look_at_model()
        longest = context_length(self.teacher.model)
        if self.update.method != "targeted":
            return self._baseline(criticized, longest)
        bound, dropped = self._bind(criticized if self.update.correct else (), rng, longest)
        groups = self.ranks.share(by_trunk(bound))
        trunks = [trunk_of(group, "turn") for group in groups]
        found: dict[int, tuple[int, list[Correction], Lesson | None]] = {}
        for place, teacher_ND in self.teacher.read(trunks, tokens=self.update.pass_tokens):
            scored = _scored(groups[place], teacher_ND, self.teacher.head, least_fall=-log(self.update.admit))
            admitted = [pair for pair in scored if pair[0].admitted]
            lesson = self._lesson(admitted, ratios) if admitted else None
            found[place] = len(trunks[place].ids), [correction for correction, _ in scored], lesson
        # By length, as one process goes through them, so that any number of ranks has the same minibatches.
        every = sorted(self.ranks.gathered([found[place] for place in sorted(found)]), key=lambda item: item[0])
        corrections = [correction for _, scored, _ in every for correction in scored]
        lessons = {scored[0].id: lesson for _, scored, lesson in every if lesson}
        if refused := sum(not correction.admitted for correction in corrections):
            dropped["the hint did not lower the error enough"] = refused
        if self.update.reward:
            trajectories = [trajectory for trajectory, _ in criticized]
            lessons.update(self._rewarded(trajectories, lessons, dropped, longest))
        return Prepared(corrections, list(lessons.values()), dropped)

    def _baseline(self, criticized: Sequence[Criticized], longest: int) -> Prepared:
        dropped: Counter[str] = Counter()
        baseline = Baseline(
            writer=self.writer, teacher=self.teacher, update=self.update, style=self.style, codes=self.codes
        )
        return Prepared([], baseline(criticized, dropped, longest=longest), dropped)

    def _look_at_model(self) -> None:
        """Say what is slow with this model; raises InputError for what would be wrong."""
        with self.teacher.reading():
            if strange_head(self.teacher.model):
                raise InputError(
                    "the model does something to its logits that is not known here: add it to distill.head"
                )
        if reason := why_not_shared(self.teacher.model):
            _say_once(f"every hinted context is read whole, since {reason}")

    def _bind(
        self, criticized: Sequence[Criticized], rng: Random, longest: int
    ) -> tuple[list[Correction], Counter[str]]:
        turns = [(trajectory, group) for trajectory, findings in criticized for group in by_turn(findings, self.codes)]
        hints = given([joined(finding.hint for finding in group) for _, group in turns], self.hint, rng)
        bound: list[Correction] = []
        dropped: Counter[str] = Counter()
        for (trajectory, group), hint in zip(turns, hints, strict=True):
            if not self.trusted and hint and leaked(hint, trajectory, group[0].message_index) is not None:
                dropped["the hint says what only the right path knows"] += 1
                continue
            try:
                bound.append(bind(trajectory, group, hint, self.writer, longest=longest, style=self.style))
            except Unbindable as reason:
                dropped[str(reason)] += 1
        return bound, dropped

    def _lesson(self, admitted: Sequence[tuple[Correction, torch.Tensor]], ratios: Ratios) -> Lesson:
        corrections = [correction for correction, _ in admitted]
        rows = [
            teacher_TD[[position - correction.target[0] for position in correction.asked(self.update.scope)]]
            for correction, teacher_TD in admitted
        ]
        weights = [
            ratios.get(correction.id, {}).get(position, 1.0)
            for correction in corrections
            for position in correction.asked(self.update.scope)
        ]
        return Lesson(
            trunk=trunk_of(corrections, self.update.scope).cut(),
            corrections=len(corrections),
            teacher_ND=None if self.teacher.moves else torch.cat(rows),
            weights=weights if ratios else (),
        )

    def _rewarded(
        self, trajectories: Sequence[Trajectory], lessons: Mapping[str, Lesson], dropped: Counter[str], longest: int
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
                if len(trunk.ids) > longest:
                    raise Unbindable("the trajectory is longer than the model's context")
            except Unbindable as reason:
                dropped[f"reward: {reason}"] += 1
                continue
            logprobs = [logprob for turn in trajectory.turns for logprob in turn.logprobs]
            sampled = Sampled([trunk.ids[position] for position in trunk.asked], logprobs, advantage)
            lesson = lessons.get(trajectory.id) or Lesson(Trunk(trunk.ids), 0)
            asked = [*lesson.trunk.asked, *trunk.asked]
            yield trajectory.id, lesson._replace(trunk=Trunk(trunk.ids, asked, lesson.trunk.branches), sampled=sampled)


def _scored(
    group: Sequence[Correction], teacher_ND: torch.Tensor, head: Speaker, *, least_fall: float
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


def context_length(model: Any) -> int:
    """The longest context of a model, in tokens; what says nothing of it has none."""
    config = model.config.get_text_config()
    return int(getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None) or 2**20)


@cache
def _say_once(warning: str) -> None:
    logging.getLogger(__name__).warning(warning)


def given(hints: Sequence[str], kind: HintKind, rng: Random) -> Sequence[str | None]:
    """The hints that are inserted in place of the real ones: a control has something else there, or nothing.

    A shuffled hint is another turn's, and of another text wherever there is one.
    """
    match kind:
        case "real":
            return list(hints)
        case "placebo":
            return [placebo(rng) for _ in hints]
        case "shuffled":
            return [rng.choice([other for other in hints if other != hint] or hints) for hint in hints]
        case "none":
            return [None] * len(hints)


def hint_effect(corrections: Iterable[Correction]) -> dict[str, float]:
    """By code, the share of errors whose tokens at least halve in probability under the hint."""
    halved: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for correction in corrections:
        for finding in correction.findings:
            counts[finding.code] += 1
            halved[finding.code] += correction.fall(finding.tokens) >= log(2)
    return {code: halved[code] / counts[code] for code in sorted(counts)}
