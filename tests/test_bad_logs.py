"""Logs as crashes, other programs and people with bad intent leave them: each oddity is said, and the rest is read."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

import critics.__main__ as command_line
from tools.command import InputError

MEGABYTE = 1_000_000


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """No path is folded, however long the folder for temporary files is called."""
    monkeypatch.setenv("COLUMNS", "400")


def line(id: str = "a", *, tools: Any = (), calls: Any = (), answer: str = "done", **more: Any) -> str:
    """A trajectory of one turn, whose calls are all answered."""
    made = [
        {"id": f"c{number}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for number, (name, arguments) in enumerate(calls)
    ]
    messages: list[Any] = [
        {"role": "user", "content": "Go."},
        {"role": "assistant", "content": None, "tool_calls": made},
    ]
    messages += [{"role": "tool", "tool_call_id": call["id"], "content": answer} for call in made]
    messages.append({"role": "assistant", "content": "Done."})
    return json.dumps({"id": id, "tools": tools, "messages": messages, **more})


def tool(name: str, parameters: Any = None) -> dict[str, Any]:
    function = {"name": name} if parameters is None else {"name": name, "parameters": parameters}
    return {"type": "function", "function": function}


def flat(shown: str) -> str:
    """A report without the breaks of its lines."""
    return " ".join(shown.split())


class Reporter:
    def __init__(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.path, self.capsys = path, capsys

    def __call__(self, *lines: str | bytes, options: tuple[str, ...] = (), end: bytes = b"\n") -> tuple[int, str]:
        self.path.write_bytes(b"\n".join(part if isinstance(part, bytes) else part.encode() for part in lines) + end)
        status = command_line.main([str(self.path), *options])
        shown = self.capsys.readouterr()
        assert shown.err == ""
        assert shown.out.isprintable() or not any(char < " " and char != "\n" for char in shown.out)
        return status, shown.out

    def figures(self, *lines: str | bytes) -> dict[str, Any]:
        shown: dict[str, Any] = json.loads(self(*lines, options=("--json",))[1])
        return shown


@pytest.fixture
def report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Reporter:
    return Reporter(tmp_path / "log.jsonl", capsys)


def test_nothing_is_wrong(report: Reporter) -> None:
    status, shown = report(line("a"), "", "  ", line("b"))
    assert status == 0
    assert "2 tasks, 0 calls" in shown
    assert "not read" not in shown
    assert "about the logs" not in shown


def test_a_last_line_that_was_cut_off(report: Reporter) -> None:
    status, shown = report(line("a"), line("b")[:50], end=b"")
    assert status == 2
    assert "not read: 1" in shown
    assert "log.jsonl:2: cut off" in flat(shown)
    assert "1 tasks" in shown


def test_lines_that_were_cut_off_in_the_middle_and_at_the_start(report: Reporter) -> None:
    shown = report.figures(line("a")[:30], line("b"), line("c")[:-9], line("d"))
    assert shown["tasks"] == 2
    assert [part["line"] for part in shown["unreadable"]] == [1, 3]


def test_more_bad_lines_than_anyone_wants_to_read(report: Reporter) -> None:
    status, shown = report(line(), *["{oops"] * 5000)
    assert status == 2
    assert "not read: 5000" in shown
    assert "and 4988 more" in shown
    assert len(report.figures(line(), *["{oops"] * 5000)["unreadable"]) == 100


def test_bytes_that_are_no_text(report: Reporter) -> None:
    shown = report.figures(line("a"), b'{"id": "\xff\xfe", "messages": []}', b"\x00\x01\x02", b"\xff", line("b"))
    assert shown["tasks"] == 2
    assert [part["line"] for part in shown["unreadable"]] == [2, 3, 4]
    assert "no UTF-8 at byte 8" in shown["unreadable"][0]["reason"]


def test_a_mark_at_the_start_and_windows_line_ends_are_no_trouble(report: Reporter) -> None:
    shown = report.figures(b"\xef\xbb\xbf" + line("a").encode() + b"\r", line("b") + "\r")
    assert (shown["tasks"], shown["unread"]) == (2, 0)


@pytest.mark.parametrize("deep", ["[" * 100_000, '{"a":' * 100_000, '{"id": "x", "messages": ' + "[" * 100_000])
def test_json_that_is_nested_without_end(report: Reporter, deep: str) -> None:
    shown = report.figures(line("a"), deep, line("b"))
    assert (shown["tasks"], [part["line"] for part in shown["unreadable"]]) == (2, [2])


def test_numbers_without_end(report: Reporter) -> None:
    huge = '{"id": "x", "messages": [], "reward": ' + "9" * 10_000 + "}"
    shown = report.figures(line("a"), huge, line("b", reward="lots"))
    assert (shown["tasks"], [part["line"] for part in shown["unreadable"]]) == (1, [2, 3])


@pytest.mark.parametrize(
    "broken",
    [
        {"id": "x"},
        {"id": "x", "messages": "Hello"},
        {"id": "x", "messages": ["Hello"]},
        {"id": "x", "messages": [{"role": "assistant", "tool_calls": "f(x)"}]},
        {"id": "x", "messages": [{"role": "assistant", "tool_calls": ["f"]}]},
        {"id": "x", "messages": [{"role": "assistant", "tool_calls": [{"name": "f"}]}]},
        {"id": "x", "messages": [], "tools": "f"},
        {"id": "x", "messages": [], "tools": [{"function": {"title": "f"}}]},
        {"id": "x", "messages": [], "task": 3},
        {"id": "x", "messages": [], "turns": [{"raw": "f"}]},
        {"id": "x", "messages": [], "schema_version": 99},
        {"id": "x", "messages": [], "tools_from": {"f": "later"}},
    ],
)
def test_records_that_are_no_trajectories(report: Reporter, broken: dict[str, Any]) -> None:
    shown = report.figures(line("a"), json.dumps(broken), line("b"))
    assert (shown["tasks"], [part["line"] for part in shown["unreadable"]]) == (2, [2])
    assert shown["unreadable"][0]["reason"]


def test_no_tools_at_all(report: Reporter) -> None:
    status, shown = report(line(calls=[("look", "{}")]), line("b"))
    assert status == 0
    assert "trajectories with calls that don't say which tools there were" in shown
    assert "--tools" in shown


def test_tools_without_parameters(report: Reporter) -> None:
    tools = [tool("look"), tool("see", {}), tool("hear", {"type": "object"})]
    shown = report.figures(line(tools=tools, calls=[("look", "{}"), ("see", ""), ("hear", "{}")]))
    assert (shown["calls"], shown["codes"], shown["unread"]) == (3, {}, 0)


ITSELF = {"$defs": {"a": {"$ref": "#/$defs/a"}}, "type": "object", "properties": {"x": {"$ref": "#/$defs/a"}}}
EACH_OTHER = {
    "$defs": {"a": {"allOf": [{"$ref": "#/$defs/b"}]}, "b": {"anyOf": [{"$ref": "#/$defs/a"}]}},
    "type": "object",
    "properties": {"x": {"$ref": "#/$defs/a"}},
}
TREE = {
    "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}, "required": ["next"]}},
    "type": "object",
    "properties": {"x": {"$ref": "#/$defs/node"}},
}


@pytest.mark.parametrize("parameters", [ITSELF, EACH_OTHER])
def test_schemas_that_go_in_circles_end(report: Reporter, parameters: dict[str, Any]) -> None:
    shown = report.figures(line("a"), line("b", tools=[tool("f", parameters)], calls=[("f", '{"x": 1}')]), line("c"))
    assert shown["tasks"] + shown["unread"] == 3


def test_schemas_of_trees_are_followed(report: Reporter) -> None:
    calls = [("f", '{"x": {"next": {"next": 1}}}')]
    shown = report.figures(line(tools=[tool("f", TREE)], calls=calls, answer="Error: x.next.next must be an object"))
    assert (shown["unread"], list(shown["codes"])) == (0, ["wrong_type"])


def test_results_without_calls(report: Reporter) -> None:
    stray = json.loads(line(tools=[tool("look")], calls=[("look", "{}")]))
    stray["messages"].insert(3, {"role": "tool", "tool_call_id": "nobody", "content": "done"})
    status, shown = report(json.dumps(stray))
    assert status == 0
    assert "protocol_violation" in shown
    assert "message 3 is the result of a call 'nobody' that was not made" in flat(shown)


def test_calls_without_results(report: Reporter) -> None:
    lost = json.loads(line(tools=[tool("look")], calls=[("look", "{}"), ("look", "{}")]))
    del lost["messages"][2]
    lost["messages"][-1] = lost["messages"][1]
    _, shown = report(line("a"), json.dumps(lost))
    assert "calls that have no result when the next calls come: 1, first in" in flat(shown)
    assert "log.jsonl:2" in shown


def test_the_same_id_twice(report: Reporter) -> None:
    shown = report.figures(line("a"), line("b"), line("a"))
    (remark,) = shown["remarks"]
    assert (remark["count"], remark["line"]) == (1, 3)
    assert "id of an earlier one" in remark["text"]


EVIL = "\x1b[2J\x1b]0;owned\x07\u202e[red]\r\x9b31m"


def test_nothing_in_a_log_reaches_the_terminal_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "evil\x1b[2J.jsonl"
    schema = {"type": "object", "properties": {EVIL: {"enum": [EVIL]}}, "required": [EVIL]}
    lines = [
        line(
            EVIL,
            tools=[tool(EVIL, schema)],
            calls=[(EVIL, json.dumps({EVIL: EVIL + "x", EVIL + "y": 1})), (EVIL, EVIL)],
        ),
        line("b", tools=[tool("f")], calls=[(EVIL, "{}")]),
        json.dumps({"id": EVIL, "messages": [], "tools": [{"function": {EVIL: EVIL}}]}),
        json.dumps({"id": EVIL, EVIL: 1}),
    ]
    path.write_text("\n".join(lines))
    status = command_line.main([str(path), "--examples", "9"])
    shown = capsys.readouterr().out
    assert status == 2
    assert [char for char in shown if not char.isprintable() and char != "\n"] == []
    assert r"\x1b[2J" in shown
    assert "[red]" in shown


def test_nothing_in_a_log_is_taken_for_markup(report: Reporter) -> None:
    name = "[red]:smile:[/red]"
    parameters = {"type": "object", "properties": {name: {"type": "integer"}}}
    call = (name, json.dumps({name: "x"}))
    _, shown = report(line(tools=[tool(name, parameters)], calls=[call], answer="Error: no integer"))
    assert shown.count(f"\n{name} ") == 2  # among the worst tools, and among the worst arguments
    assert f"\n  ['{name}'] " in shown


def test_a_long_line_is_read_and_only_a_little_of_it_kept(report: Reporter) -> None:
    calls = [("look", json.dumps({"text": "x" * 3 * MEGABYTE}))]
    status, shown = report(line("a", tools=[tool("look", {"type": "object"})], calls=calls), "y" * 3 * MEGABYTE)
    assert status == 2
    assert len(shown) < 5000


def test_memory_does_not_grow_with_the_file(report: Reporter) -> None:
    lines = [line(str(number), calls=[("look", json.dumps({"text": "x" * MEGABYTE}))]) for number in range(40)]
    report(*lines[:2])
    tracemalloc.start()
    report.path.write_text("\n".join(lines))
    del lines
    tracemalloc.reset_peak()
    command_line.main([str(report.path), "--jsonl", str(report.path.with_name("findings.jsonl"))])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * MEGABYTE


@pytest.mark.slow
@pytest.mark.parametrize("end", ["}", ""])
def test_a_line_of_100_megabytes(report: Reporter, end: str) -> None:
    long = json.loads(line("b"))
    long["messages"][0]["content"] = ("x" * 99 + "\n") * MEGABYTE
    shown = report.figures(line("a"), json.dumps(long)[:-1] + end, line("c"))
    assert (shown["tasks"], shown["unread"]) == ((3, 0) if end else (2, 1))


@pytest.mark.parametrize("code", ["nonexistent_tool", "missing_argument"])
def test_a_guard_fails_on_the_errors_that_it_names(report: Reporter, code: str) -> None:
    bad = line(tools=[tool("look")], calls=[("lock", "{}")])
    status, _ = report(bad, options=("--fail-on", "wrong_type", "--fail-on", code))
    assert status == (1 if code == "nonexistent_tool" else 0)


def test_a_guard_on_a_code_that_nobody_knows(report: Reporter) -> None:
    with pytest.raises(InputError, match="did you mean 'wrong_type'"):
        report(line(), options=("--fail-on", "wrong_typ"))


def test_several_files_are_one_report(report: Reporter, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report(line("a", tools=[tool("look")], calls=[("lock", "{}")]))
    other = tmp_path / "other.jsonl"
    other.write_text(f"{line('b')}\n{{oops\n")
    out = tmp_path / "findings.jsonl"
    assert command_line.main([str(report.path), str(other), "--json", "--jsonl", str(out)]) == 2
    shown = json.loads(capsys.readouterr().out)
    assert (shown["tasks"], shown["unreadable"][0]["file"]) == (2, str(other))
    assert [json.loads(found)["id"] for found in out.read_text().splitlines()] == ["a", "b"]


def test_a_file_that_is_not_there_stops_before_any_is_read(report: Reporter, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no file"):
        report(line(), options=(str(tmp_path / "none.jsonl"),))


def test_the_worst_tools_and_arguments_come_first(report: Reporter) -> None:
    schema = {"type": "object", "properties": {"items": {"type": "array", "items": {"type": "integer"}}}}
    calls = [("look", '{"items": ["a", "b"]}'), ("look", '{"items": [1]}'), ("lock", "{}")]
    shown = report.figures(line(tools=[tool("look", schema)], calls=calls, answer="Error: invalid call"))
    assert [(part["tool"], part["wrong"], part["calls"]) for part in shown["tools"]] == [("look", 1, 2), ("lock", 1, 1)]
    (argument,) = shown["arguments"]
    assert (argument["tool"], argument["argument"], argument["code"]) == ("look", "items[]", "wrong_type")
    assert (argument["wrong"], argument["calls"]) == (2, 2)
