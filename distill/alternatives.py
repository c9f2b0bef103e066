"""What a correction looks like to people: its turn token by token, and what else was likely at the error.

It is recorded for `eval` to show, nothing is trained on it. The likeliest tokens, without and with the hint, cost two
prefills that ask for one token each, so of each round only the first `MOST` corrections get them.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, repeat
from math import exp
from typing import Any

from distill.correction import Alternative, Alternatives, Correction, token_ends
from distill.prefill import Trunk
from distill.teacher import Reader
from envs.context import ContextWriter

MOST = 32
TOP = 5


def with_alternatives(
    student: Any, teacher: Reader, writer: ContextWriter, corrections: Sequence[Correction]
) -> list[Correction]:
    """The corrections with their target in pieces, the first ones with alternatives.

    Those are at the error token that the hint takes most from: an error's first token is often as right as it is wrong,
    a quote or a brace.
    """
    shown = corrections[:MOST]
    asked = [max(part.error_tokens, key=lambda token: _lost(part, token)) for part in shown]
    places = list(zip(shown, asked, strict=True))
    plain = [Trunk(part.plain_ids, [token]) for part, token in places]
    hinted = [Trunk(part.hinted_ids, [token + part.shift]) for part, token in places]
    sides = zip(places, _likeliest(Reader(student), plain, writer), _likeliest(teacher, hinted, writer), strict=True)
    found = [
        Alternatives(token=token, student=of_student, teacher=of_teacher)
        for (_, token), of_student, of_teacher in sides
    ]
    beside = chain(found, repeat(None))
    return [
        replace(part, pieces=_pieces(part, writer), alternatives=alternatives)
        for part, alternatives in zip(corrections, beside, strict=False)
    ]


def _lost(correction: Correction, token: int) -> float:
    """How much probability the hint takes from a token."""
    place = token - correction.target[0]
    return exp(correction.student_logprobs[place]) - exp(correction.teacher_logprobs[place])


def _likeliest(reader: Reader, trunks: Sequence[Trunk], writer: ContextWriter) -> list[tuple[Alternative, ...]]:
    """For each trunk the likeliest tokens at the one that it asks for."""
    found: dict[int, tuple[Alternative, ...]] = {}
    for place, top in reader.likeliest(trunks, TOP):
        rows = zip(top.ids_NK[0].tolist(), top.logprobs_NK[0].tolist(), strict=True)
        found[place] = tuple(Alternative(text=writer.decode([token]), logprob=logprob) for token, logprob in rows)
    return [found[place] for place in range(len(trunks))]


def _pieces(correction: Correction, writer: ContextWriter) -> tuple[str, ...]:
    """The texts of the target's tokens, which put together are the turn's raw text."""
    ids = correction.plain_ids[slice(*correction.target)]
    text, ends = writer.decode(ids), token_ends(ids, writer)
    return tuple(text[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True))
