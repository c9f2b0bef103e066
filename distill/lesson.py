"""What a step of the update makes small: divergences from the teacher, from the start model, and the final reward.

A lesson is one trajectory: its targets with what the teacher says there, and, where a reward counts, all that was
sampled in it. All of it comes out of one pass over the trajectory. A minibatch too large for a pass is taken in
several; their gradients add up to the same. Left out: which lessons there are (`distill.learner`), and the step itself.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch

from distill.anchor import Anchor, moved
from distill.branches import Keys
from distill.config import Update
from distill.divergence import DIVERGENCES
from distill.head import Head, divergences
from distill.likelihood import imitation_loss, unlikelihood_loss
from distill.prefill import Trunk, batched, on_branches, on_detached, on_trunks
from distill.reward import clipped_loss
from distill.teacher import Teacher


class Sampled(NamedTuple):
    """The tokens that were sampled in a trajectory, their log-probs then, and how good it was among its task's.

    A baseline's tokens have only themselves: they are imitated, or made unlikely.
    """

    tokens: Sequence[int]
    logprobs: Sequence[float] = ()
    advantage: float = 0.0


class Lesson(NamedTuple):
    """A trajectory to learn from. Its trunk is asked for N targets first, and then for the sampled tokens, if any.

    `teacher_ND` has what the teacher says at the targets, where that stays: its hidden states, or of a remote one the
    likeliest tokens; `weights` is how much each target counts, where not all count 1.
    """

    trunk: Trunk
    corrections: int
    teacher_ND: torch.Tensor | None = None
    sampled: Sampled | None = None
    weights: Sequence[float] = ()

    @property
    def sizes(self) -> tuple[int, int]:
        """How many targets and how many sampled tokens are asked for."""
        sampled = len(self.sampled.tokens) if self.sampled else 0
        return len(self.trunk.asked) - sampled, sampled


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
            max(1, sum(len(anchor.trunk.asked) for anchor in held)),
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
            divergence_N, reward = self.of_lessons(some)
            return {"corrections": divergence_N.sum() / totals.corrections, "reward": reward / totals.rewarded}

        for places in batched([lesson.trunk for lesson in lessons], 1 if self.update.detach else self.pass_tokens):
            yield partial(one_pass, [lessons[place] for place in places])

    def of_anchors_in(self, held: Sequence[Anchor], totals: Totals) -> Iterator[Callable[[], Shares]]:
        """The same for anchors."""

        def one_pass(some: Sequence[Anchor]) -> Shares:
            return {"anchors": self.of_anchors(some) * sum(len(anchor.trunk.asked) for anchor in some) / totals.held}

        for places in batched([anchor.trunk for anchor in held], self.pass_tokens):
            yield partial(one_pass, [held[place] for place in places])

    def of_anchors(self, held: Sequence[Anchor]) -> torch.Tensor:
        """One pass: the divergence from the start model, nats a token."""
        assert self.teacher.start is not None
        return moved(self.student, self.teacher.start.head, held)

    def of_lessons(self, lessons: Sequence[Lesson]) -> tuple[torch.Tensor, torch.Tensor]:
        """One pass: the divergence at each of its N targets, [N], and the reward's loss of all its trajectories."""
        trunks, live = [lesson.trunk for lesson in lessons], self.teacher.live
        if self.update.detach:
            (trunk,) = trunks
            hidden_ND, keys = on_detached(self.student, trunk, keep=live)
        else:
            hidden_ND, keys = on_trunks(self.student, trunks, keep=live)
        parts = hidden_ND.split([size for lesson in lessons for size in lesson.sizes])
        targets_ND, sampled_SD = torch.cat(parts[0::2]), torch.cat(parts[1::2])
        head = Head(self.student)
        reward = self._reward(lessons, head, sampled_SD)
        if not len(targets_ND):
            return targets_ND.sum(-1), reward
        of = DIVERGENCES[self.update.divergence]
        divergence_N = divergences(of, self.teacher.head, self._taught(lessons, keys), head, targets_ND)
        weights = [weight for lesson in lessons for weight in lesson.weights or [1.0] * lesson.sizes[0]]
        return divergence_N * divergence_N.new_tensor(weights), reward

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
