"""A rule that guesses: the value of an argument `..._id` that no message before said."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from critics.attempt import Attempt
from critics.finding import WARNING, Finding, content_of
from critics.reading import Reading
from critics.rules.registry import rule
from envs import Message
from tools import ErrorCode, Violation
from tools.misfits import Steps, path_of


@rule(ErrorCode.UNGROUNDED_VALUE)
def ungrounded_value(reading: Reading) -> Iterator[Finding]:
    """An id that nobody said.

    An error's text proves nothing, since it says back what came; an id that a call succeeded with is known from then
    on, and so is one that the tool's schema has as a default or a choice.
    """
    said: _Said | None = None
    for attempt in reading.attempts:
        for place, value in _ids_of(attempt) if attempt.arguments else ():
            said = said or _Said(reading)
            text = str(value)
            if text not in said.plainly and not said.before(attempt.message_index, text):
                path = path_of(place)
                if not _is_default(reading, attempt, path, value):
                    expected = "a value that the request or a result says"
                    code = ErrorCode.UNGROUNDED_VALUE
                    violation = Violation(code=code, path=path, expected=expected, came=value)
                    yield reading.at_violation(attempt, violation, WARNING)


class _Said:
    """What a trajectory has said up to a message. A value is looked up as it is, then word by word."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.messages = reading.trajectory.messages
        self.refused = {id(attempt.result) for attempt in reading.suspects if attempt.refused}
        self.plainly: set[str] = set()  # what was found in a text once is in all later ones' past
        self.words: set[str] = set()  # the same of words
        self.texts: list[str] = []  # all that was said so far, in small letters
        self.upto = 0
        self.absent: dict[str, int] = {}  # by word: how many of the texts don't say it

    def before(self, index: int, value: str) -> bool:
        """Whether all words of a value were said before the message of that index."""
        messages = self.messages
        for place in range(index - 1, -1, -1):  # it is often the last result that said it
            message = messages[place]
            content = message.get("content")
            text = content if type(content) is str else content_of(message)
            start = text.find(value)
            if start != -1 and _stands_alone(text, value, start) and self._proves(message):
                self.plainly.add(value)
                return True
        self._listen(index)
        return all(map(self._says, re.findall(r"\w+", value.casefold())))

    def _listen(self, index: int) -> None:
        for place in range(self.upto, index):
            message = self.messages[place]
            if self._proves(message):
                self.texts.append(content_of(message).casefold())
            made = self.reading.calling.get(place, ())
            self.texts += [earlier.text.casefold() for earlier in made if earlier.succeeded]
        self.upto = max(self.upto, index)

    def _says(self, word: str) -> bool:
        if word not in self.words:
            texts = self.texts[self.absent.get(word, 0) :]
            if not any(_says(text, word) for text in texts):
                self.absent[word] = len(self.texts)
                return False
            self.words.add(word)
        return True

    def _proves(self, message: Message) -> bool:
        return not (message.get("is_error") or id(message) in self.refused)


_ESCAPES = ("\\b", "\\f", "\\n", "\\r", "\\t")


def _says(text: str, word: str) -> bool:
    """Whether a word is among those of a text, read loosely: `order12` also says `12`, and an escape in JSON (`\\n`)
    parts two words."""
    start = text.find(word)
    while start != -1:
        before = text[max(0, start - 2) : start]
        after = text[start + len(word) : start + len(word) + 1]
        if before[-1:] + word[0] not in _ESCAPES:  # else the word's first letter is an escape's
            before = "" if before in _ESCAPES else before[-1:]
            if not (before.isalnum() or after.isalnum() or before == "_" or after == "_"):
                return True
            if word.isdecimal() and not (before.isdecimal() or after.isdecimal()):
                return True
        start = text.find(word, start + 1)
    return False


def _stands_alone(text: str, value: str, start: int) -> bool:
    """Whether a value is in a text with no letter or digit right before or after it, at `start` or later."""
    while start != -1:
        end = start + len(value)
        before, after = text[start - 1 : start], text[end : end + 1]
        if before in _EDGES and after in _EDGES:
            return True
        if not (before.isalnum() or after.isalnum() or before == "_" or after == "_"):
            return True
        start = text.find(value, start + 1)
    return False


_EDGES = frozenset({"", *"\"' \n,.:;()[]{}<>/\\#*`"})
"""What mostly stands before and after a value: it is found here faster than it is looked at."""


Ids = Sequence[tuple[Steps, str | int]]
SHORT, REMEMBERED = 250, 8192
"""The ids of so many calls are remembered, of arguments of so many characters at most: calls come again."""
_known: dict[str, Ids] = {}


def _ids_of(attempt: Attempt) -> Ids:
    """The ids among a call's arguments."""
    text = attempt.text
    found = _known.get(text)
    if found is None:
        found = _ids(attempt.arguments) if '_id"' in text or "\\u" in text else ()
        if len(text) <= SHORT:
            if len(_known) >= REMEMBERED:
                _known.clear()
            _known[text] = found
    return found


def _ids(arguments: Mapping[str, Any]) -> Ids:
    """Every string or number under a name that ends in `_id`, nested too, with its place."""
    found: list[tuple[Steps, str | int]] = []
    pending: list[tuple[Steps, Any]] = [((), arguments)]
    while pending:
        place, value = pending.pop()
        for key, part in value.items() if type(value) is dict else enumerate(value):
            kind = type(part)
            if kind is str or kind is int:
                if type(key) is str and key.endswith("_id"):
                    found.append(((place, key), part))
            elif kind is dict or kind is list:
                pending.append(((place, key), part))
    return found


def _is_default(reading: Reading, attempt: Attempt, path: str, value: str | int) -> bool:
    """Whether the tool's own schema says the value."""
    tool = reading.offered.get(attempt.name)
    properties = tool.parameters.get("properties") if tool else None
    part = properties.get(path.removeprefix("$.")) if isinstance(properties, Mapping) else None
    if not isinstance(part, Mapping):
        return False
    return value in (part.get("default"), part.get("const"), *(part.get("enum") or ()))
