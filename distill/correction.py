"""A correction: the findings of one turn bound to tokens.

`bind` makes it from a trajectory: the plain context (what the student sees), the hinted one (what the teacher sees),
and which of the turn's tokens carry the errors. What can't be bound is refused with a reason, never trained on.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from critics.finding import Finding
from critics.hints import hint_message
from envs.context import ContextWriter
from envs.trajectory import Trajectory


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """Positions count tokens of `plain_ids`: `target` is the turn, [start, end); `error_tokens` lie within it.

    `plain_ids` and `hinted_ids` both end with the same turn, so position p of the one is position
    p + len(hinted_ids) - len(plain_ids) of the other. The log-probs (nats) are of the error tokens: the student's as
    they were sampled, the teacher's from the hinted prefill.
    """

    id: str
    message_index: int
    codes: tuple[str, ...]
    hint: str
    plain_ids: Sequence[int]
    hinted_ids: Sequence[int]
    target: tuple[int, int]
    error_tokens: tuple[int, ...]
    student_logprobs: Sequence[float] = ()
    teacher_logprobs: Sequence[float] = ()
    admitted: bool = True

    @property
    def hinted_error_tokens(self) -> tuple[int, ...]:
        """The same tokens' positions in `hinted_ids`."""
        shift = len(self.hinted_ids) - len(self.plain_ids)
        return tuple(position + shift for position in self.error_tokens)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Unbindable(ValueError):
    """Why a finding can't become a correction. The text is what the run counts it under."""


def bind(
    trajectory: Trajectory, findings: Sequence[Finding], hint: str, writer: ContextWriter, *, longest: int
) -> Correction:
    """The correction for `findings`, all of one turn of `trajectory`, with `hint` above that turn.

    `longest` is the model's longest context, in tokens. Raises `Unbindable` where the turn's tokens aren't known, don't
    decode to its text, don't contain the finding, or don't fit into the model with the hint.
    """
    message_index = findings[0].message_index
    number = trajectory.turn_at(message_index)
    if number is None:
        raise Unbindable("the turn has no token ids")
    turn = trajectory.turns[number]
    if writer.decode(turn.token_ids) != turn.raw:
        raise Unbindable("the token ids do not decode to the turn's text")
    ends = token_ends(turn.token_ids, writer)
    places = sorted({place for finding in findings for place in error_places(finding.span, turn.raw, ends)})
    if not places:
        raise Unbindable("the finding's span holds no token of the turn")
    prompt = trajectory.prompt_ids(number)
    plain_ids = [*prompt, *turn.token_ids]
    hinted_ids = [*hinted_prompt(trajectory, number, hint, writer), *turn.token_ids]
    if len(hinted_ids) > longest:
        raise Unbindable("the hinted context is longer than the model's")
    return Correction(
        id=trajectory.id,
        message_index=message_index,
        codes=tuple(sorted({str(finding.code) for finding in findings})),
        hint=hint,
        plain_ids=plain_ids,
        hinted_ids=hinted_ids,
        target=(len(prompt), len(plain_ids)),
        error_tokens=tuple(len(prompt) + place for place in places),
        student_logprobs=[turn.logprobs[place] for place in places],
    )


def hinted_prompt(trajectory: Trajectory, number: int, hint: str, writer: ContextWriter) -> list[int]:
    """What the policy would have seen before its turn `number` with `hint` right above that turn."""
    turn = trajectory.turns[number]
    if number == 0:
        return writer.first([*trajectory.messages[: turn.message_index], hint_message(hint)], trajectory.tools)
    last = trajectory.turns[number - 1]
    before = trajectory.prompt_ids(number - 1)
    heard = trajectory.messages[last.message_index + 1 : turn.message_index]
    extension = writer.extension(before, last.token_ids, [*heard, hint_message(hint)])
    return [*before, *last.token_ids, *extension]


def token_ends(token_ids: Sequence[int], writer: ContextWriter) -> list[int]:
    """Where each token ends in the decoded text, in characters; a character of several tokens ends with its last."""
    return [len(writer.decode(token_ids[: place + 1])) for place in range(len(token_ids))]


def error_places(span: tuple[int, int], raw: str, ends: Iterable[int]) -> list[int]:
    """The tokens that overlap a span of the raw text.

    White space before the span counts with it: a tokenizer that joins it to what follows decides there between, say, a
    digit and a quote, so the error is made at that token.
    """
    start, end = span
    while 0 < start <= len(raw) and raw[start - 1].isspace():
        start -= 1
    places, token_start = [], 0
    for place, token_end in enumerate(ends):
        if token_start < end and token_end > start:
            places.append(place)
        token_start = token_end
    return places
