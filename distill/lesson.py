"""What a step of the update makes small: divergences from the teacher, from the start model, and the final reward.

A lesson is one trajectory: its targets with what the teacher says there, where a reward counts all that was sampled in
it, and what is held to the start model. All of it comes out of one pass over the trajectory. A minibatch too large for
a pass is taken in several; their gradients add up to the same. Left out: which lessons there are (`distill.learner`),
and the step itself.
"""

import sys
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch

from distill.anchor import Anchor
from distill.branches import Keys
from distill.config import Update
from distill.divergence import DIVERGENCES, forward_kl
from distill.head import Head, divergences
from distill.likelihood import imitation_loss, unlikelihood_loss
from distill.prefill import Trunk, batched, on_branches, on_detached, on_own_branches, on_trunks
from distill.reward import clipped_loss
from distill.teacher import Teacher


class Sampled(NamedTuple):
    """The tokens that were sampled in a trajectory, their log-probs then, and how good it was among its task's.

    A baseline's tokens have only themselves: they are imitated, or made unlikely. Those of labels weren't sampled, and
    stand in the branches of the trunk.
    """

    tokens: Sequence[int]
    logprobs: Sequence[float] = ()
    advantage: float = 0.0
    labels: bool = False


class Lesson(NamedTuple):
    """A trajectory to learn from. Its trunk is asked for N targets first, and then for the sampled tokens, if any.

    An `anchor` is of the same trajectory, or of one that begins with the trunk, and is held in the same pass.
    `teacher_ND` has what the teacher says at the targets, where that stays: its hidden states, or of a remote one the
    likeliest tokens; `weights` is how much each target counts, where not all count 1.
    """

    trunk: Trunk
    corrections: int
    teacher_ND: torch.Tensor | None = None
    sampled: Sampled | None = None
    weights: Sequence[float] = ()
    anchor: Anchor | None = None

    @property
    def whole(self) -> Trunk:
        """The trunk, asked for the anchor's tokens last."""
        if not self.anchor:
            return self.trunk
        ids, held, _ = self.anchor.trunk
        return Trunk(ids, [*self.trunk.asked, *held], self.trunk.branches)

    @property
    def held(self) -> int:
        """How many tokens are held."""
        return len(self.anchor.trunk.asked) if self.anchor else 0

    @property
    def sizes(self) -> tuple[int, int, int]:
        """How many targets, sampled tokens and held ones the trunk is asked for."""
        sampled = len(self.sampled.tokens) if self.sampled and not self.sampled.labels else 0
        return len(self.trunk.asked) - sampled, sampled, self.held


def holding(lessons: Sequence[Lesson], anchors: Sequence[Anchor]) -> list[Lesson]:
    """The lessons, each with an anchor that begins with its trunk, where there is one: that costs hardly anything."""
    anchor_of = {tuple(anchor.trunk.ids): anchor for anchor in anchors}
    ordered = sorted(anchor_of)

    def begun(trunk: tuple[int, ...]) -> Anchor | None:
        """Of sorted ones it is the first that isn't before the trunk."""
        place = bisect_left(ordered, trunk)
        return next((anchor_of[ids] for ids in ordered[place : place + 1] if ids[: len(trunk)] == trunk), None)

    return [lesson._replace(anchor=begun(tuple(lesson.trunk.ids))) for lesson in lessons]


class Totals(NamedTuple):
    """What a whole step has: corrections, rewarded trajectories, tokens that are held. A pass is a part of it."""

    corrections: int
    rewarded: int
    held: int

    @classmethod
    def of(cls, lessons: Sequence[Lesson], held: Sequence[Anchor]) -> "Totals":
        return cls(
            max(1, sum(lesson.corrections for lesson in lessons)),
            max(1, sum(lesson.sampled is not None for lesson in lessons)),
            max(1, sum(len(anchor.trunk.asked) for anchor in held) + sum(lesson.held for lesson in lessons)),
        )


Shares = Mapping[str, torch.Tensor]
"""A pass's shares of the three losses, in nats: of a correction, of a rewarded trajectory, of an anchor's token."""


class Objective:
    """A student, what it is moved to, and how. Passes take about `pass_tokens` tokens each; with 0, all at once."""

    def __init__(self, student: Any, teacher: Teacher, update: Update, *, pass_tokens: int = 0) -> None:
        self.student, self.teacher, self.update = student, teacher, update
        self.pass_tokens = pass_tokens or sys.maxsize

    def of_lessons_in(self, lessons: Sequence[Lesson], totals: Totals) -> Iterator[Callable[[], Shares]]:
        """The passes over some of a step's lessons; their shares add up over all of the step's passes.

        A pass is made when it is called, and its graph has to be gone through before the next one is.
        """

        def one_pass(some: Sequence[Lesson]) -> Shares:
            divergence_N, reward, moved_H = self.of_lessons(some)
            return {
                "corrections": divergence_N.sum() / totals.corrections,
                "reward": reward / totals.rewarded,
                "anchors": moved_H.sum() / totals.held,
            }

        for places in batched([lesson.whole for lesson in lessons], 1 if self.update.detach else self.pass_tokens):
            yield partial(one_pass, [lessons[place] for place in places])

    def of_anchors_in(self, held: Sequence[Anchor], totals: Totals) -> Iterator[Callable[[], Shares]]:
        """The same for anchors."""

        def one_pass(some: Sequence[Anchor]) -> Shares:
            return {"anchors": self.of_anchors(some).sum() / totals.held}

        for places in batched([anchor.trunk for anchor in held], self.pass_tokens):
            yield partial(one_pass, [held[place] for place in places])

    def of_anchors(self, held: Sequence[Anchor]) -> torch.Tensor:
        """One pass: the divergence from the start model at each of its H held tokens, [H]."""
        now_HD, _ = on_trunks(self.student, [anchor.trunk for anchor in held])
        return self._moved(held, Head(self.student), now_HD)

    def of_lessons(self, lessons: Sequence[Lesson]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """One pass: the divergence at each of its N targets, [N], the reward's loss of all its trajectories, and the
        divergence from the start model at each of its H held tokens, [H]."""
        trunks, live = [lesson.whole for lesson in lessons], self.teacher.live
        labels = any(lesson.sampled and lesson.sampled.labels for lesson in lessons)
        if self.update.detach:
            (trunk,) = trunks
            hidden_ND, keys = on_detached(self.student, trunk, keep=live)
        else:
            hidden_ND, keys = on_trunks(self.student, trunks, keep=live or labels)
        parts = hidden_ND.split([size for lesson in lessons for size in lesson.sizes])
        targets_ND, sampled_SD, held_HD = (torch.cat(parts[kind::3]) for kind in range(3))
        if labels:
            sampled_SD = on_own_branches(self.student, trunks, keys, tokens=self.pass_tokens)
        head = Head(self.student)
        reward = self._reward(lessons, head, sampled_SD)
        moved_H = self._moved([lesson.anchor for lesson in lessons if lesson.anchor], head, held_HD)
        if not len(targets_ND):
            return targets_ND.sum(-1), reward, moved_H
        of = DIVERGENCES[self.update.divergence]
        divergence_N = divergences(of, self.teacher.head, self._taught(lessons, keys), head, targets_ND)
        weights = [weight for lesson in lessons for weight in lesson.weights or [1.0] * lesson.sizes[0]]
        return divergence_N * divergence_N.new_tensor(weights), reward, moved_H

    def _moved(self, held: Sequence[Anchor], head: Head, now_HD: torch.Tensor) -> torch.Tensor:
        """KL(start || student) in nats at each held token, [H]; the gradient is the student's."""
        if not held:
            return now_HD.sum(-1)
        assert self.teacher.start is not None
        start_HD = torch.cat([anchor.start_ND for anchor in held])
        return divergences(forward_kl, self.teacher.start.head, start_HD, head, now_HD)

    @torch.no_grad()
    def _taught(self, lessons: Sequence[Lesson], keys: Keys | None) -> torch.Tensor:
        """The teacher's hidden states at the targets; a live teacher's branches leave the student's own `keys`."""
        if not self.teacher.moves:
            return torch.cat([lesson.teacher_ND for lesson in lessons if lesson.teacher_ND is not None])
        trunks = [lesson.trunk for lesson in lessons]
        if not self.teacher.live:
            trunks = [trunk._replace(asked=()).cut() for trunk in trunks if trunk.branches]
            _, keys = on_trunks(self.teacher.model, trunks, keep=True)
        return on_branches(self.teacher.model, trunks, keys, tokens=self.pass_tokens)

    def _reward(self, lessons: Sequence[Lesson], head: Head, hidden_SD: torch.Tensor) -> torch.Tensor:
        """The reward's objective, or a baseline's: a mean over each trajectory's tokens, summed over trajectories."""
        sampled = [lesson.sampled for lesson in lessons if lesson.sampled]
        if not sampled:
            return hidden_SD.new_zeros((), dtype=torch.float32)
        device = hidden_SD.device
        tokens_S = torch.tensor([token for one in sampled for token in one.tokens], device=device)
        sizes = torch.tensor([len(one.tokens) for one in sampled], device=device)
        now_S = head.token_logprobs(hidden_SD, tokens_S)
        match self.update.method:
            case "rejection" | "expert":
                loss_S = imitation_loss(now_S)
            case "unlikelihood":
                loss_S = unlikelihood_loss(now_S)
            case _:
                then_S = torch.tensor([logprob for one in sampled for logprob in one.logprobs], device=device)
                advantage_S = torch.tensor([one.advantage for one in sampled], device=device).repeat_interleave(sizes)
                loss_S = clipped_loss(now_S, then_S, advantage_S, clip=self.update.clip)
        return (loss_S / sizes.repeat_interleave(sizes)).sum()
