"""The tools that a log says were offered, whatever program wrote it, read for checking calls against them.

A schema here was written for a model and is checked by an environment that nobody knows. It is read as
`tools.drafts.mended` and `tools.closing.closed` say, and the formats that everybody means alike are asserted. A tool
is compiled at its first call, and tools of one text share what was compiled. Left out: tools that somebody wants to
offer (`tools.dialects`), for whom a broken schema is a mistake to be told.
"""

import json
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Generic, TypeVar

import msgspec

from tools.closing import closed
from tools.compiled import Compiled
from tools.drafts import mended
from tools.plain import acceptor
from tools.schema import Tool

Read = TypeVar("Read")
NO_PARAMETERS: Mapping[str, Any] = {"type": "object", "properties": {}}


class LoggedTools(Mapping[str, Tool]):
    """Tools by name, each read when it is asked for. Of two with one name the last one counts.

    Raises ValueError for a list that holds something else than tools, and for parameters that are no object.
    """

    def __init__(self, specs: Sequence[Mapping[str, Any]]) -> None:
        self.functions: Mapping[str, Any] = dict(map(_named, specs))
        self.tools: dict[str, Tool] = {}

    def __getitem__(self, name: str) -> Tool:
        tool = self.tools.get(name)
        return tool if tool is not None else self._read(name)

    def get(self, name: str, default: Any = None) -> Any:
        tool = self.tools.get(name)
        if tool is not None:
            return tool
        return self._read(name) if name in self.functions else default

    def without(self, names: Collection[str]) -> "LoggedTools":
        """The tools but for some."""
        others = LoggedTools(())
        others.functions = {name: function for name, function in self.functions.items() if name not in names}
        return others

    def __contains__(self, name: object) -> bool:
        return name in self.functions

    def __iter__(self) -> Iterator[str]:
        return iter(self.functions)

    def __len__(self) -> int:
        return len(self.functions)

    def _read(self, name: str) -> Tool:
        tool = self.tools[name] = _tool(name, self.functions[name])
        return tool


def _named(spec: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    function = spec.get("function", spec)
    name = function.get("name") if type(function) is dict or isinstance(function, Mapping) else None
    if not isinstance(name, str):
        raise ValueError(f"expected an OpenAI tool schema with a 'name', got {spec!r:.200}")
    return name, function


@lru_cache(maxsize=4096)
def _compiled(parameters: bytes) -> Compiled:
    return Compiled(closed(_modern(json.loads(parameters))), formats=True)


def _modern(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What is plain needs no mending, but for the name of its draft."""
    schema = {name: part for name, part in parameters.items() if name != "$schema"}
    return schema if acceptor(schema, formats=True) is not None else mended(parameters)


class _Remembered(Generic[Read]):
    """What was read of the latest objects, by their identity: so these must not be changed in place."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.known: OrderedDict[int, tuple[object, Read]] = OrderedDict()

    def get(self, of: object) -> Read | None:
        known = self.known.get(id(of))
        return known[1] if known is not None and known[0] is of else None

    def add(self, of: object, read: Read) -> Read:
        self.known[id(of)] = of, read
        if len(self.known) > self.size:
            self.known.popitem(last=False)
        return read


_LISTS = _Remembered[LoggedTools](512)
_TOOLS = _Remembered[Tool](4096)


def logged_tools(specs: Sequence[Mapping[str, Any]]) -> LoggedTools:
    """The tools of a trajectory. Trajectories that share their list, or tools (as a file's reader makes them do),
    share what was read of them; so neither must be changed in place."""
    return _LISTS.get(specs) or _LISTS.add(specs, LoggedTools(specs))


def remembered_tools(specs: object) -> LoggedTools | None:
    """The same of a list that was read before; None for any other, which may be no list of tools at all."""
    return _LISTS.get(specs)


def _tool(name: str, function: Mapping[str, Any]) -> Tool:
    return _TOOLS.get(function) or _TOOLS.add(function, _read(name, function))


def _read(name: str, function: Mapping[str, Any]) -> Tool:
    key = next((key for key in ("inputSchema", "input_schema") if key in function), "parameters")
    parameters = function.get(key) or NO_PARAMETERS
    if not isinstance(parameters, Mapping):
        raise ValueError(f"tool {name!r}: expected a JSON Schema as {key!r}, got {parameters!r:.80}")
    try:
        compiled = _compiled(_to_json(parameters))
    except RecursionError:  # it nests deeper than anybody could check
        compiled = _compiled(b"{}")
    description = str(function.get("description") or "")
    return Tool(name=name, description=description, parameters=compiled.parameters, compiled=compiled)


def _to_json(parameters: Mapping[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(parameters, enc_hook=dict)
    except (ValueError, TypeError):  # a lone surrogate, a name that is neither a text nor a number
        return json.dumps(parameters, default=dict).encode()
