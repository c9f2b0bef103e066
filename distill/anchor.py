"""What stays as it is while errors are trained away, held to the start model: the tokens of right turns that it was
sure of, and, in solved trajectories, whether a turn acts or answers and what the final answer says.

An anchor on all tokens of right turns would also hold the errors: a turn that came out right was decided at the same
places, but there the model was in two minds. One on final answers alone teaches to answer too early; one on solved
trajectories alone has nothing to hold where hardly a task is solved.
"""

from collections.abc import Iterable, Iterator, Sequence
from math import log
from random import Random
from typing import NamedTuple

import torch

from critics.finding import CERTAIN, Criticized
from distill.prefill import Trunk, plain_hidden
from distill.teacher import Reader
from envs import calls_of

SURE = log(0.9)
"""The least log-prob (nats) of a token that the model was sure of."""


class Anchor(NamedTuple):
    """A trajectory, and the start model's hidden states at the N tokens of it that are held."""

    trunk: Trunk
    start_ND: torch.Tensor


def anchors(start: Reader, criticized: Iterable[Criticized]) -> list[Anchor]:
    """The anchors in some trajectories, with what the model `start` says there."""
    trunks = [trunk for each in criticized if (trunk := held(each))]
    with start.reading():
        said = dict(plain_hidden(start.model, trunks))
    return [Anchor(trunk, said[place]) for place, trunk in enumerate(trunks)]


def held(criticized: Criticized) -> Trunk | None:
    """A trajectory, asked for at the tokens that are held; None where there are none."""
    trajectory, findings = criticized
    wrong = {finding.message_index for finding in findings if finding.confidence == CERTAIN}
    ids: list[int] = []
    asked: list[int] = []
    for turn in trajectory.turns:
        ids += turn.prompt_ids
        answers = not calls_of(trajectory.messages[turn.message_index])
        for place, logprob in enumerate(turn.logprobs):
            decided = trajectory.success and (answers or place == 0)
            if decided or (logprob >= SURE and turn.message_index not in wrong):
                asked.append(len(ids) + place)
        ids += turn.token_ids
    return Trunk(ids, asked) if asked else None


def endless(found: Sequence[Anchor], rng: Random) -> Iterator[Anchor]:
    """The anchors over and over, each time in another order; nothing where there are none."""
    while found:
        yield from rng.sample(found, len(found))
