"""tau-bench's results: one array, with an object for each trial of a task and its messages in OpenAI's form.

    [{"task_id": ..., "trial": ..., "reward": ..., "info": {"reward_info": ...}, "traj": [messages]}, ...]

The tools are not in the file: give them with `--tools`, as `[tool.get_info() for tool in ALL_TOOLS]` of a domain.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from critics.formats.form import Form
from critics.formats.records import Record
from envs import StopReason


def looks_like(record: Record) -> bool:
    value = record.value
    return isinstance(value, Mapping) and {"task_id", "reward"} <= set(value) and isinstance(value.get("traj"), list)


def read(record: Record) -> Iterator[Mapping[str, Any]]:
    value = record.value
    if not looks_like(record):
        raise ValueError("expected a trial, an object with 'task_id', 'reward' and a list 'traj' of messages")
    info = value["info"] if isinstance(value.get("info"), Mapping) else {}
    reward = float(value["reward"] or 0.0)
    ours = {
        "id": f"{value['task_id']}/{value.get('trial', 0)}",
        "env": "tau-bench",
        "task": {"id": value["task_id"], "trial": value.get("trial")},
        "messages": value["traj"],
        "reward": reward,
        "success": reward >= 1.0,
        "stop_reason": _stop(info, reward),
    }
    yield ours | {"fault": str(info["error"])} if "error" in info else ours


def _stop(info: Mapping[str, Any], reward: float) -> str:
    if "error" in info:  # the run itself broke
        return StopReason.INFRASTRUCTURE_FAULT
    if not isinstance(info.get("reward_info"), Mapping):
        return StopReason.TURN_LIMIT  # only what ends is given a reward
    scored = info["reward_info"].get("info")
    # A reward also fails for what was not told to the user; a wrong end state is only what the actions' check says.
    wrong = isinstance(scored, Mapping) and scored.get("r_actions") in (0.0, False)
    return StopReason.ANSWERED if wrong or reward >= 1.0 else "user_stop"


TAU = Form(name="tau-bench", title="tau-bench's results", looks_like=looks_like, read=read)
