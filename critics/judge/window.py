"""What a judge sees of a trajectory: numbered turns, in windows that begin and end with whole turns.

Everything that came from the trajectory stands in blocks `<data KEY>...</data KEY>`. The key is made from the whole
trajectory, so that no text in it can close its own block; and what could end a message in the judge's chat form is
broken by a space. A turn is its raw text where that is known, so that a quote from it can be found again. A window
repeats the last turns of the one before it, for context. Of a single text that is longer than `LONGEST_TEXT` the middle
is left out, and a note says so.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from critics.finding import Finding, content_of
from critics.reading import Reading
from envs.trajectory import Message

WINDOW = 24_000
"""About so many characters of turns in a window, unless a single turn has more."""

OVERLAP = 2
"""So many turns of the window before are shown again."""

LONGEST_TEXT = 8_000
"""Characters of one text that are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A part of a trajectory. `turns` are the messages that are asked about, by their numbers; `text` is what is shown.

    Turns are numbered from 1, over the whole trajectory.
    """

    text: str
    turns: Mapping[int, int]
    shown: Sequence["_Shown"]
    frame: "_Frame"

    def halves(self) -> Sequence["Window"]:
        """The window in two, for a judge that has no room for it; none where it is about one turn."""
        asked = [place for place, shown in enumerate(self.shown) if shown.number in self.turns]
        if len(asked) < 2:
            return ()
        middle = asked[len(asked) // 2]
        return self.frame.window(self.shown[:middle], asked[0]), self.frame.window(self.shown[middle - 1 :], 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """A turn as it is shown, with the results and requests that follow it."""

    number: int
    message_index: int
    said: str
    heard: str

    @property
    def text(self) -> str:
        return "\n".join(filter(None, (self.said, self.heard)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    """What every window of a trajectory shows: the tools, and what was said before the first turn."""

    text: str

    def window(self, shown: Sequence[_Shown], before: int) -> Window:
        """The first `before` of the shown turns are context: they are not asked about."""
        asked = shown[before:]
        numbers = ", ".join(str(turn.number) for turn in asked)
        left_out = f"[turns 1 to {shown[0].number - 1} are left out]\n\n" if shown[0].number > 1 else ""
        turns = "\n\n".join(turn.text for turn in shown)
        return Window(
            text=f"{self.text}\n\n{left_out}{turns}\n\nSay what is wrong in these turns: {numbers}.",
            turns={turn.number: turn.message_index for turn in asked},
            shown=shown,
            frame=self,
        )


def windows(reading: Reading, found: Sequence[Finding], *, size: int = WINDOW) -> list[Window]:
    """The windows of a trajectory, in order; none for one without a turn. `found` is what the rules said already."""
    if not reading.turns:
        return []
    key = _key(reading)
    frame = _Frame(text=_frame(reading, key))
    shown = [_turn(reading, number, found, key) for number in range(1, len(reading.turns) + 1)]
    made: list[Window] = []
    start = 0
    while start < len(shown):
        before = min(OVERLAP, start)
        used = sum(len(turn.text) for turn in shown[start - before : start])
        end = start
        while end < len(shown) and (end == start or used + len(shown[end].text) <= size):
            used += len(shown[end].text)
            end += 1
        made.append(frame.window(shown[start - before : end], before))
        start = end
    return made


def up_to(reading: Reading, message_index: int) -> str:
    """What a turn's agent could see, as a judge sees it, and the turn itself; of earlier turns the last ones."""
    key = _key(reading)
    number = reading.turns.index(message_index) + 1
    first = max(1, number - OVERLAP)
    *before, turn = [_turn(reading, each, (), key) for each in range(first, number + 1)]
    return "\n\n".join([_frame(reading, key), *(shown.text for shown in before), turn.said])


def _key(reading: Reading) -> str:
    said = json.dumps([list(reading.trajectory.messages), list(reading.trajectory.tools)], default=str)
    return hashlib.sha256(said.encode("utf-8", "replace")).hexdigest()[:8]


def _frame(reading: Reading, key: str) -> str:
    trajectory = reading.trajectory
    tools = "\n".join(json.dumps(_function(tool), ensure_ascii=False, default=str) for tool in trajectory.tools)
    parts = [f"Tools:\n{_data(tools, key, whole=True)}"]
    parts += [_other(message, key) for message in trajectory.messages[: reading.turns[0]]]
    return "\n\n".join(parts)


def _function(tool: Mapping[str, Any]) -> Any:
    return tool.get("function", tool)


def _turn(reading: Reading, number: int, found: Sequence[Finding], key: str) -> _Shown:
    messages = reading.trajectory.messages
    index = reading.turns[number - 1]
    end = reading.turns[number] if number < len(reading.turns) else len(messages)
    parts = [f"Turn {number}:\n{_said(reading, index, key)}"]
    if codes := sorted({str(finding.code) for finding in found if finding.message_index == index}):
        parts.append(f"[known of turn {number}: {', '.join(codes)}; do not report it again]")
    heard = "\n".join(_other(message, key) for message in messages[index + 1 : end])
    return _Shown(number=number, message_index=index, said="\n".join(parts), heard=heard)


def _said(reading: Reading, index: int, key: str) -> str:
    """A turn's raw text, or what its message has; calls are numbered from 0."""
    attempts = [attempt for attempt in reading.attempts if attempt.message_index == index]
    if index in reading.raws:
        numbers = ", ".join(str(attempt.call_index) for attempt in attempts)
        return _data(reading.raws[index], key) + (f"\n[calls in it: {numbers}]" if attempts else "")
    content = content_of(reading.trajectory.messages[index])
    parts = [_data(content, key)] if content or not attempts else []
    for attempt in attempts:
        written = f"{attempt.call.name}\n{attempt.call.arguments}"
        parts.append(f"Call {attempt.call_index}:\n{_data(written, key)}")
    return "\n".join(parts)


def _other(message: Message, key: str) -> str:
    """A message that the agent did not write. A system text is shown whole: it has the rules."""
    heading = {"system": "System", "developer": "System", "user": "User", "tool": "Result"}.get(
        str(message.get("role")), "Other"
    )
    failed = " (an error)" if message.get("is_error") else ""
    return f"{heading}{failed}:\n{_data(content_of(message), key, whole=heading == 'System')}"


def _data(text: str, key: str, *, whole: bool = False) -> str:
    shown = _CONTROL.sub(r"\g<0> ", text if whole else shortened(text))
    # A lone surrogate, which JSON's escapes can spell, can't be sent.
    return f"<data {key}>\n{shown.encode('utf-8', 'replace').decode()}\n</data {key}>"


def as_written(quote: str) -> str:
    """A quote from what was shown, as it stands in the text."""
    return _BROKEN.sub(r"\1", quote)


_REST = r"[|\uff5c]|/?s>|(?:start|end)_of_turn>|/?INST\]"
_CONTROL, _BROKEN = re.compile(rf"[<\[](?={_REST})"), re.compile(rf"([<\[]) (?={_REST})")
"""Where a token begins that parts messages, in the chat forms of Qwen, Llama, DeepSeek, Gemma, Mistral and their like.
A server may read it as such wherever it stands."""


def shortened(text: str) -> str:
    """A text with its middle left out, and a note in its place, where it is longer than `LONGEST_TEXT`."""
    if len(text) <= LONGEST_TEXT:
        return text
    half = LONGEST_TEXT // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half:,} characters are left out here ...]\n{text[-half:]}"
