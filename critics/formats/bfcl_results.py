"""BFCL's result files of multi-turn tasks: a task a line, with what the model said and what came back.

    {"id": ..., "result": [[step, ...], ...], "inference_log": [{"begin_of_turn_query": ..., "step_0": [...]}, ...]}

A step is a list of `{name: arguments}`, or, from models that are only prompted, a text: Python calls, or JSON objects
with `name` and `arguments`. Where the log has them decoded, that is read. To arguments that BFCL could not decode, no
text at all among them, its remark about that is the result. The functions' schemas are in the file where they stand in
the prompt, or where the run logged its inputs; else give them with `--tools` (BFCL's `multi_turn_func_doc/*.json`).
"""

import ast
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any
from warnings import catch_warnings

from critics.formats.form import Form, assistant, result, tool_call
from critics.formats.records import Record
from envs import Message, StopReason
from tools.dialects import read_tool

FAILED = "Error during inference"
FORCED = "forced to quit"
EXECUTION_ERROR = "Error during execution"
UNDECODED = "Error decoding"

_LIST = re.compile(r'\[\s*\{\s*"name"\s*:')


def looks_like(record: Record) -> bool:
    value = record.value
    return isinstance(value, Mapping) and {"id", "result"} <= set(value) and "messages" not in value


def read(record: Record) -> Iterator[Mapping[str, Any]]:
    value = record.value
    if not looks_like(record):
        raise ValueError("expected a task's result, an object with 'id' and 'result'")
    outcome = value["result"]
    failed = isinstance(outcome, str) and outcome.startswith(FAILED)
    log = _Log()
    for entry in [] if failed else _turns(value):
        log.turn(entry)
    ours = {
        "id": str(value["id"]),
        "task": {"id": str(value["id"])},
        "messages": log.messages,
        "stop_reason": StopReason.INFRASTRUCTURE_FAULT if failed else log.stop_reason,
        "fault": outcome if failed else "",
    }
    yield ours | {"tools": list(log.tools.values()), "tools_from": log.tools_from} if log.tools else ours


def _turns(value: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The turns of the log; made up from the result alone where there is no log."""
    logged = [entry for entry in value.get("inference_log") or () if isinstance(entry, Mapping)]
    if any("begin_of_turn_query" in entry for entry in logged):
        yield from logged
        return
    outcome = value["result"]
    turns = outcome if isinstance(outcome, list) and all(isinstance(turn, list) for turn in outcome) else [[outcome]]
    for turn in turns:
        yield {f"step_{number}": [{"role": "assistant", "content": step}] for number, step in enumerate(turn)}


class _Log:
    """The messages of a task as its log is read, and the tools that the inputs in it name."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.tools: dict[str, dict[str, Any]] = {}
        self.tools_from: dict[str, int] = {}
        self.stop_reason = StopReason.ANSWERED

    def turn(self, turn: Mapping[str, Any]) -> None:
        for message in turn.get("begin_of_turn_query") or ():
            self.offer(_functions(message["content"]))
            self.messages.append({"role": str(message["role"]), "content": message["content"]})
        for name, step in turn.items():
            if name.startswith("step_"):
                self.step([entry for entry in step if isinstance(entry, Mapping)])

    def step(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """One answer of the model, with what was decoded of it, and the results in the order of its calls."""
        decoded = next(
            (entry["model_response_decoded"] for entry in entries if "model_response_decoded" in entry), None
        )
        calls: list[dict[str, Any]] = []
        answered = 0
        for entry in entries:
            match entry.get("role"):
                case "inference_input":
                    self.input(entry.get("content"))
                case "assistant":
                    message = self.answer(entry, decoded)
                    calls, answered = message.get("tool_calls") or [], 0
                    self.messages.append(message)
                case "handler_log" if FORCED in str(entry.get("content")):
                    self.stop_reason = StopReason.TURN_LIMIT
                case "handler_log" if str(entry.get("content")).startswith(UNDECODED):
                    remark = " ".join(str(entry[name]) for name in ("content", "error") if name in entry)
                    broken = [call["id"] for call in calls if _of_json(call["function"]["arguments"]) is None]
                    self.messages += [result(call_id, remark, is_error=True) for call_id in broken]
                case "tool" | "execution_result":
                    call_id = calls[answered]["id"] if answered < len(calls) else ""
                    answered += 1
                    said = entry.get("content")
                    text = said if isinstance(said, str) else json.dumps(said)
                    self.messages.append(result(call_id, text, is_error=_is_error(text)))

    def input(self, content: Any) -> None:
        """The tools that a model which calls functions was shown."""
        shown = content.get("tools") if isinstance(content, Mapping) else None
        self.offer(shown if isinstance(shown, list) else ())

    def offer(self, tools: Iterable[Any]) -> None:
        """Tools that the model sees from here on; those that it saw before its first answer, from the start."""
        begun = any(message["role"] == "assistant" for message in self.messages)
        for tool in tools:
            offered = _in_openai_form(json.dumps(tool))
            name = offered["function"]["name"]
            if name not in self.tools:
                self.tools[name] = offered
                if begun:
                    self.tools_from[name] = len(self.messages)

    def answer(self, entry: Mapping[str, Any], decoded: Any) -> Message:
        content, reasoning = entry.get("content"), str(entry.get("reasoning_content") or "")
        text = content if isinstance(content, str) else None
        made = list(_named(content)) if text is None else list(_written(text, decoded))
        start = len(self.messages)
        calls = [tool_call(f"{start}_{number}", name, arguments) for number, (name, arguments) in enumerate(made)]
        said = text if text is not None else "".join(part for part in content or () if isinstance(part, str))
        return assistant(said or None, calls, reasoning)


@lru_cache(maxsize=1024)
def _in_openai_form(tool: str) -> dict[str, Any]:
    """A function's schema with JSON Schema's types in place of Python's. Raises InputError for one that is none."""
    return read_tool(json.loads(tool)).to_openai()


def _functions(content: Any) -> list[Any]:
    """The functions' schemas that a prompt lists, as the first JSON array of objects in it."""
    found = _LIST.search(content) if isinstance(content, str) else None
    try:
        listed = json.JSONDecoder().raw_decode(content, found.start())[0] if found else []
    except (ValueError, RecursionError):
        return []
    return listed if isinstance(listed, list) else []


def _named(content: Any) -> Iterator[tuple[str, Any]]:
    """The calls of a model that calls functions: `{name: arguments}` each, the arguments a text or an object."""
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, Mapping):
            yield from part.items()


def _written(text: str, decoded: Any) -> Iterator[tuple[str, Any]]:
    """The calls of a model that writes them as text: as BFCL decoded them, else as they stand there."""
    if isinstance(decoded, list):
        yield from _python(decoded)
        return
    said = _of_json(text)
    parts = said if isinstance(said, list) else [said]
    if all(isinstance(part, Mapping) and "name" in part for part in parts):
        yield from ((part["name"], part.get("arguments", {})) for part in parts)
    else:
        yield from _python([text.strip("`\n ")])


def _of_json(text: str) -> Any:
    """What a JSON text stands for; None where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _python(source: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    """The calls in texts of Python."""
    for part in source:
        try:
            with catch_warnings(action="ignore"):  # about the escapes in a model's strings
                tree = ast.parse(str(part), mode="eval").body
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue  # an answer in words, as a turn's last step is
        for node in tree.elts if isinstance(tree, ast.List) else [tree]:
            if isinstance(node, ast.Call):
                # Like BFCL, which reads no argument without a name.
                yield ast.unparse(node.func), {word.arg: _value(word.value) for word in node.keywords if word.arg}


def _value(node: ast.expr) -> Any:
    try:
        value = ast.literal_eval(node)
        json.dumps(value)
    except (ValueError, TypeError, RecursionError):
        return ast.unparse(node)
    return value


def _is_error(text: str) -> bool:
    """Whether BFCL's environment refuses: an exception's text, or an object that says `error`."""
    if text.startswith(EXECUTION_ERROR):
        return True
    said = _of_json(text)
    return isinstance(said, dict) and bool(said.get("error"))


BFCL = Form(name="bfcl", title="BFCL's multi-turn results", looks_like=looks_like, read=read)
