"""Ways to make any world harder for a model: what is offered changes its face, what can be done stays the same.

    make("store-v1+shuffle+distract")       # wherever a world's id goes: rollout, play, distill, eval

Each is a change to the whole toolset (`tools.wrappers`), seeded by the task. The expert still solves every task.
"""

from collections.abc import Callable, Mapping

from tools import WRITE, Tool, Toolset
from tools.wrappers import add_distractors, scramble_descriptions, shuffle, withhold


def _tool(name: str, description: str, /, **arguments: str) -> Tool:
    properties = {argument: {"type": kind} for argument, kind in arguments.items()}
    parameters = {
        "type": "object",
        "properties": properties,
        "required": list(arguments),
        "additionalProperties": False,
    }
    return Tool(name=name, description=description, parameters=parameters)


DISTRACTORS = (
    _tool("search_web", "Search the web.", query="string"),
    _tool("send_message", "Send a message to a colleague.", name="string", text="string"),
    _tool("create_reminder", "Be reminded of something in some minutes.", text="string", minutes="integer"),
    _tool("convert_units", "Convert an amount from one unit to another.", amount="number", unit="string", to="string"),
    _tool("get_weather", "What the weather is like in a city.", city="string"),
    _tool("translate_text", "Translate a text to another language.", text="string", language="string"),
)
"""Tools that no world needs; they refuse whatever they are asked."""


def _distract(toolset: Toolset, _: int) -> Toolset:
    known = {tool.name for tool in toolset.tools} | toolset.catalogue
    return add_distractors(toolset, [tool for tool in DISTRACTORS if tool.name not in known])


def _withhold(toolset: Toolset, _: int) -> Toolset:
    return withhold(toolset, {tool.name: 1 for tool in toolset.tools if tool.access is WRITE})


STRESSES: Mapping[str, Callable[[Toolset, int], Toolset]] = {
    "shuffle": shuffle,
    "scramble": scramble_descriptions,
    "distract": _distract,
    "withhold": _withhold,
}
"""By name: tools in another order; descriptions with their words in another order; six tools that don't help; tools
that change something only from the second turn on."""
