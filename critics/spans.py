"""Where things stand in text: the parts of a JSON document, the calls of a turn, the part that a violation is about.

All places are [start, end) in characters. Left out: tokens, and how calls are parsed and checked (`envs`, `tools`).
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec
from msgspec import Struct

from tools import ErrorCode, ToolCall, Violation

Span = tuple[int, int]

_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)
_STEP = re.compile(r"\[(\d+)\]|\['((?:[^'\\]|\\.)*)'\]|\.([^.\[]+)", re.DOTALL)
_ONE_STEP = re.compile(r"\$\.\w+")

OPEN, CLOSE = "<tool_call>", "</tool_call>"
STOPS = re.compile(r"<\|im_end\|>|<\|endoftext\|>")


class Node(Struct, eq=False):
    """A JSON value in a text. `key` is where its name's opening quote stands, or `start` where it has no name."""

    key: int
    start: int
    end: int
    children: dict[str | int, "Node"] = {}

    @property
    def span(self) -> Span:
        return self.start, self.end

    def find(self, path: str) -> tuple["Node", str]:
        """Follow a JSON path (`$.items[0].sku`) as far as it leads: the last value there is, and the path's rest."""
        node, rest = self, path.removeprefix("$")
        while rest:
            # A name that a violation adds to a path is not quoted, so all that is left may be one name.
            if rest[1:] in node.children:
                return node.children[rest[1:]], ""
            step = _STEP.match(rest)
            child = node.children.get(_step_key(step)) if step else None
            if step is None or child is None:
                break
            node, rest = child, rest[step.end() :]
        return node, rest


def _step_key(step: re.Match[str]) -> str | int:
    index, quoted, plain = step.groups()
    if index is not None:
        return int(index)
    return plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL)


def scan(text: str, start: int = 0, end: int | None = None) -> Node | None:
    """The places of all values of the JSON document text[start:end], in linear time; None if that is no JSON.

    Of two members with one name the last one counts, as it does for `json.loads`.
    """
    end = len(text) if end is None else end
    if not _is_json(text[start:end]):
        return None
    root = Node(start, start, end)
    open_nodes, name, key = [root], None, -1
    for token in _TOKEN.finditer(text, start, end):
        first, parent = token[0][0], open_nodes[-1]
        if first in "}]":
            open_nodes.pop().end = token.end()
        elif first == '"' and name is None and text[parent.start] == "{":
            written = token[0]
            name, key = json.loads(written) if "\\" in written else written[1:-1], token.start()
        elif first not in ",:":
            node = Node(token.start() if name is None else key, *token.span())
            parent.children[len(parent.children) if name is None else name] = node
            name = None
            if first in "{[":
                open_nodes.append(node)
    return root.children[0]


def _is_json(text: str) -> bool:
    try:
        _validate(text)
    except (ValueError, RecursionError):  # `json` takes some more, such as a lone surrogate's escape
        try:
            json.loads(text)
        except (ValueError, RecursionError):
            return False
    return True


_validate = msgspec.json.Decoder().decode


def call_blocks(raw: str) -> list[Span]:
    """The inner texts of a turn's `<tool_call>` blocks (Hermes' and Qwen's form), without the space around them.

    A block that is not closed goes to the turn's end. Blocks inside `<think>` are drafts, not calls. An empty block is
    given with its tags, so that there is something to point at.
    """
    stop = STOPS.search(raw)
    end = stop.start() if stop else len(raw)
    return list(_blocks(raw, _reasoning_end(raw), end))


def _reasoning_end(raw: str) -> int:
    return raw.find("</think>") + len("</think>") if raw.lstrip().startswith("<think>") and "</think>" in raw else 0


def _blocks(raw: str, position: int, end: int) -> Iterator[Span]:
    while (opened := raw.find(OPEN, position, end)) != -1:
        inner = opened + len(OPEN)
        closed = raw.find(CLOSE, inner, end)
        position = end if closed == -1 else closed + len(CLOSE)
        start, stop = _stripped(raw, inner, end if closed == -1 else closed)
        yield (start, stop) if start < stop else (opened, position)


def _stripped(text: str, start: int, end: int) -> Span:
    part = text[start:end]
    return start + len(part) - len(part.lstrip()), end - len(part) + len(part.rstrip())


class CallPlace(Struct, kw_only=True, eq=False):
    """Where one call stands: all of it, its name, its arguments. `call` is the object that holds name and arguments.

    `arguments` are scanned already, or stand in `text` at `written` and are scanned if they must be.
    """

    whole: Span
    name: Span
    call: Node | None = None
    arguments: Node | None = None
    text: str = ""
    written: Span | None = None

    def scanned(self) -> Node | None:
        if self.written is not None:
            self.arguments, self.written = scan(self.text, *self.written), None
        return self.arguments

    def value(self, path: str) -> Span:
        """The value at a path, or the nearest one around it."""
        if path == "$" and self.written is not None:
            start, end = _stripped(self.text, *self.written)  # all of it: no need to look inside
            return (start, end) if start < end else self.whole
        arguments = self.scanned()
        return arguments.find(path)[0].span if arguments else self.whole

    def member(self, path: str) -> Span:
        """A member of an object: from its name's opening quote to the end of its value."""
        arguments = self.scanned()
        if arguments is None:
            return self.whole
        node, rest = arguments.find(path)
        return node.span if rest else (node.key, node.end)

    def closing(self, path: str) -> Span:
        """The brace that closes the object which lacks the member that `path` names."""
        if self.written is not None and _ONE_STEP.fullmatch(path):
            start, end = _stripped(self.text, *self.written)
            inside = self.text[start:end]
            if inside.startswith("{") and path[2:] not in inside and "\\" not in inside:  # the last one, surely
                return end - 1, end
        arguments = self.scanned()
        lacking = arguments.find(path)[0] if arguments else self.call
        return (lacking.end - 1, lacking.end) if lacking else self.whole

    def of(self, violation: Violation) -> Span:
        """The part of the call that a violation is about."""
        marked = _MARKED.get(violation.code, CallPlace.value)
        return marked(self, violation.path)


_MARKED: Mapping[ErrorCode, Callable[[CallPlace, str], Span]] = {
    ErrorCode.NONEXISTENT_TOOL: lambda place, _: place.name,
    ErrorCode.UNAVAILABLE_TOOL: lambda place, _: place.name,
    ErrorCode.MALFORMED_CALL: lambda place, _: place.whole,
    ErrorCode.MISSING_ARGUMENT: CallPlace.closing,
    ErrorCode.UNEXPECTED_ARGUMENT: CallPlace.member,
}


def places(calls: Sequence[ToolCall], raw: str | None) -> list[CallPlace]:
    """Where each call of a turn stands in its raw text, or in its own strings where that is not known."""
    if raw is None:
        return [place_in_itself(call.name, call.arguments) for call in calls]
    blocks, position, found = call_blocks(raw), 0, []
    for number, call in enumerate(calls):
        place = _in_block(call, raw, blocks[number]) if number < len(blocks) else None
        place = place or _in_other_form(call, raw, position)
        position = place.whole[1] if place.whole != (0, len(raw)) else position
        found.append(place)
    return found


def place_in_itself(name: str, arguments: str) -> CallPlace:
    """Where a call stands in its own strings, for a turn whose raw text is not known."""
    whole = (0, len(arguments))
    return CallPlace(whole=whole, name=(0, len(name)), text=arguments, written=whole)


def _in_block(call: ToolCall, raw: str, block: Span) -> CallPlace | None:
    """The call in its block; None if the block holds another call, so that the count of blocks can't be relied on."""
    node = scan(raw, *block)
    if node is None or "name" not in node.children:
        return CallPlace(whole=block, name=block, call=node) if not call.name else None
    start, end = node.children["name"].span
    if call.name not in ("", json.loads(raw[start:end])):
        return None
    return CallPlace(whole=block, name=(start + 1, end - 1), call=node, arguments=node.children.get("arguments"))


def _in_other_form(call: ToolCall, raw: str, position: int) -> CallPlace:
    """The call in a form that is not known: by its arguments' text, else all of the turn."""
    start = raw.find(call.arguments, position) if call.arguments else -1
    if start == -1:
        name = raw.find(call.name, position) if call.name else -1
        whole = (0, len(raw))
        return CallPlace(whole=whole, name=whole if name == -1 else (name, name + len(call.name)))
    end = start + len(call.arguments)
    name = raw.rfind(call.name, position, start) if call.name else -1
    return CallPlace(
        whole=(start, end),
        name=(start, end) if name == -1 else (name, name + len(call.name)),
        text=raw,
        written=(start, end),
    )
