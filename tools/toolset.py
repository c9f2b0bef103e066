"""The tools that are offered together, and small changes to one of them.

An environment offers a `Toolset`; `renamed`, `reworded`, `retyped`, `requiring` and `without` give a changed tool,
so that one world can show a different face in every episode while its functions stay the same. Changes to a whole
toolset are in `tools.wrappers`.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from tools.call import ErrorCode, ToolCall, ToolResult, Violation, shown
from tools.check import check_call
from tools.schema import Tool


class DomainError(Exception):
    """The world refuses a well-formed call (no such order): an observation for the model."""


class InfrastructureFault(Exception):
    """What carries a call out failed (a timeout, a lost connection): never the model's mistake, so it ends an episode
    without counting in any rate."""


class InvalidArguments(Exception):
    """The schema allows the arguments, and what the function asks for does not. Holds `Violation`s."""


class Toolset:
    """Tools by name; `call` checks a call against them and carries it out.

    `offered` are the tools that can be called now, `catalogue` the names of real tools that are not offered here, and
    `withheld` says at which turn (0-based) each of the others will be. With `suggest` the answer to a bad call says
    which tool, argument or value was probably meant.

    Raises ValueError for two tools of one name, and for a withheld one that isn't among them.
    """

    def __init__(
        self,
        tools: Iterable[Tool],
        *,
        catalogue: Collection[str] = (),
        withheld: Mapping[str, int] | None = None,
        suggest: bool = False,
    ) -> None:
        self.offered: dict[str, Tool] = {}
        for tool in tools:
            if tool.name in self.offered:
                raise ValueError(f"two tools have the name {tool.name!r}: rename one of them")
            self.offered[tool.name] = tool
        self.catalogue = frozenset(catalogue)
        self.suggest = suggest
        self.withheld: Mapping[str, int] = {name: turn for name, turn in (withheld or {}).items() if turn > 0}
        unknown = self.withheld.keys() - self.offered.keys()
        if unknown:
            raise ValueError(f"can't withhold {', '.join(sorted(unknown))}: no such tool in the toolset")
        self._later = {name: self.offered.pop(name) for name in [*self.offered] if name in self.withheld}
        self._real = self.catalogue | self._later.keys()

    @property
    def tools(self) -> list[Tool]:
        """The tools that are offered, and after them those that will be."""
        return [*self.offered.values(), *self._later.values()]

    def advance(self, turn: int) -> tuple[Tool, ...]:
        """Begin a turn (0-based); gives the tools that are offered from this one on."""
        if not self.withheld:
            return ()
        due = [name for name, first in self.withheld.items() if first <= turn]
        begun = {name: self._later.pop(name) for name in [*self._later] if name in due}
        self.offered.update(begun)
        self.withheld = {name: first for name, first in self.withheld.items() if name not in begun}
        self._real = self.catalogue | self._later.keys()
        return tuple(begun.values())

    def to_openai(self) -> list[dict[str, Any]]:
        return [tool.to_openai() for tool in self.offered.values()]

    def check(self, call: ToolCall) -> tuple[dict[str, Any], list[Violation]]:
        """The parsed arguments of a call and its violations; see `tools.check.check_call`."""
        return check_call(call, self.offered, self._real)

    def call(self, call: ToolCall) -> ToolResult:
        """Check a call and carry it out; see `answer`."""
        return self.answer(call)[1]

    def answer(self, call: ToolCall) -> tuple[dict[str, Any], ToolResult]:
        """Check a call and carry it out; gives its parsed arguments too.

        A tool that crashes raises, with a note that says which tool and with which arguments: that is a bug, not an
        observation. Raises InfrastructureFault where the tool did, or was cut off.
        """
        arguments, violations = self.check(call)
        if violations:
            return arguments, ToolResult.error(*violations, suggest=self.suggest)
        function = self.offered[call.name].function
        if function is None:
            raise ValueError(f"tool {call.name!r} is a schema without a function: it can be checked, not called")
        try:
            return arguments, ToolResult.success(function(**arguments))
        except DomainError as error:
            rejection = Violation(code=ErrorCode.DOMAIN_REJECTION, path="$", expected=str(error), came=arguments)
            return arguments, ToolResult.error(rejection)
        except InvalidArguments as error:
            return arguments, ToolResult.error(*error.args)
        except Exception as error:
            error.add_note(f"in tool {call.name!r}, called with {shown(call.arguments, 1_000)}")
            raise


def renamed(tool: Tool, name: str) -> Tool:
    return replace(tool, name=name)


def reworded(tool: Tool, argument: str, words: Mapping[str, str]) -> Tool:
    """Offer other words for an enum's values: `words` maps each value to the word that stands for it.

    Raises ValueError if one word stands for two values.
    """
    meaning = {word: value for value, word in words.items()}
    if len(meaning) < len(words):
        raise ValueError(f"{tool.name}: one word stands for two values of {argument!r}, came {dict(words)}")
    # pydantic writes a choice of one as `const`, which would refuse its new word.
    part = {key: value for key, value in tool.parameters["properties"][argument].items() if key != "const"}
    part["enum"] = list(meaning)
    if "default" in part:
        part["default"] = words.get(part["default"], part["default"])
    changed = _with_property(tool, argument, part)
    return _with_argument(changed, argument, meaning.__getitem__)


def retyped(tool: Tool, argument: str) -> Tool:
    """Ask for an integer as a string of digits."""
    changed = _with_property(tool, argument, {**tool.parameters["properties"][argument], "type": "string"})
    return _with_argument(changed, argument, partial(_digits, argument))


def _digits(argument: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise DomainError(f"{argument} must be digits")
    return int(text)


def requiring(tool: Tool, argument: str) -> Tool:
    """Make an optional argument a required one."""
    part = {key: value for key, value in tool.parameters["properties"][argument].items() if key != "default"}
    changed = _with_property(tool, argument, part)
    return replace(changed, parameters={**changed.parameters, "required": [*tool.required, argument]})


def without(tool: Tool, argument: str) -> Tool:
    """Take an optional argument away; the function's default stands."""
    properties = {name: part for name, part in tool.parameters["properties"].items() if name != argument}
    return replace(tool, parameters={**tool.parameters, "properties": properties})


def showing(tool: Tool, more: Callable[[Any], Any]) -> Tool:
    """The same tool, whose result is what `more` makes of it."""
    function = tool.function

    def call(**arguments: Any) -> Any:
        assert function is not None
        return more(function(**arguments))

    return replace(tool, function=call if function is not None else None)


def _with_property(tool: Tool, argument: str, part: Mapping[str, Any]) -> Tool:
    """The same tool, whose schema describes `argument` with `part`."""
    properties = {**tool.parameters["properties"], argument: part}
    return replace(tool, parameters={**tool.parameters, "properties": properties})


def _with_argument(tool: Tool, argument: str, read: Callable[[Any], Any]) -> Tool:
    """The same tool, whose function gets `argument` through `read`."""
    function = tool.function

    def call(**arguments: Any) -> Any:
        assert function is not None
        if argument in arguments:
            arguments[argument] = read(arguments[argument])
        return function(**arguments)

    return replace(tool, function=call if function is not None else None)
