"""What a step of the update makes small: divergences from the teacher, from the start model, and the final reward.

A lesson is one trajectory: its targets with what the teacher says there, and, where a reward counts, all that was
sampled in it. All of it comes out of one pass over the trajectory. A minibatch too large for a pass is taken in
several; their gradients add up to the same. Left out: which lessons there are (`distill.learner`), and the step itself.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch

from distill.anchor import Anchor, moved
from distill.branches import Keys
from distill.config import Update
from distill.divergence import DIVERGENCES
from distill.head import Head, divergences
from distill.prefill import Trunk, batched, on_branches, on_detached, on_trunks
from distill.reward import clipped_loss
from distill.teacher import Teacher


class Sampled(NamedTuple):
    """The tokens that were sampled in a trajectory, their log-probs then, and how good it was among its task's."""

    tokens: Sequence[int]
    logprobs: Sequence[float]
    advantage: float


class Lesson(NamedTuple):
    """A trajectory to learn from. Its trunk is asked for N targets first, and then for the sampled tokens, if any.

    `teacher_ND` has the teacher's hidden states at the targets, where they stay.
    """

    trunk: Trunk
    corrections: int
    teacher_ND: torch.Tensor | None = None
    sampled: Sampled | None = None

    @property
    def sizes(self) -> tuple[int, int]:
        """How many targets and how many sampled tokens are asked for."""
        sampled = len(self.sampled.tokens) if self.sampled else 0
        return len(self.trunk.asked) - sampled, sampled


class Objective:
    """A student, what it is moved to, and how; called with a minibatch, it yields the shares of its loss."""

    def __init__(self, student: Any, teacher: Teacher, update: Update) -> None:
        self.student, self.teacher, self.update = student, teacher, update

    def __call__(self, minibatch: Sequence[Lesson], held: Sequence[Anchor]) -> Iterator[Mapping[str, torch.Tensor]]:
        """For each pass its shares of three losses, which add up: of a correction, of a rewarded trajectory, and of an
        anchor's token, in nats. A share's graph has to be gone through before the next pass is made."""
        corrections = max(1, sum(lesson.corrections for lesson in minibatch))
        rewarded = max(1, sum(lesson.sampled is not None for lesson in minibatch))
        trunks = [lesson.trunk for lesson in minibatch]
        for places in batched(trunks, 1 if self.update.detach else self.update.pass_tokens):
            divergence_N, reward = self.of_lessons([minibatch[place] for place in places])
            yield {"corrections": divergence_N.sum() / corrections, "reward": reward / rewarded}
        total = sum(len(anchor.trunk.asked) for anchor in held)
        for places in batched([anchor.trunk for anchor in held], self.update.pass_tokens):
            some = [held[place] for place in places]
            share = sum(len(anchor.trunk.asked) for anchor in some) / total
            yield {"anchors": self.of_anchors(some) * share}

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
        return divergences(of, self.teacher.head, self._taught(lessons, keys), head, targets_ND), reward

    @torch.no_grad()
    def _taught(self, lessons: Sequence[Lesson], keys: Keys | None) -> torch.Tensor:
        """The teacher's hidden states at the targets; a live teacher's branches leave the student's own `keys`."""
        if not self.teacher.moves:
            return torch.cat([lesson.teacher_ND for lesson in lessons if lesson.teacher_ND is not None])
        trunks = [lesson.trunk for lesson in lessons]
        if not self.teacher.live:
            trunks = [trunk._replace(asked=()).cut() for trunk in trunks if trunk.branches]
            _, keys = on_trunks(self.teacher.model, trunks, keep=True)
        return on_branches(self.teacher.model, trunks, keys, tokens=self.update.pass_tokens)

    def _reward(self, lessons: Sequence[Lesson], head: Head, hidden_SD: torch.Tensor) -> torch.Tensor:
        """The clipped objective, a mean over each trajectory's sampled tokens, summed over the trajectories."""
        sampled = [lesson.sampled for lesson in lessons if lesson.sampled]
        if not sampled:
            return hidden_SD.new_zeros((), dtype=torch.float32)
        device = hidden_SD.device
        tokens_S = torch.tensor([token for one in sampled for token in one.tokens], device=device)
        then_S = torch.tensor([logprob for one in sampled for logprob in one.logprobs], device=device)
        sizes = torch.tensor([len(one.tokens) for one in sampled], device=device)
        advantage_S = torch.tensor([one.advantage for one in sampled], device=device).repeat_interleave(sizes)
        now_S = head.token_logprobs(hidden_SD, tokens_S)
        loss_S = clipped_loss(now_S, then_S, advantage_S, clip=self.update.clip)
        return (loss_S / sizes.repeat_interleave(sizes)).sum()
