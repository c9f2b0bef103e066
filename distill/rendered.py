"""Token ids for trajectories that have messages only: each assistant turn's, as the student's chat form writes it.

What another program sampled was never these tokens: they are made from the text (*re-tokenised*), so such a
trajectory is stale and not token-exact. A turn that the chat form does not write where it stands is left out with all
after it, and counted with the reason.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from critics.finding import Criticized, Finding, text_of
from envs import Trajectory, Turn
from envs.context import ContextWriter
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
        with_turns = replace(trajectory, turns=tuple(turns), token_exact=False)
        given.append((with_turns, [_moved(trajectory, with_turns, finding, dropped) for finding in findings]))
    return given, dropped


def _rendered(trajectory: Trajectory, writer: ContextWriter, dropped: Counter[str]) -> list[Turn]:
    places = [index for index, message in enumerate(trajectory.messages) if message.get("role") == "assistant"]
    turns: list[Turn] = []
    context: list[int] = []
    for number, index in enumerate(places):
        try:
            heard = _heard(trajectory, turns, context, index, writer)
            token_ids = _said(trajectory, index, writer)
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


def _said(trajectory: Trajectory, index: int, writer: ContextWriter) -> list[int]:
    """The tokens of message `index`, up to and with the one that ends a turn: what the chat form adds to its prompt."""
    prompt = writer.first(trajectory.messages[:index], trajectory.tools)
    whole = writer.whole(trajectory.messages[: index + 1], trajectory.tools)
    if whole[: len(prompt)] != prompt:
        raise InputError("the chat form does not write the turn behind its prompt")
    said = whole[len(prompt) :]
    end = next((place + 1 for place, token in enumerate(said) if token in writer.stop_ids), len(said))
    if not said[:end]:
        raise InputError("the chat form writes nothing for the turn")
    return said[:end]


def _moved(bare: Trajectory, rendered: Trajectory, finding: Finding, dropped: Counter[str]) -> Finding:
    """A finding whose span counts in the raw text; one whose text isn't there keeps it, and will be out of its turn."""
    number = rendered.turn_at(finding.message_index)
    if number is None:
        return finding
    raw, text = rendered.turns[number].raw, text_of(bare, finding)
    start, end = finding.span
    whole = raw.find(text) if text else -1
    if whole >= 0:
        return replace(finding, span=(whole + start, whole + end))
    if text[start:end] and raw.count(text[start:end]) == 1:
        place = raw.index(text[start:end])
        return replace(finding, span=(place, place + end - start))
    dropped["rendered: the finding's place is not in the turn's text"] += 1
    return replace(finding, confidence="warning")
