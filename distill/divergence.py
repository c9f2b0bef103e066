"""How far the student's distribution is from the teacher's: exact, over the full vocabulary.

Each function takes the log-probs of teacher and student, [N, V], and gives the divergence of each of N tokens in nats,
[N]. Gradients flow through the student.
"""

from collections.abc import Callable, Mapping
from math import log

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
