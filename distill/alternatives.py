"""What the model could have written at the error instead: the likeliest tokens there, without and with the hint.

It is recorded for people to look at (`eval`), nothing is trained on it. Of each round only the first `MOST` corrections
get it, so that what it costs, two prefills that ask for one token each, doesn't grow with the round.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from distill.correction import Alternative, Alternatives, Correction, token_ends
from distill.prefill import Trunk, plain_prefill
from envs.context import ContextWriter

MOST = 128
TOP = 5


def with_alternatives(
    student: Any, teacher: Any, writer: ContextWriter, corrections: Sequence[Correction]
) -> list[Correction]:
    """The corrections, the first ones with their target in pieces and the alternatives at their first error token."""
    shown = corrections[:MOST]
    plain = [Trunk(part.plain_ids, [part.error_tokens[0]]) for part in shown]
    hinted = [Trunk(part.hinted_ids, [part.error_tokens[0] + part.shift]) for part in shown]
    sides = zip(shown, _likeliest(student, plain, writer), _likeliest(teacher, hinted, writer), strict=True)
    pictured = [
        replace(
            part,
            pieces=_pieces(part, writer),
            alternatives=Alternatives(token=part.error_tokens[0], student=of_student, teacher=of_teacher),
        )
        for part, of_student, of_teacher in sides
    ]
    return [*pictured, *corrections[MOST:]]


def _likeliest(model: Any, trunks: Sequence[Trunk], writer: ContextWriter) -> list[tuple[Alternative, ...]]:
    """For each trunk the likeliest tokens at the one that it asks for."""
    found: dict[int, tuple[Alternative, ...]] = {}
    for place, logprobs_1V in plain_prefill(model, trunks):
        logprobs, ids = logprobs_1V[0].topk(min(TOP, logprobs_1V.shape[-1]))
        rows = zip(ids.tolist(), logprobs.tolist(), strict=True)
        found[place] = tuple(Alternative(text=writer.decode([token]), logprob=logprob) for token, logprob in rows)
    return [found[place] for place in range(len(trunks))]


def _pieces(correction: Correction, writer: ContextWriter) -> tuple[str, ...]:
    """The texts of the target's tokens, which put together are the turn's raw text."""
    ids = correction.plain_ids[slice(*correction.target)]
    text, ends = writer.decode(ids), token_ends(ids, writer)
    return tuple(text[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True))
