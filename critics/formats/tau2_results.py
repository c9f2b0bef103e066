"""tau2-bench's `results.json`: one document with the run's `info`, its `tasks` and its `simulations`.

A simulation becomes what the agent saw: the domain's policy as system message, and no message that only passed between
the user and the user's own tools. The tools are those of `info.environment_info.tool_defs`, where the run kept them. A
run that is kept in a folder has a file for each simulation.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from critics.formats.form import Form, Refused, assistant, result, schema, tool_call
from critics.formats.records import Record
from envs import Message, StopReason

SIMULATIONS = "simulations"

STOPS = {
    "max_steps": StopReason.TURN_LIMIT,
    "too_many_errors": StopReason.ERROR_LIMIT,
    "context_window_exceeded": StopReason.TOKEN_LIMIT,
    "user_error": StopReason.INFRASTRUCTURE_FAULT,
    "infrastructure_error": StopReason.INFRASTRUCTURE_FAULT,
    "unexpected_error": StopReason.INFRASTRUCTURE_FAULT,
    "timeout": StopReason.INFRASTRUCTURE_FAULT,
}
"""Whose fault an end is. The simulated user is a part of the world: that it fails is no mistake of the agent's."""


def looks_like(record: Record) -> bool:
    value = record.value
    if not isinstance(value, Mapping):
        return False
    alone = {"task_id", "termination_reason"} <= set(value) and ("messages" in value or "ticks" in value)
    return alone or record.key == SIMULATIONS or SIMULATIONS in value


def read(record: Record) -> Iterator[Mapping[str, Any] | Refused]:
    value = record.value
    if not isinstance(value, Mapping):
        raise ValueError(f"expected a simulation, an object with 'messages', came {type(value).__name__}")
    if SIMULATIONS not in value:
        yield _ours(value, _info(record.around))
        return
    for number, simulation in enumerate(value[SIMULATIONS], 1):
        try:
            yield _ours(simulation, _info(value))
        except (ValueError, TypeError, KeyError) as error:
            yield Refused(reason=f"simulation {number}: {error}")


def _info(document: Mapping[str, Any]) -> Mapping[str, Any]:
    info = document.get("info")
    return info if isinstance(info, Mapping) else {}


def _part(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = record.get(name)
    return part if isinstance(part, Mapping) else {}


def _ours(simulation: Any, info: Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(simulation, Mapping) or not isinstance(simulation.get("messages"), list):
        raise ValueError("expected a simulation with a list of 'messages'; voice runs, which have ticks, can't be read")
    world, agent, scored = _part(info, "environment_info"), _part(info, "agent_info"), _part(simulation, "reward_info")
    reward = float(scored.get("reward") or 0.0)
    stop = _stop(simulation, scored, reward)
    policy = simulation.get("policy") or world.get("policy")
    messages: list[Message] = [{"role": "system", "content": str(policy)}] if policy else []
    for message in simulation["messages"]:
        messages += _messages(message)
    task = {name: simulation.get(key) for name, key in (("id", "task_id"), ("trial", "trial"), ("seed", "seed"))}
    ours = {
        "id": str(simulation.get("id") or f"{task['id']}/{task['trial']}"),
        "env": f"tau2/{world.get('domain_name', '')}".rstrip("/") if "reward" in scored else "",
        "task": task,
        "policy": str(agent.get("llm") or ""),
        "messages": messages,
        "reward": reward,
        "success": reward >= 1.0,
        "stop_reason": stop,
    }
    if stop == StopReason.INFRASTRUCTURE_FAULT:
        ours["fault"] = simulation["termination_reason"]
    if isinstance(world.get("tool_defs"), Mapping):
        ours["tools"] = [_tool(tool) for tool in world["tool_defs"].values()]
    return ours


def _stop(simulation: Mapping[str, Any], scored: Mapping[str, Any], reward: float) -> str:
    said = str(simulation.get("termination_reason") or "")
    if said not in ("user_stop", "agent_stop"):
        return STOPS.get(said, said or StopReason.ANSWERED)
    # A reward also fails for what was not told to the user; a wrong end state is only what the database's check says.
    wrong = _part(scored, "db_check").get("db_match") is False
    return StopReason.ANSWERED if wrong or reward >= 1.0 else said


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    return schema(str(tool["name"]), tool.get("doc"), tool.get("params"))


def _messages(message: Any) -> list[Message]:
    """A message as the agent saw it: none for what passed between the user and the user's tools."""
    if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
        raise ValueError(f"expected a message, an object with 'role', came {message!r:.80}")
    match message["role"]:
        case "assistant":
            calls = [
                tool_call(call.get("id"), call["name"], call["arguments"]) for call in message.get("tool_calls") or ()
            ]
            return [assistant(message.get("content"), calls)]
        case "tool" if isinstance(message.get("tool_messages"), list):
            return [part for inner in message["tool_messages"] for part in _messages(inner)]
        case "tool":
            said = str(message.get("content") or "")
            own = message.get("requestor", "assistant") == "assistant"
            return [result(message.get("id"), said, is_error=message.get("error") is True)] if own else []
        case role:
            return [] if message.get("tool_calls") else [{"role": role, "content": message.get("content") or ""}]


TAU2 = Form(
    name="tau2", title="tau2-bench's results.json", looks_like=looks_like, read=read, lists=frozenset({SIMULATIONS})
)
