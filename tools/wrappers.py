"""Small changes to a whole toolset: how an environment makes a desk harder, and how a user stresses a model.

    toolset = Toolset(tools_of(desk))
    toolset = withhold(rename(keep(toolset, ["find", "pay"]), {"pay": "settle"}), {"settle": 2})

| | does | a call to what is gone |
|---|---|---|
| `keep` | offers some of the tools | `unavailable_tool` |
| `rename` | offers them under other names | `nonexistent_tool` |
| `withhold` | offers some from a later turn on | `unavailable_tool` until then |
| `add_distractors` | offers tools that don't help | |
| `scramble_descriptions`, `shuffle` | words, or tools, in another order | |

Each takes a toolset and gives a new one whose tools do what they did; they compose in any order. The new one starts
where the old one is and goes on without it: call `advance` on the last one. Changes to one tool (its enums, its types)
are in `tools.toolset`.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from random import Random
from typing import Any

from tools.command import did_you_mean
from tools.drafts import mapped
from tools.schema import READ, Tool
from tools.toolset import DomainError, Toolset, renamed

REFUSAL = "this can't be done at the moment"


def keep(toolset: Toolset, which: Callable[[Tool], bool] | Collection[str]) -> Toolset:
    """Offer the tools that `which` names, or is true of; the others stay real, but can't be called.

    Raises ValueError for a name that no tool has.
    """
    if not callable(which):
        _must_have(toolset, which)
    kept = [tool for tool in toolset.tools if (which(tool) if callable(which) else tool.name in which)]
    names = {tool.name for tool in kept}
    gone = {tool.name for tool in toolset.tools} - names
    return _changed(
        toolset,
        kept,
        catalogue=toolset.catalogue | gone,
        withheld={name: turn for name, turn in toolset.withheld.items() if name in names},
    )


def rename(toolset: Toolset, names: Mapping[str, str]) -> Toolset:
    """Give tools other names: `names` maps an old one to the new one. The old one means nothing any more.

    Raises ValueError for an old name that no tool has, and for a new one that another tool has.
    """
    _must_have(toolset, names, toolset.catalogue)
    return _changed(
        toolset,
        [renamed(tool, names.get(tool.name, tool.name)) for tool in toolset.tools],
        catalogue={names.get(name, name) for name in toolset.catalogue},
        withheld={names.get(name, name): turn for name, turn in toolset.withheld.items()},
    )


def withhold(toolset: Toolset, until: Mapping[str, int]) -> Toolset:
    """Offer tools from a turn (0-based) on: `until` maps a tool's name to it. `Toolset.advance` begins a turn.

    Raises ValueError for a name that no tool has.
    """
    _must_have(toolset, until)
    return _changed(toolset, toolset.tools, withheld={**toolset.withheld, **until})


def add_distractors(toolset: Toolset, tools: Iterable[Tool], *, refusal: str = REFUSAL) -> Toolset:
    """Offer tools that don't help, after the others. A schema without a function refuses every call (DomainError).

    Raises ValueError for a name that there is already.
    """
    added = [tool if tool.function is not None else refusing(tool, refusal) for tool in tools]
    return _changed(toolset, [*toolset.tools, *added])


def answering(tool: Tool, result: Any) -> Tool:
    """The tool, which gives this result whatever it is asked, and changes nothing."""
    return replace(tool, function=lambda **_: result, access=READ)


def refusing(tool: Tool, refusal: str = REFUSAL) -> Tool:
    """The tool, which refuses whatever it is asked, and changes nothing."""

    def refuse(**_: Any) -> None:
        raise DomainError(refusal)

    return replace(tool, function=refuse, access=READ)


def scramble_descriptions(toolset: Toolset, seed: int) -> Toolset:
    """Put the words of each description, the arguments' too, in random order, so that names and types must do."""
    rng = Random(seed)

    def scrambled(text: str) -> str:
        words = text.split()
        rng.shuffle(words)
        return " ".join(words)

    def change(schema: dict[str, Any]) -> dict[str, Any]:
        text = schema.get("description")
        return {**schema, "description": scrambled(text)} if isinstance(text, str) else schema

    tools = [
        replace(tool, description=scrambled(tool.description), parameters=mapped(tool.parameters, change))
        for tool in toolset.tools
    ]
    return _changed(toolset, tools)


def shuffle(toolset: Toolset, seed: int) -> Toolset:
    """Offer the tools in random order; withheld ones still come after those that are offered before them."""
    tools = toolset.tools
    Random(seed).shuffle(tools)
    return _changed(toolset, tools)


def _changed(
    toolset: Toolset,
    tools: Iterable[Tool],
    *,
    catalogue: Collection[str] | None = None,
    withheld: Mapping[str, int] | None = None,
) -> Toolset:
    return Toolset(
        tools,
        catalogue=toolset.catalogue if catalogue is None else catalogue,
        withheld=toolset.withheld if withheld is None else withheld,
        suggest=toolset.suggest,
    )


def _must_have(toolset: Toolset, names: Iterable[str], more: Iterable[str] = ()) -> None:
    known = [*(tool.name for tool in toolset.tools), *more]
    for name in names:
        if name not in known:
            raise ValueError(f"the toolset has no tool {name!r}: {did_you_mean(name, known)}")
