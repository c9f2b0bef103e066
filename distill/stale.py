"""Trajectories that the student did not sample as it is now: how far it is from who did, and what that changes.

Their log-probs are replaced by the student's own, so that a hint is judged by what it changes in the student. A
token that the student is less or more likely to say than who said it counts by that ratio, clipped (truncated
importance sampling).
Source of the clip: E. Ionides, "Truncated importance sampling", J. Comput. Graph. Stat. 17 (2008).
"""

from collections.abc import Mapping, Sequence
from math import exp
from typing import Any, NamedTuple

import torch
from msgspec.structs import replace

from distill.correction import sampled_trunk
from distill.head import Head
from distill.prefill import plain_hidden
from envs import Trajectory

MOST = 2.0
"""The largest ratio that counts."""

Ratios = Mapping[str, Mapping[int, float]]
"""By trajectory and token position, how much likelier the token is to the student than to who said it, clipped."""


class Restated(NamedTuple):
    """Trajectories with the student's own log-probs; `gap` is their mean distance from those given, in nats a token."""

    trajectories: list[Trajectory]
    ratios: Ratios
    gap: float


def restate(model: Any, trajectories: Sequence[Trajectory], *, longest: int) -> Restated:
    """Ask the student about every sampled token. What doesn't fit into it, or has no log-probs, is left as it is."""
    trunks = [sampled_trunk(trajectory) for trajectory in trajectories]
    fitting = [place for place, trunk in enumerate(trunks) if trunk.asked and len(trunk.ids) <= longest]
    restated, ratios = list(trajectories), {}
    gaps: list[float] = []
    head = Head(model)
    for number, hidden_ND in plain_hidden(model, [trunks[place] for place in fitting]):
        place = fitting[number]
        trajectory, trunk = trajectories[place], trunks[place]
        tokens_N = torch.tensor([trunk.ids[position] for position in trunk.asked], device=hidden_ND.device)
        with torch.no_grad():
            now: list[float] = head.token_logprobs(hidden_ND, tokens_N).tolist()
        then = [logprob for turn in trajectory.turns for logprob in turn.logprobs]
        if len(then) == len(now):
            gaps += [abs(one - other) for one, other in zip(now, then, strict=True)]
            counted = [min(MOST, exp(min(1.0, one - other))) for one, other in zip(now, then, strict=True)]
            ratios[trajectory.id] = dict(zip(trunk.asked, counted, strict=True))
        restated[place] = _with_logprobs(trajectory, now)
    return Restated(restated, ratios, sum(gaps) / max(1, len(gaps)))


def _with_logprobs(trajectory: Trajectory, logprobs: Sequence[float]) -> Trajectory:
    turns, begin = [], 0
    for turn in trajectory.turns:
        turns.append(replace(turn, logprobs=list(logprobs[begin : begin + len(turn.token_ids)])))
        begin += len(turn.token_ids)
    return replace(trajectory, turns=tuple(turns))
