"""What a correction looks like to people: its turn token by token, and what else was likely at the error.

It is recorded for `eval` to show, nothing is trained on it. The likeliest tokens, without and with the hint, cost a
pass of the student over the plain trajectory and the hinted prefill once more, so of each round only the first `MOST`
corrections get them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import exp
from typing import Any

from distill.correction import Alternative, Alternatives, Correction, by_trunk, token_ends, trunk_at
from distill.divergence import TopK
from distill.head import Head
from distill.prefill import PASS_TOKENS, plain_hidden
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
    groups = by_trunk(corrections[:MOST])
    decisive = [[max(part.error_tokens, key=lambda token: _lost(part, token)) for part in group] for group in groups]
    trunks = [trunk_at(group, [[token] for token in tokens]) for group, tokens in zip(groups, decisive, strict=True)]
    plain = {place: Head(student).likeliest(said_ND, TOP) for place, said_ND in plain_hidden(student, trunks)}
    hinted = {place: teacher.head.likeliest(said, TOP) for place, said in teacher.read(trunks, tokens=PASS_TOKENS)}
    found = {
        id(part): Alternatives(token=token, student=of_student, teacher=of_teacher)
        for place, (group, tokens) in enumerate(zip(groups, decisive, strict=True))
        for part, token, of_student, of_teacher in zip(
            group, tokens, _texts(plain[place], writer), _texts(hinted[place], writer), strict=True
        )
    }
    return [replace(part, pieces=_pieces(part, writer), alternatives=found.get(id(part))) for part in corrections]


def _lost(correction: Correction, token: int) -> float:
    """How much probability the hint takes from a token."""
    place = token - correction.target[0]
    return exp(correction.student_logprobs[place]) - exp(correction.teacher_logprobs[place])


def _texts(top: TopK, writer: ContextWriter) -> Iterator[tuple[Alternative, ...]]:
    """The likeliest tokens of each row."""
    for ids, logprobs in zip(top.ids_NK.tolist(), top.logprobs_NK.tolist(), strict=True):
        rows = zip(ids, logprobs, strict=True)
        yield tuple(Alternative(text=writer.decode([token]), logprob=logprob) for token, logprob in rows)


def _pieces(correction: Correction, writer: ContextWriter) -> tuple[str, ...]:
    """The texts of the target's tokens, which put together are the turn's raw text."""
    ids = correction.plain_ids[slice(*correction.target)]
    text, ends = writer.decode(ids), token_ends(ids, writer)
    return tuple(text[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True))
