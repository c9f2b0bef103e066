"""Token ids for trajectories that have messages only: each assistant turn's, as the student's chat form writes it.

What another program sampled was never these tokens: they are made from the text (*re-tokenised*), so such a
trajectory is stale and not token-exact. A turn that the chat form does not write where it stands is left out with all
after it, and counted with the reason.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import structs

from critics.finding import Criticized, Finding, text_of
from critics.rules import criticize
from critics.spans import Span
from envs import Trajectory, Turn
from envs.context import ContextWriter
from envs.trajectory import Message
from tools.command import InputError


def with_tokens(criticized: Iterable[Criticized], writer: ContextWriter) -> tuple[list[Criticized], Counter[str]]:
    """Those without turns get them, and their findings' spans count in the turns' raw texts. Beside them why
    turns are left out, and how many."""
    dropped: Counter[str] = Counter()
    given: list[Criticized] = []
    for trajectory, findings in criticized:
        if trajectory.turns:
            given.append((trajectory, findings))
            continue
        turns = _rendered(trajectory, writer, dropped)
        with_turns = structs.replace(trajectory, turns=tuple(turns), token_exact=False)
        again = {_same(finding): finding.span for finding in criticize(with_turns)}
        moved = [_moved(trajectory, with_turns, finding, again.get(_same(finding))) for finding in findings]
        dropped["rendered: the finding's place is not in the turn's text"] += moved.count(None)
        given.append((with_turns, [finding for finding in moved if finding]))
    return given, +dropped


def _rendered(trajectory: Trajectory, writer: ContextWriter, dropped: Counter[str]) -> list[Turn]:
    places = [index for index, message in enumerate(trajectory.messages) if message.get("role") == "assistant"]
    turns: list[Turn] = []
    context: list[int] = []
    for number, index in enumerate(places):
        try:
            heard = _heard(trajectory, turns, context, index, writer)
            token_ids = said(trajectory.messages[: index + 1], trajectory.tools, writer)
        except InputError as error:
            dropped[f"rendered: {error}"] += len(places) - number
            break
        turns.append(
            Turn(
                message_index=index,
                prompt_ids=heard,
                token_ids=token_ids,
                logprobs=(),  # nobody knows them; `distill.stale` has the student's own
                raw=writer.decode(token_ids),
            )
        )
        context = [*context, *heard, *token_ids]
    return turns


def _heard(
    trajectory: Trajectory, turns: Sequence[Turn], context: Sequence[int], index: int, writer: ContextWriter
) -> list[int]:
    """What is new in the context of message `index`: contexts grow, as a policy's do."""
    if not turns:
        return writer.first(trajectory.messages[:index], trajectory.tools)
    last = turns[-1]
    before = context[: len(context) - len(last.token_ids)]
    return writer.extension(before, last.token_ids, trajectory.messages[last.message_index + 1 : index])


def said(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], writer: ContextWriter) -> list[int]:
    """The tokens of the last message, up to and with the one that ends a turn: what the chat form adds to its prompt.

    Raises InputError where the chat form does not write it there.
    """
    prompt = writer.first(messages[:-1], tools)
    whole = writer.whole(messages, tools)
    if whole[: len(prompt)] != prompt:
        raise InputError("the chat form does not write the turn behind its prompt")
    added = whole[len(prompt) :]
    end = next((place + 1 for place, token in enumerate(added) if token in writer.stop_ids), len(added))
    if not added[:end]:
        raise InputError("the chat form writes nothing for the turn")
    return added[:end]


def _moved(bare: Trajectory, rendered: Trajectory, finding: Finding, again: Span | None) -> Finding | None:
    """A finding whose span counts in the raw text: `again`, where the rules find the same there, else where its text
    stands; None where that can't be told."""
    number = rendered.turn_at(finding.message_index)
    if number is None or again:
        return structs.replace(finding, span=again) if again else finding
    raw, text = rendered.turns[number].raw, text_of(bare, finding)
    start, end = finding.span
    if text and text in raw:
        start, end = (raw.index(text) + place for place in finding.span)
    elif text[start:end] and raw.count(text[start:end]) == 1:
        start, end = raw.index(text[start:end]), raw.index(text[start:end]) + end - start
    else:
        return None
    return structs.replace(finding, span=(start, end))


def _same(finding: Finding) -> tuple[str, int, int | None, str]:
    return str(finding.code), finding.message_index, finding.call_index, finding.path
