"""How far the student's distribution is from the teacher's: exact, over the full vocabulary."""

import torch


def forward_kl(teacher_logprobs_NV: torch.Tensor, student_logprobs_NV: torch.Tensor) -> torch.Tensor:
    """KL(teacher || student) of each of N tokens, in nats, [N].

    sum_v p(v) (log p(v) - log q(v)), Kullback and Leibler, 1951. Gradients flow through the student.
    """
    return (teacher_logprobs_NV.exp() * (teacher_logprobs_NV - student_logprobs_NV)).sum(-1)
