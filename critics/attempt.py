"""One call of a trajectory, with what is wrong with it and how it was answered.

Left out: how calls are gathered and checked (`critics.reading`), and what an answer's words mean (`critics.answers`).
"""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Literal

from msgspec import Struct

from critics.answers import ERROR, FAULT, FLAGGED, NO_ERROR, NONE, Answer, refuses
from critics.finding import NAME_CODES, content_of
from critics.leaks import leak_in
from critics.spans import CallPlace, place_in_itself, places
from critics.wording import Wording, wording_of
from envs import Message
from tools import ToolCall, Violation

WORDS = 1_000
"""Characters of an answer that are read for the environment's own words."""
SAID_BACK = 3
"""An argument of so many characters is no word that an answer has by chance, if it says it back at all."""


NO_ARGUMENTS: Mapping[str, Any] = MappingProxyType({})


class Attempt(Struct, eq=False):
    """One tool call, with what is wrong with it and the message that answered it. `made` are the calls of its turn.

    What takes time and is rarely asked for is found when it is: the place in the text, what the answer's words mean,
    and `key`, which is equal for calls that ask for the same, however their JSON is spaced and ordered.
    """

    message_index: int
    call_index: int
    made: Sequence[Mapping[str, Any]]
    id: str
    name: str
    text: str
    result: Message | None = None
    answer: Answer = NONE
    arguments: Mapping[str, Any] = NO_ARGUMENTS
    violations: Sequence[Violation] = ()
    checked: bool = False
    """Whether the environment is known to refuse whatever the schema forbids."""
    _call: ToolCall | None = None
    _place: CallPlace | None = None
    _key: tuple[str, str] | None = None
    _wording: Wording | Literal[False] | None = False

    @property
    def call(self) -> ToolCall:
        if self._call is None:
            self._call = ToolCall(id=self.id, name=self.name, arguments=self.text)
        return self._call

    def place(self, raw: str | None) -> CallPlace:
        """Where it stands in its turn's raw text, or in its own strings where that is not known."""
        if self._place is None:
            if raw is None:
                self._place = place_in_itself(self.name, self.text)
            else:
                self._place = places([ToolCall.from_openai(call) for call in self.made], raw)[self.call_index]
        return self._place

    @property
    def key(self) -> tuple[str, str]:
        if self._key is None:
            self._key = self.name, canonical(self.text)
        return self._key

    @property
    def tolerated(self) -> bool:
        """Whether the environment carried the call out although the tools that were offered forbid it.

        A name that is in no list takes more than an answer without refusal: one that says back what the call asked for.
        """
        if self.checked or not self.violations or self.result is None or self.answer is not NO_ERROR:
            return False
        return not refuses(self.result) and (self.violations[0].code not in NAME_CODES or self._is_said_back())

    def _is_said_back(self) -> bool:
        """Whether the answer has a text in it that is an argument of the call, which has no template's token."""
        try:
            given = json.loads(self.text)
        except (ValueError, RecursionError):
            return False
        said = content_of(self.result or {})
        texts = [value for value in given.values() if isinstance(value, str)] if isinstance(given, dict) else []
        return leak_in(self.name, ()) is None and any(text in said for text in texts if len(text) >= SAID_BACK)

    @property
    def refused(self) -> bool:
        """Whether the environment answered with an error that is not its own fault."""
        return self.answer is FLAGGED or self.answer is ERROR

    @property
    def wording(self) -> Wording | None:
        """What the environment's own words call wrong with a call that the schema has nothing against."""
        if self._wording is False:
            asked = self.result is not None and not self.violations and self.refused
            text = content_of(self.result)[:WORDS] if asked and self.result else ""
            self._wording = _wording_of(text) if text and not errors_in(text) else None
        return self._wording

    @property
    def failed(self) -> bool:
        """Whether the call led to nothing by its own fault."""
        if self.answer is FAULT:
            return False
        return self.refused or (bool(self.violations) and not self.tolerated)

    @property
    def succeeded(self) -> bool:
        if self.answer is NO_ERROR and not self.violations:
            return True
        return self.result is not None and self.answer is not FAULT and not self.failed


_wording_of = lru_cache(maxsize=1024)(wording_of)  # environments refuse in the same words over and over


def asks_the_same(one: Attempt, other: Attempt) -> bool:
    """Whether two calls ask for the same; most that don't can be told apart without reading their JSON again."""
    if one.name != other.name:
        return False
    if one.text == other.text:
        return True
    return one.arguments == other.arguments and one.key == other.key


def canonical(arguments: str) -> str:
    """Arguments as they are the same for calls that ask for the same; what is no JSON, as it is."""
    try:
        return json.dumps(json.loads(arguments or "{}"), sort_keys=True)
    except (ValueError, RecursionError):
        return arguments


def errors_in(content: str) -> list[Mapping[str, Any]]:
    """The errors that a result of our own form lists."""
    if not content.lstrip().startswith('{"errors"'):
        return []
    try:
        record = json.loads(content)
    except (ValueError, RecursionError):
        return []
    errors = record.get("errors") if isinstance(record, dict) else None
    return [error for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []
