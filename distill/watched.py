"""Figures of a round that tell a collapse before the error rate does: entropy, length, the hint's hold, its echoes.

Error rates, success and valid calls per task stand beside them in `metrics.jsonl` (`critics.rates`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from critics.finding import Criticized
from distill.correction import Correction


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """`entropy` is in nats a sampled token (the mean of their negative log-probs, at temperature 1), `turn_tokens` and
    `turns` are means a turn and a trajectory, `gap` is by how many nats a hint lowers its error on average,
    and `echoes` the share of turns that say a hint themselves."""

    entropy: float
    turn_tokens: float
    turns: float
    gap: float
    echoes: float


def watched(criticized: Sequence[Criticized], corrections: Sequence[Correction]) -> Watched:
    """The figures of a round's trajectories, and of the corrections that were made of them."""
    turns = [turn for trajectory, _ in criticized for turn in trajectory.turns]
    tokens = sum(len(turn.token_ids) for turn in turns)
    hints = {correction.hint for correction in corrections}
    falls = [correction.fall(correction.error_tokens) for correction in corrections]
    return Watched(
        entropy=-sum(sum(turn.logprobs) for turn in turns) / max(1, tokens),
        turn_tokens=tokens / max(1, len(turns)),
        turns=len(turns) / max(1, sum(bool(trajectory.turns) for trajectory, _ in criticized)),
        gap=sum(falls) / max(1, len(falls)),
        echoes=sum(any(hint in turn.raw for hint in hints) for turn in turns) / max(1, len(turns)),
    )
