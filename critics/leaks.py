"""A tool's name with a piece of the chat template in it: which piece leaked, and which tool was meant.

`echo<|channel|>commentary` is no tool; `<|channel|>` leaked, and `echo` was meant. Models do so where a server
samples the template's own tokens as text.
"""

import re
from collections.abc import Collection
from typing import NamedTuple

_TOKEN = re.compile(
    r"<\|[^|<>\s]{1,40}\|>"  # <|channel|>, <|im_end|>: most families
    r"|<\uff5c[^\uff5c<>]{1,40}\uff5c>"  # DeepSeek's full-width bars
    r"|</?(?:s|unk|pad|bos|eos|think|tool_calls?|tool_response|function(?:=[\w.-]*)?|arg_key|arg_value|invoke)>"
    r"|<(?:start|end)_of_turn>|<function="
    r"|\[/?(?:TOOL_CALLS|ARGS|CALL_ID|INST|TOOL_RESULTS|AVAILABLE_TOOLS)\]"
)
_NAMESPACE = re.compile(r"^(?:to=)?(?:functions|tools|assistant|multi_tool_use)[.:]")


class Leak(NamedTuple):
    """The token that leaked, and the tool that was meant, None where no offered tool is left of the name."""

    token: str
    meant: str | None


def leak_in(name: str, offered: Collection[str]) -> Leak | None:
    """The template's token in a name; None for a name without one."""
    match = _TOKEN.search(name)
    if match is None:
        return None
    parts = [part.strip(" \t\n\"':.,/") for part in _TOKEN.split(name)]
    bare = [_NAMESPACE.sub("", part) for part in parts if part]
    return Leak(match[0], next((part for part in bare if part in offered), None))
