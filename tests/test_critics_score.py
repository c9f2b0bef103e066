"""`python -m critics score`: the rules' recall and precision by what environments said, on calls written by hand."""

import json
from pathlib import Path
from typing import Any

import pytest

from critics import __main__ as command_line
from critics.score import CHECKERS
from tools.command import InputError

LEND = {
    "name": "lend",
    "parameters": {"type": "object", "properties": {"book": {"type": "string"}}, "required": ["book"]},
}
MADE = [  # name, arguments, what the library's desk said, and its category where that was an error
    ("lend", {"book": "Emma"}, "lent", None),
    ("lend", {"book": "Ulysses"}, "Error: it is lent already", "env_state"),
    ("lend", {"title": "Emma"}, "Error: unexpected keyword 'title'", "unexpected_arg"),
    ("lend", {"book": "Emma", "days": 3}, "Error: unexpected keyword 'days'", "unexpected_arg"),  # an open schema
    ("borrow", {}, "Unknown action borrow", "unknown_tool"),
    ("lend", {"book": 7}, "lent", None),  # carried out
    ("lend", {"book": 8}, "Error: no such book", "env_state"),
    ("lend", {"book": 9}, None, None),  # nobody knows
    ("lend", {"book": 10}, "Error: no such book", "env_state"),  # skipped
    ("lend", {"book": "O"}, "Error: too short", "bad_value"),  # no schema shows it
]


def record() -> dict[str, Any]:
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Lend me books."}]
    errors, skipped = [], []
    for number, (name, arguments, said, category) in enumerate(MADE):
        function = {"name": name, "arguments": json.dumps(arguments)}
        messages.append({"role": "assistant", "tool_calls": [{"id": f"c{number}", "function": function}]})
        if category:
            errors.append([len(messages) - 1, 0, category, said])
        if arguments.get("book") == 10:
            skipped.append([len(messages) - 1, 0])
        if said is not None:
            messages.append({"role": "tool", "tool_call_id": f"c{number}", "content": said})
    tools = [{"type": "function", "function": LEND}]
    return {"id": "desk/1", "tools": tools, "messages": messages, "env_error_calls": errors, "skip_calls": skipped}


def test_recall_and_precision_are_by_what_the_environment_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "desk.jsonl"
    path.write_text(json.dumps(record()) + "\n\n")
    command_line.main(["score", str(path), "--json"])
    (score,) = json.loads(capsys.readouterr().out).values()
    assert [score[name] for name in ("calls", "errors", "rejected")] == [8, 6, 4]
    rates = [[score[by][name]["rate"] for name in ("recall", "precision")] for by in CHECKERS]
    assert rates == [[0.75, 1.0], [0.75, 0.8], [0.5, 0.75]]


def test_the_table_of_two_files_has_their_sum(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [tmp_path / "one.jsonl", tmp_path / "two.jsonl"]
    for path in paths:
        path.write_text(json.dumps(record()))
    command_line.main(["score", *map(str, paths)])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:4] for line in lines if line[:1].strip()] == [
        ["file", "calls", "errors", "rejected"],
        ["one.jsonl", "8", "6", "4"],
        ["two.jsonl", "8", "6", "4"],
        ["all", "16", "12", "8"],
    ]


@pytest.mark.parametrize("line", ["{", "[]", '{"id": "a", "messages": []}', '{"env_error_calls": [3], "messages": []}'])
def test_a_line_of_another_form_is_named(line: str, tmp_path: Path) -> None:
    path = tmp_path / "desk.jsonl"
    path.write_text(f"{json.dumps(record())}\n{line}\n")
    with pytest.raises(InputError, match=r"desk\.jsonl:2: no messages with env_error_calls"):
        command_line.main(["score", str(path)])


def test_no_file_at_all(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no file"):
        command_line.main(["score", str(tmp_path / "none.jsonl")])
    with pytest.raises(InputError, match="no file given"):
        command_line.main(["score"])
