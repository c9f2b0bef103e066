"""How far the student's distribution is from the teacher's: exact, over the full vocabulary.

Each function takes the log-probs of teacher and student, [N, V], and gives the divergence of each of N tokens in nats,
[N]. Gradients flow through the student. Of a teacher behind a server only the likeliest tokens are known: `TopK` makes
of both sides distributions over those and a tail, which the same functions take.
"""

from collections.abc import Callable, Mapping, Sequence
from math import log
from typing import Any, NamedTuple

import torch


def forward_kl(teacher_NV: torch.Tensor, student_NV: torch.Tensor) -> torch.Tensor:
    """KL(teacher || student), sum_v p(v) (log p(v) - log q(v)): covers whatever the teacher would say.

    Source: S. Kullback and R. A. Leibler, "On information and sufficiency", Ann. Math. Statist. 22 (1951).
    """
    return (teacher_NV.exp() * (teacher_NV - student_NV)).sum(-1)


def reverse_kl(teacher_NV: torch.Tensor, student_NV: torch.Tensor) -> torch.Tensor:
    """KL(student || teacher): drops what the teacher would not say, and may settle on one of its choices."""
    return forward_kl(student_NV, teacher_NV)


def jensen_shannon(teacher_NV: torch.Tensor, student_NV: torch.Tensor) -> torch.Tensor:
    """The mean of both KLs to the even mixture m of the two; at most log 2, so that no token's gradient is large.

    Source: J. Lin, "Divergence measures based on the Shannon entropy", IEEE Trans. Inf. Theory 37 (1991).
    """
    mixture_NV = torch.logaddexp(teacher_NV, student_NV) - log(2)
    return (forward_kl(teacher_NV, mixture_NV) + forward_kl(student_NV, mixture_NV)) / 2


DIVERGENCES: Mapping[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "forward-kl": forward_kl,
    "reverse-kl": reverse_kl,
    "jensen-shannon": jensen_shannon,
}


LEAST = -80.0
"""The log-prob of what is as good as impossible: it adds nothing, and its differences are numbers."""


class TopK(NamedTuple):
    """What is known of a remote teacher at N tokens: the K likeliest of each, or a few more, with their log-probs.

    Both are [N, K]. A token with fewer than K repeats an id with a log-prob of minus infinity.
    """

    ids_NK: torch.Tensor
    logprobs_NK: torch.Tensor

    @classmethod
    def from_prompt_logprobs(cls, said: Sequence[Mapping[Any, Any]], *, width: int = 0) -> "TopK":
        """From vLLM's `prompt_logprobs`: for each token a mapping of ids to their `logprob`, also as JSON has it.

        K is that of the token with the most, or `width` if that is more.
        """
        rows = [{int(id_): float(_logprob(entry)) for id_, entry in token.items()} for token in said]
        width = max(width, *map(len, rows))
        fill = [next(iter(row)) for row in rows]
        ids = [[*row, *[id_] * (width - len(row))] for row, id_ in zip(rows, fill, strict=True)]
        logprobs = [[*row.values(), *[-torch.inf] * (width - len(row))] for row in rows]
        return cls(torch.tensor(ids), torch.tensor(logprobs))

    @property
    def packed(self) -> torch.Tensor:
        """Ids and log-probs in one tensor, [N, K, 2]; in doubles, which hold both exactly."""
        return torch.stack([self.ids_NK.double(), self.logprobs_NK.double()], -1)

    @classmethod
    def unpacked(cls, packed_NK2: torch.Tensor) -> "TopK":
        return cls(packed_NK2[..., 0].long(), packed_NK2[..., 1])

    def of(self, tokens_N: torch.Tensor) -> torch.Tensor:
        """The log-probs of some tokens, [N]; of one that isn't known, minus infinity."""
        return self.logprobs_NK.masked_fill(self.ids_NK != tokens_N[:, None], -torch.inf).amax(-1)

    def likeliest(self, most: int) -> "TopK":
        """At most so many of each, first the likeliest."""
        logprobs_NK, places_NK = self.logprobs_NK.topk(min(most, self.logprobs_NK.shape[-1]))
        return TopK(self.ids_NK.gather(-1, places_NK), logprobs_NK)

    def with_tails(self, student_NV: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Teacher and student over the K tokens and all others together, [N, K + 1] each.

        Never without the tail: the student would be free to put there what it likes, and to take it from there. With
        K = V the divergence is exact; otherwise it is a lower bound of it.
        """
        rest_N1 = (1 - self.logprobs_NK.double().exp().sum(-1, keepdim=True)).clamp_min(0).log()
        others_NV = student_NV.scatter(-1, self.ids_NK, -torch.inf)
        # A student that has all of its tokens among the K has no others, and a sum over none has no gradient.
        none_N1 = (others_NV == -torch.inf).all(-1, keepdim=True)
        tail_N1 = others_NV.masked_fill(none_N1, LEAST).logsumexp(-1, keepdim=True).masked_fill(none_N1, LEAST)
        said_NK = student_NV.gather(-1, self.ids_NK).masked_fill(self.logprobs_NK == -torch.inf, LEAST)
        teacher = torch.cat([self.logprobs_NK, rest_N1.masked_fill(none_N1, LEAST)], -1).clamp_min(LEAST)
        return teacher.to(student_NV), torch.cat([said_NK, tail_N1], -1)


def _logprob(entry: Any) -> float:
    match entry:
        case Mapping():
            return float(entry["logprob"])
        case float() | int():
            return float(entry)
    return float(entry.logprob)
