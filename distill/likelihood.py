"""Losses of a token's own log-prob: what the baselines make small where a divergence from a teacher is not asked for.

Left out: the final reward's loss, which compares with how likely the token was when it was sampled (`distill.reward`).
"""

import torch

LEAST = 1e-6
"""What a token's complement counts at least, so that a token that is sure has a gradient that is a number."""


def imitation_loss(now_S: torch.Tensor) -> torch.Tensor:
    """Minus the log-prob (nats) of each of S tokens, [S]: cross-entropy with what was said."""
    return -now_S


def unlikelihood_loss(now_S: torch.Tensor) -> torch.Tensor:
    """Minus the log-prob (nats) of saying anything else than each of S tokens, [S].

    Source: S. Welleck et al., "Neural Text Generation with Unlikelihood Training", arXiv:1908.04319 (2019), equation 4.
    """
    return -(1 - now_S.exp()).clamp_min(LEAST).log()
