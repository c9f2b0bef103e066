"""verifiers' `traces.jsonl`: an episode a line, with the traces of its agents, each a graph of messages.

A trace becomes a trajectory for each of its branches, from the root to the last message: subagents, and what goes on
after a compaction, have branches of their own. A branch that repeats turns of another one is refused, so that no turn
counts twice. Left out: token ids, since the text that they stand for is not in the file.
"""

from collections.abc import Iterator, Mapping, Sequence
from json import dumps
from typing import Any

from critics.formats.form import Form, Refused, assistant, result, schema, tool_call
from critics.formats.records import Record
from envs import Message, StopReason

STOPS = {
    "max_turns": StopReason.TURN_LIMIT,
    "max_input_tokens": StopReason.TOKEN_LIMIT,
    "max_output_tokens": StopReason.TOKEN_LIMIT,
    "max_total_tokens": StopReason.TOKEN_LIMIT,
    "agent_completed": StopReason.ANSWERED,
}

INPUT = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
"""The parameters of a `custom` tool, which takes a text as it is."""


def looks_like(record: Record) -> bool:
    value = record.value
    if not isinstance(value, Mapping):
        return False
    return _is_trace(value) or (isinstance(value.get("traces"), list) and "task" in value)


def _is_trace(value: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("nodes"), list)


def read(record: Record) -> Iterator[Mapping[str, Any] | Refused]:
    episode = record.value
    if not looks_like(record):
        raise ValueError("expected an episode, an object with 'task' and a list of 'traces'")
    traces = [episode] if _is_trace(episode) else episode["traces"]
    for number, trace in enumerate(traces):
        if not _is_trace(trace):
            yield Refused(reason=f"trace {number}: expected an object with a list of 'nodes'")
            continue
        try:
            yield from _branches(trace, f"{episode.get('id', record.line)}/{number}")
        except (ValueError, TypeError, KeyError, IndexError) as error:
            yield Refused(reason=f"trace {number}: {error!r}")
    if not traces:
        yield _without_a_trace(episode, str(record.line))


def _without_a_trace(episode: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An episode that ended before its first call of a model: nothing that an agent could be blamed for."""
    return {
        "id": str(episode.get("id", name)),
        "messages": [],
        "stop_reason": StopReason.INFRASTRUCTURE_FAULT,
        "fault": _error(episode) or "no trace",
    }


def _error(record: Mapping[str, Any]) -> str:
    errors = record.get("errors") or ()
    return f"{errors[-1].get('type')}: {errors[-1].get('message')}" if errors else ""


def _branches(trace: Mapping[str, Any], default: str) -> Iterator[Mapping[str, Any] | Refused]:
    nodes: Sequence[Mapping[str, Any]] = trace["nodes"]
    branches = [_path(nodes, leaf) for leaf in _leaves(nodes)] or [[]]
    seen: set[int] = set()
    names = str(trace.get("id") or default)
    # The last branch is the one that the agent ended on, so it goes first where two share turns.
    for number, branch in reversed(list(enumerate(branches))):
        made = {place for place in branch if nodes[place].get("sampled")}
        if seen & made:
            yield Refused(reason=f"branch {number} of trace {names} repeats turns of a later one, which is read")
            continue
        seen |= made
        yield _ours(trace, [nodes[place] for place in branch], names if len(branches) == 1 else f"{names}/{number}")


def _leaves(nodes: Sequence[Mapping[str, Any]]) -> list[int]:
    parents = {node.get("parent") for node in nodes}
    return [place for place in range(len(nodes)) if place not in parents]


def _path(nodes: Sequence[Mapping[str, Any]], leaf: int) -> list[int]:
    """The places of the nodes from the root to a leaf. Raises ValueError for a parent that doesn't come before."""
    path = [leaf]
    while (parent := nodes[path[-1]].get("parent")) is not None:
        if not 0 <= parent < path[-1]:
            raise ValueError(f"the parent of node {path[-1]} is {parent}, expected an earlier node")
        path.append(parent)
    return path[::-1]


def _ours(trace: Mapping[str, Any], nodes: Sequence[Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    tools = (nodes[0].get("tools") if nodes else None) or trace.get("tools") or ()
    agent = trace.get("agent") or {}
    stop = str(trace.get("stop_condition") or "agent_completed")
    ended = StopReason.INFRASTRUCTURE_FAULT if _is_fault(stop) else STOPS.get(stop, stop)
    return {
        "id": name,
        "task": {"agent": agent.get("name", ""), "type": (trace.get("task") or {}).get("type", "")},
        "policy": str((agent.get("config") or {}).get("model") or ""),
        "tools": [_tool(tool) for tool in tools],
        "messages": [_message(node["message"]) for node in nodes],
        "reward": _reward(trace.get("rewards") or {}),
        "stop_reason": ended,
        "fault": (_error(trace) or stop) if _is_fault(stop) else "",
    }


def _is_fault(stop: str) -> bool:
    """Whether a stop condition names a boundary that failed (`provider_error`) or a stage that took too long."""
    return stop == "error" or stop.endswith(("_error", "_timeout"))


def _reward(rewards: Mapping[str, Any]) -> float:
    return sum(float(part["score"]) * float(part.get("weight", 1.0)) for part in rewards.values() if part)


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    parameters = INPUT if tool.get("type") == "custom" else tool.get("parameters")
    return schema(_name(tool), tool.get("description"), parameters)


def _name(part: Mapping[str, Any]) -> str:
    return f"{part['namespace']}.{part['name']}" if part.get("namespace") else str(part["name"])


def _message(message: Mapping[str, Any]) -> Message:
    match message["role"]:
        case "assistant":
            calls = [_call(call) for call in message.get("tool_calls") or ()]
            return assistant(message.get("content"), calls, message.get("reasoning_content") or "")
        case "tool":
            return result(message.get("tool_call_id"), message.get("content") or "")
        case role:
            return {"role": role, "content": message.get("content") or ""}


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    arguments = dumps({"input": call["arguments"]}) if call.get("type") == "custom" else call["arguments"]
    return tool_call(call.get("id"), _name(call), arguments)


VERIFIERS = Form(name="verifiers", title="verifiers' traces.jsonl", looks_like=looks_like, read=read)
