"""A correction: the findings of one turn bound to tokens.

`bind` makes it from a trajectory: the plain context (what the student sees), the hinted one (what the teacher sees),
and which of the turn's tokens carry which error. What can't be bound is refused with a reason, never trained on.
`trunk_of` puts the corrections of one trajectory together for the prefill.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby, takewhile
from math import isfinite
from typing import Any

from critics.finding import CERTAIN, Finding
from critics.hints import HintStyle, hinted
from critics.spans import Span, places
from distill.config import Scope
from distill.prefill import Branch, Trunk
from envs.context import ContextWriter
from envs.trajectory import Trajectory, Turn, calls_of
from tools import INVALID_CALL_CODES, ErrorCode, ToolCall
from tools.command import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundFinding:
    """One error of the turn: its code, its span in characters of the turn's raw text, the positions of its tokens in
    `plain_ids`, and those of the call that it is in, [start, end)."""

    code: str
    span: tuple[int, int]
    tokens: tuple[int, ...]
    call: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """A token that could stand at a place, and its log-prob (nats) there."""

    text: str
    logprob: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternatives:
    """The likeliest tokens at one position of `plain_ids`, first the likeliest, to student and teacher."""

    token: int
    student: tuple[Alternative, ...]
    teacher: tuple[Alternative, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """Positions count tokens of `plain_ids`: `target` is the turn, [start, end); the findings' tokens lie within it.

    `plain_ids` and `hinted_ids` both end with the same turn, so position p of the one is position p + `shift` of the
    other. The log-probs (nats) are of every token of the target: the student's as they were sampled, the teacher's from
    the hinted prefill. `pieces` are the texts of the target's tokens; they and the alternatives, which not
    every correction has, are there to be looked at (`distill.alternatives`).
    """

    id: str
    message_index: int
    hint: str
    findings: tuple[BoundFinding, ...]
    plain_ids: Sequence[int]
    hinted_ids: Sequence[int]
    target: tuple[int, int]
    student_logprobs: Sequence[float] = ()
    teacher_logprobs: Sequence[float] = ()
    admitted: bool = True
    pieces: Sequence[str] = ()
    alternatives: Alternatives | None = None

    @property
    def codes(self) -> tuple[str, ...]:
        return tuple(sorted({finding.code for finding in self.findings}))

    @property
    def error_tokens(self) -> tuple[int, ...]:
        return tuple(sorted({token for finding in self.findings for token in finding.tokens}))

    @property
    def shift(self) -> int:
        return len(self.hinted_ids) - len(self.plain_ids)

    def asked(self, scope: Scope) -> Sequence[int]:
        """The positions that a scope trains on."""
        match scope:
            case "error":
                return self.error_tokens
            case "call":
                return sorted({token for finding in self.findings for token in range(*finding.call)})
            case "from-error":
                return range(self.error_tokens[0], self.target[1])
            case "turn":
                return range(*self.target)

    def fall(self, tokens: Iterable[int]) -> float:
        """By how many nats the hint lowers the log-prob of some of the target's tokens, taken together."""
        return sum(
            self.student_logprobs[token - self.target[0]] - self.teacher_logprobs[token - self.target[0]]
            for token in tokens
        )

    def to_json(self) -> dict[str, Any]:
        """The file format's record: its id first, the codes and error tokens of all findings beside the findings."""
        record = asdict(self)
        record["findings"] = [asdict(finding) for finding in self.findings]
        summed = {"codes": self.codes, "error_tokens": self.error_tokens}
        return {"id": record.pop("id"), "message_index": record.pop("message_index"), **summed, **record}


class Unbindable(ValueError):
    """Why a finding can't become a correction. The text is what the run counts it under."""


def by_turn(findings: Sequence[Finding], codes: Collection[ErrorCode] = INVALID_CALL_CODES) -> Iterator[list[Finding]]:
    """The findings of some codes, turn by turn; warnings are not trained on."""
    trained = [f for f in findings if f.code in codes and f.confidence == CERTAIN]
    ordered = sorted(trained, key=lambda finding: finding.message_index)
    for _, group in groupby(ordered, key=lambda finding: finding.message_index):
        yield list(group)


def bind(
    trajectory: Trajectory,
    findings: Sequence[Finding],
    hint: str | None,
    writer: ContextWriter,
    *,
    longest: int,
    style: HintStyle = "reminder",
) -> Correction:
    """The correction for `findings`, all of one turn of `trajectory`, with `hint` above that turn in a `style`.

    With None in place of a hint the hinted context is the plain one: a control.
    `longest` is the model's longest context, in tokens. Raises `Unbindable` where the turn's tokens aren't known, don't
    decode to its text, don't contain a finding, or don't fit into the model with the hint; where the chat form refuses
    the hint; and where the hint would be no news to the student.
    """
    message_index = findings[0].message_index
    number = trajectory.turn_at(message_index)
    if number is None:
        raise Unbindable("the turn has no token ids")
    turn = checked(trajectory.turns[number], writer)
    prompt = trajectory.prompt_ids(number)
    calls = [ToolCall.from_openai(call) for call in calls_of(trajectory.messages[message_index])]
    spans = [place.whole for place in places(calls, turn.raw)]
    bound = _bound(findings, spans, turn.raw, token_ends(turn.token_ids, writer), len(prompt))
    if hint == "":
        raise Unbindable("the finding has no hint")
    if hint and hint in writer.decode(prompt):
        raise Unbindable("the hint stands in the student's context already")
    plain_ids = [*prompt, *turn.token_ids]
    above = hinted_prompt(trajectory, number, hint, writer, style) if hint else prompt
    hinted_ids = [*above, *turn.token_ids]
    if len(hinted_ids) > longest:
        raise Unbindable("the hinted context is longer than the model's")
    return Correction(
        id=trajectory.id,
        message_index=message_index,
        hint=hint or "",
        findings=bound,
        plain_ids=plain_ids,
        hinted_ids=hinted_ids,
        target=(len(prompt), len(plain_ids)),
        student_logprobs=turn.logprobs,
    )


def checked(turn: Turn, writer: ContextWriter) -> Turn:
    """The turn, if its tokens are what was sampled. Raises `Unbindable`."""
    if len(turn.token_ids) != len(turn.logprobs):
        raise Unbindable("the turn has not one log-prob for each token id")
    if not all(map(isfinite, turn.logprobs)):
        raise Unbindable("a log-prob of the turn is no finite number")
    if writer.decode(turn.token_ids) != turn.raw:
        raise Unbindable("the token ids do not decode to the turn's text")
    return turn


def _bound(
    findings: Iterable[Finding], calls: Sequence[Span], raw: str, ends: Sequence[int], start: int
) -> tuple[BoundFinding, ...]:
    """The findings with the positions of their tokens and of their calls', in a turn that begins at position `start`.

    `calls` are the spans of the turn's calls; what concerns no call concerns the whole turn.
    """
    bound: list[BoundFinding] = []
    for finding in findings:
        if not 0 <= finding.span[0] <= finding.span[1] <= len(raw):
            raise Unbindable("the finding's span lies outside its turn")
        tokens = [start + place for place in error_places(finding.span, raw, ends)]
        if not tokens:
            raise Unbindable("the finding's span holds no token of the turn")
        number = finding.call_index
        around = calls[number] if number is not None and number < len(calls) else (0, len(raw))
        call = [*tokens, *(start + place for place in error_places(around, raw, ends))]
        bound.append(
            BoundFinding(
                code=str(finding.code), span=finding.span, tokens=tuple(tokens), call=(min(call), max(call) + 1)
            )
        )
    return tuple(bound)


def hinted_prompt(
    trajectory: Trajectory, number: int, hint: str, writer: ContextWriter, style: HintStyle = "reminder"
) -> list[int]:
    """What the policy would have seen before its turn `number` with `hint` right above that turn.

    Raises `Unbindable` where the chat form can't hold the hint there.
    """
    turn = trajectory.turns[number]
    try:
        if number == 0:
            return writer.first(hinted(trajectory.messages[: turn.message_index], hint, style), trajectory.tools)
        last = trajectory.turns[number - 1]
        before = trajectory.prompt_ids(number - 1)
        heard = trajectory.messages[last.message_index + 1 : turn.message_index]
        extension = writer.extension(before, last.token_ids, hinted(heard, hint, style))
    except InputError as error:
        raise Unbindable("the chat form refuses the hint") from error
    return [*before, *last.token_ids, *extension]


def by_trunk(corrections: Iterable[Correction]) -> list[list[Correction]]:
    """The corrections that share a trunk, in order of their turns: those of one trajectory."""
    groups: dict[str, list[Correction]] = {}
    for correction in corrections:
        groups.setdefault(correction.id, []).append(correction)
    return [sorted(group, key=lambda correction: len(correction.plain_ids)) for group in groups.values()]


def trunk_of(corrections: Sequence[Correction], scope: Scope) -> Trunk:
    """The trunk of one group of `by_trunk`: the last turn's plain context, with a branch for each correction.

    Both sides are asked for the same tokens in the same order. Raises ValueError for contexts that don't grow out of
    each other, as those of one trajectory do.
    """
    return trunk_at(corrections, [correction.asked(scope) for correction in corrections])


def trunk_at(corrections: Sequence[Correction], asked: Sequence[Sequence[int]]) -> Trunk:
    """`trunk_of`, asked for some tokens of each correction: positions in its `plain_ids`."""
    ids = corrections[-1].plain_ids
    for correction in corrections:
        if correction.plain_ids != ids[: len(correction.plain_ids)]:
            raise ValueError(f"the turns of {correction.id} are not of one trajectory: are there two with this id?")
    branches = [_branch(correction, tokens) for correction, tokens in zip(corrections, asked, strict=True)]
    return Trunk(ids, [token for tokens in asked for token in tokens], branches)


def _branch(correction: Correction, asked: Sequence[int]) -> Branch:
    start = min(alike(correction.plain_ids, correction.hinted_ids), correction.target[0] - 1)
    return Branch(start, correction.hinted_ids[start:], [position + correction.shift for position in asked])


def alike(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two contexts begin with together."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def sampled_trunk(trajectory: Trajectory) -> Trunk:
    """The whole trajectory, asked for at every sampled token."""
    ids: list[int] = []
    asked: list[int] = []
    for turn in trajectory.turns:
        ids += turn.prompt_ids
        asked += range(len(ids), len(ids) + len(turn.token_ids))
        ids += turn.token_ids
    return Trunk(ids, asked)


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
    found, token_start = [], 0
    for place, token_end in enumerate(ends):
        if token_start < end and token_end > start:
            found.append(place)
        token_start = token_end
    return found
