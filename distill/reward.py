"""The final reward as an objective, beside the corrections: each trajectory against others of its task.

Left out: a divergence from the start model (anchors are there for that), and a critic that learns values.
"""

from collections.abc import Hashable, Sequence
from statistics import fmean, pstdev

import torch


def advantages(rewards: Sequence[float], tasks: Sequence[Hashable]) -> list[float]:
    """By how many standard deviations each reward is above the mean of its task's; 0 where all of a task are alike.

    Source: Z. Shao et al., "DeepSeekMath", arXiv:2402.03300 (2024), section 4.1.2 (GRPO, outcome supervision).
    """
    groups: dict[Hashable, list[float]] = {}
    for reward, task in zip(rewards, tasks, strict=True):
        groups.setdefault(task, []).append(reward)
    spread = {task: (fmean(group), pstdev(group)) for task, group in groups.items()}
    return [
        (reward - spread[task][0]) / spread[task][1] if spread[task][1] > 0 else 0.0
        for reward, task in zip(rewards, tasks, strict=True)
    ]


def clipped_loss(now_S: torch.Tensor, then_S: torch.Tensor, advantage_S: torch.Tensor, *, clip: float) -> torch.Tensor:
    """What is made small at each of S sampled tokens, [S]: minus its advantage, weighted by how likely it has become.

    `now_S` and `then_S` are a token's log-probs now and when it was sampled. Where their ratio has gone by more than
    `clip` to where the advantage would have it, there is no more gradient.

    Source: J. Schulman et al., "Proximal Policy Optimization Algorithms", arXiv:1707.06347 (2017), equation 7.
    """
    ratio_S = (now_S - then_S).exp()
    return -torch.minimum(ratio_S * advantage_S, ratio_S.clamp(1 - clip, 1 + clip) * advantage_S)
