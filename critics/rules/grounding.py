"""A rule that guesses: the value of an argument `..._id` that no message before said."""

import re
from collections.abc import Iterator, Mapping
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
        text = attempt.text
        for place, value in _ids(attempt.arguments) if '_id"' in text or "\\u" in text else ():
            said = said or _Said(reading)
            if not said.before(attempt, str(value)):
                path = path_of(place)
                if not _is_default(reading, attempt, path, value):
                    expected = "a value that the request or a result says"
                    code = ErrorCode.UNGROUNDED_VALUE
                    violation = Violation(code=code, path=path, expected=expected, came=value)
                    yield reading.at_violation(attempt, violation, WARNING)


class _Said:
    """What a trajectory has said up to a message, looked up as text where that is enough, else word by word."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.refused = {id(attempt.result) for attempt in reading.suspects if attempt.refused}
        self.plainly: set[str] = set()  # what was found in a text once is in all later ones' past
        self.words: set[str] = set()
        self.upto = 0

    def before(self, attempt: Attempt, value: str) -> bool:
        """Whether all words of a value were said before the turn of a call."""
        index = attempt.message_index
        if value in self.plainly:
            return True
        messages = self.reading.trajectory.messages
        for place in range(index - 1, -1, -1):  # it is often the last result that said it
            content = messages[place].get("content")
            text = content if type(content) is str else content_of(messages[place])
            if value in text and _stands_in(text, value) and self._proves(messages[place]):
                self.plainly.add(value)
                return True
        for place in range(self.upto, index):
            self.words.update(_words(self._text(place), loosely=True))
            for earlier in self.reading.calling.get(place, ()):
                if earlier.succeeded:
                    self.words.update(_words(earlier.text, loosely=True))
        self.upto = max(self.upto, index)
        return self.words.issuperset(_words(value))

    def _text(self, place: int) -> str:
        message = self.reading.trajectory.messages[place]
        return content_of(message) if self._proves(message) else ""

    def _proves(self, message: Message) -> bool:
        return not (message.get("is_error") or id(message) in self.refused)


def _stands_in(text: str, value: str) -> bool:
    """Whether a value is in a text with no letter or digit right before or after it."""
    start = text.find(value)
    while start != -1:
        end = start + len(value)
        before, after = text[start - 1 : start], text[end : end + 1]
        if not (before.isalnum() or before == "_" or after.isalnum() or after == "_"):
            return True
        start = text.find(value, start + 1)
    return False


def _ids(arguments: Mapping[str, Any]) -> Iterator[tuple[Steps, str | int]]:
    """Every string or number under a name that ends in `_id`, nested too, with its place."""
    pending: list[tuple[Steps, Any]] = [((), arguments)]
    while pending:
        place, value = pending.pop()
        for key, part in value.items() if type(value) is dict else enumerate(value):
            kind = type(part)
            if kind is dict or kind is list:
                pending.append(((place, key), part))
            elif (kind is str or kind is int) and type(key) is str and key.endswith("_id"):
                yield (place, key), part


def _words(text: str, *, loosely: bool = False) -> Iterator[str]:
    """The words of a text. Read loosely, `order12` also says `12`, and an escape in JSON (`\\n`) parts two words."""
    if not loosely:
        return iter(re.findall(r"\w+", text.casefold()))
    plain = re.sub(r"\\+[bfnrt]", " ", text.casefold())
    return (word for found in re.finditer(r"\w+", plain) for word in (found[0], *re.findall(r"\d+", found[0])))


def _is_default(reading: Reading, attempt: Attempt, path: str, value: str | int) -> bool:
    """Whether the tool's own schema says the value."""
    tool = reading.offered.get(attempt.name)
    properties = tool.parameters.get("properties") if tool else None
    part = properties.get(path.removeprefix("$.")) if isinstance(properties, Mapping) else None
    if not isinstance(part, Mapping):
        return False
    return value in (part.get("default"), part.get("const"), *(part.get("enum") or ()))
