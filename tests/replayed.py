"""Small trajectories with known errors, a run folder made of them, and a screen to print on; for tests of replay.

Left out: the player and what is claimed of it (`tests.test_player`), single turns (`tests.test_replay`).
"""

import io
from collections.abc import Iterable
from math import log
from pathlib import Path
from typing import Any

from rich.console import Console

from envs import Archive, StopReason, Trajectory, Turn

PARAMETERS = {
    "type": "object",
    "properties": {"order_id": {"type": "integer"}, "method": {"enum": ["card", "cash"]}},
    "required": ["order_id"],
}
ESCAPE = "\x1b[35m"


def tool(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "description": "", "parameters": PARAMETERS}}


def call(name: str, arguments: str) -> dict[str, Any]:
    made = {"id": "c", "type": "function", "function": {"name": name, "arguments": arguments}}
    return {"role": "assistant", "content": "", "tool_calls": [made]}


def result(content: str, **more: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": "c", "content": content, **more}


def raw(message: dict[str, Any]) -> str:
    """A message as a model of Qwen's family writes it."""
    if not message.get("tool_calls"):
        return f"{message['content']}<|im_end|>"
    function = message["tool_calls"][0]["function"]
    inner = f'{{"name": "{function["name"]}", "arguments": {function["arguments"]}}}'
    return f"<tool_call>\n{inner}\n</tool_call><|im_end|>"


MESSAGES = [
    {"role": "system", "content": "You are the desk."},
    {"role": "user", "content": "Refund order 417, in [red]notes[/red]."},
    call("lookup_order", '{"order_id": 417}'),
    result(f'"no {ESCAPE}such tool"', is_error=True),
    call("find_order", '{"order_id": 417}'),
    result('{"total": 90}'),
    call("refund", '{"order_id": "417", "method": "coins"}'),
    result("refused", is_error=True),
    {"role": "assistant", "content": "Sorry."},
]


def trajectory(messages: list[dict[str, Any]] = MESSAGES, *, tokens: bool = True, **fields: Any) -> Trajectory:
    turns = tuple(
        Turn(message_index=place, prompt_ids=[1], token_ids=[2], logprobs=[-0.1], raw=raw(message))
        for place, message in enumerate(messages)
        if message["role"] == "assistant"
    )
    return Trajectory(
        id=fields.get("id", "store-v0/train/0/0"),
        env="store-v0",
        task={"seed": fields.get("seed", 0), "split": "train", "family": "refund"},
        policy="[bold]tiny",
        tools=[tool("find_order"), tool("refund"), tool("[bold]odd")],
        messages=messages,
        turns=turns if tokens else (),
        stop_reason=fields.get("stop_reason", StopReason.ANSWERED),
    )


def write(path: Path, trajectories: Iterable[Trajectory]) -> Path:
    with Archive(path) as archive:
        for part in trajectories:
            archive.write(part.to_json())
    return path


def screen(width: int = 80, color: bool = False) -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    console = Console(
        file=file, width=width, highlight=False, markup=False, force_terminal=color, _environ={"TERM": "xterm"}
    )
    return console, file


def write_run(folder: Path) -> Path:
    """A run with one trajectory and a correction of both of its erroneous turns."""
    write(folder / "trajectories.jsonl", [trajectory()])
    (folder / "manifest.json").write_text("{}")
    alternatives = {
        "token": 1,
        "student": [{"text": "lookup_order", "logprob": log(0.41)}, {"text": "get_order", "logprob": log(0.4)}],
        "teacher": [{"text": "get_order", "logprob": log(0.95)}, {"text": "lookup_order", "logprob": log(0.04)}],
    }
    pictured = {"pieces": ["lookup_order", '"'], "alternatives": alternatives}
    one, two = ["nonexistent_tool"], ["invalid_value", "wrong_type"]
    rows: list[tuple[int, list[str], str, list[float], list[float], bool, dict[str, Any]]] = [
        (2, one, "Reminder: call what is there.", [log(0.41), 0.0], [log(0.04), 0.0], True, pictured),
        (6, two, "Reminder: [b]both.", [log(0.3), log(0.5)], [log(0.5), log(0.2)], False, {}),
    ]
    with Archive(folder / "corrections.jsonl") as archive:
        for index, codes, hint, student, teacher, admitted, beside in rows:
            archive.write(
                {
                    "id": "store-v0/train/0/0",
                    "message_index": index,
                    "codes": codes,
                    "hint": hint,
                    "plain_ids": [1, 2, 3],
                    "hinted_ids": [1, 9, 2, 3],
                    "target": [1, 3],
                    "error_tokens": [1, 2],
                    "student_logprobs": student,
                    "teacher_logprobs": teacher,
                    "admitted": admitted,
                    **beside,
                }
            )
    return folder
