"""What stays as it is while errors are trained away: in solved trajectories, whether a turn acts or answers, and what
the final answer says. Both are held to the start model.

An anchor on all tokens of right turns would also hold the errors: a turn that came out right was decided at the same
places. One on final answers alone teaches to answer too early.
"""

from collections.abc import Iterable, Iterator, Sequence
from random import Random
from typing import Any, NamedTuple

import torch

from distill.divergence import forward_kl
from distill.head import Head, Speaker, divergences
from distill.prefill import Trunk, on_trunks, plain_hidden
from distill.teacher import Reader
from envs import Trajectory, calls_of


class Anchor(NamedTuple):
    """A trajectory, and the start model's hidden states at the N tokens of it that are held."""

    trunk: Trunk
    start_ND: torch.Tensor


def anchors(start: Reader, trajectories: Iterable[Trajectory]) -> list[Anchor]:
    """The anchors in some trajectories, with what the model `start` says there."""
    trunks = [trunk for trajectory in trajectories if (trunk := held(trajectory))]
    with start.reading():
        said = dict(plain_hidden(start.model, trunks))
    return [Anchor(trunk, said[place]) for place, trunk in enumerate(trunks)]


def held(trajectory: Trajectory) -> Trunk | None:
    """A solved trajectory, asked for at the first token of each turn and at all of its final answer's; else None."""
    if not (trajectory.success and trajectory.turns):
        return None
    ids: list[int] = []
    asked: list[int] = []
    for turn in trajectory.turns:
        ids += turn.prompt_ids
        answers = not calls_of(trajectory.messages[turn.message_index])
        asked += range(len(ids), len(ids) + (len(turn.token_ids) if answers else 1))
        ids += turn.token_ids
    return Trunk(ids, asked)


def endless(found: Sequence[Anchor], rng: Random) -> Iterator[Anchor]:
    """The anchors over and over, each time in another order; nothing where there are none."""
    while found:
        yield from rng.sample(found, len(found))


def moved(model: Any, start: Speaker, minibatch: Sequence[Anchor]) -> torch.Tensor:
    """KL(start || model) in nats a token, a scalar, over the minibatch's held tokens. The gradient is the model's."""
    now_ND, _ = on_trunks(model, [anchor.trunk for anchor in minibatch])
    start_ND = torch.cat([anchor.start_ND for anchor in minibatch])
    return divergences(forward_kl, start, start_ND, Head(model), now_ND).mean()
