"""Trajectories in files: a round trip, crashes in the middle of a line, and lines that are none."""

import json
from pathlib import Path
from typing import Any

import pytest

from envs import Archive, StopReason, Trajectory, Turn, calls_of, read_records, read_trajectories
from envs.archive import decoded, plain_record
from tools import ToolCall
from tools.command import InputError

CALL = ToolCall(id="call_0", name="get_order", arguments='{"order_id": 7}').to_openai()
TRAJECTORY = Trajectory(
    id="store-v0/test/1",
    env="store-v0",
    task={"seed": 1, "split": "test"},
    policy="expert",
    tools=({"type": "function", "function": {"name": "get_order", "description": "", "parameters": {}}},),
    messages=[
        {"role": "user", "content": "Look at order #7: caf\u00e9 \u2028 \U0001f4e6"},
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_0", "content": '"lone \\ud800"'},
        {"role": "assistant", "content": "Done."},
    ],
    turns=(
        Turn(message_index=1, prompt_ids=[1, 2, 3], token_ids=[4, 5], logprobs=[-0.1, -2.5e-7], raw="<tool_call>"),
        Turn(message_index=3, prompt_ids=[6], token_ids=[7], logprobs=[0.0], raw="Done."),
    ),
    reward=1.0,
    success=True,
    stop_reason=StopReason.TURN_LIMIT,
    token_exact=True,
)


def plain(trajectory: Trajectory) -> Any:
    return json.loads(json.dumps(trajectory.to_json()))


def write(path: Path, *records: Any) -> None:
    with Archive(path) as archive:
        for record in records:
            archive.write(record)


def test_a_round_trip_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folders" / "trajectories.jsonl"
    write(path, TRAJECTORY.to_json(), TRAJECTORY.to_json())
    for read in read_trajectories(path):
        assert plain(read) == plain(TRAJECTORY)
    assert path.read_bytes().count(b"\n") == 2


def test_a_lone_surrogate_can_be_written_and_read(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    write(path, {"raw": "\ud800"})
    path.read_text(encoding="utf-8")
    assert list(read_records(path)) == [{"raw": "\ud800"}]


def test_what_is_written_can_be_read_at_once(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    with Archive(path) as archive:
        for number in range(3):
            archive.write({"number": number})
            assert [record["number"] for record in read_records(path)] == list(range(number + 1))


def test_reopening_goes_on_where_it_stopped(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    write(path, {"number": 0})
    write(path, {"number": 1})
    assert [record["number"] for record in read_records(path)] == [0, 1]


@pytest.mark.parametrize("kept", range(1, 19))
def test_a_line_cut_by_a_crash_is_dropped_and_never_glued_to_the_next(kept: int, tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    write(path, {"number": 0})
    cut = '{"text":"\u00e9\u00e9","n":1}'.encode()[:kept]
    with path.open("ab") as file:
        file.write(cut)
    assert list(read_records(path)) == [{"number": 0}]
    write(path, {"number": 2})
    assert list(read_records(path)) == [{"number": 0}, {"number": 2}]


def test_a_last_line_that_lacks_its_end_only_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text('{"number": 0}\n{"number": 1}')
    assert len(list(read_records(path))) == 2
    write(path, {"number": 2})
    assert [record["number"] for record in read_records(path)] == [0, 1, 2]


def test_a_file_that_is_one_cut_line(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text('{"number"')
    assert list(read_records(path)) == []
    write(path, {"number": 1})
    assert list(read_records(path)) == [{"number": 1}]


def test_what_cannot_be_json_leaves_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    with Archive(path) as archive:
        with pytest.raises(TypeError):
            archive.write({"a": {1, 2}})
        archive.write({"number": 1})
    assert list(read_records(path)) == [{"number": 1}]


@pytest.mark.parametrize(
    "line", [b"{", b"nonsense", b'{"a": 1} {"b": 2}', b'{"a": "\xff"}', b'{"a": ' + b"[" * 100_000, b"[1]", b"7"]
)
def test_a_corrupt_line_is_named_by_its_number(line: bytes, tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_bytes(b'{"number": 0}\n\n' + line + b'\n{"number": 2}\n')
    with pytest.raises(InputError, match=r"records\.jsonl:3 is no JSON"):
        list(read_records(path))


def test_a_text_without_a_line_end_is_no_records_file(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("just a note")
    with pytest.raises(InputError, match=":1 is no JSON"):
        list(read_records(path))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing.jsonl"):
        with pytest.raises(InputError, match="is no file: give the path of a JSONL file"):
            list(read_records(path))


def test_blank_lines_and_a_byte_order_mark_are_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"number": 0}\r\n\r\n{"number": 1}\r\n')
    assert [record["number"] for record in read_records(path)] == [0, 1]


def test_a_trajectory_from_elsewhere_needs_its_messages_only() -> None:
    read = Trajectory.from_json({"id": 7, "messages": [{"role": "user", "content": "hi"}]})
    assert (read.id, read.turns, read.tools, read.token_exact) == ("7", (), (), False)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"schema_version": 2}, "object 2: schema_version is 2, this hintsight reads 1"),
        ({"messages": None}, "object 2: no trajectory"),
        ({"messages": ["hi"]}, "object 2: no trajectory"),
        ({"turns": [{"message_index": 1}]}, "object 2: "),
        ({"reward": "high"}, "object 2: "),
    ],
)
def test_what_is_no_trajectory_is_named_by_its_place(change: dict[str, Any], text: str, tmp_path: Path) -> None:
    path = tmp_path / "trajectories.jsonl"
    write(path, TRAJECTORY.to_json(), {**TRAJECTORY.to_json(), **change})
    with pytest.raises(InputError, match=text):
        list(read_trajectories(path))


def test_the_context_of_a_turn_is_all_that_came_before_it() -> None:
    assert TRAJECTORY.prompt_ids(0) == [1, 2, 3]
    assert TRAJECTORY.prompt_ids(1) == [1, 2, 3, 4, 5, 6]
    assert [TRAJECTORY.turn_at(index) for index in range(4)] == [None, 0, None, 1]


def test_only_an_assistant_calls() -> None:
    assert calls_of(TRAJECTORY.messages[1]) == [CALL]
    assert calls_of(TRAJECTORY.messages[3]) == []
    assert calls_of({"role": "assistant", "tool_calls": None}) == []
    assert calls_of({"role": "user", "tool_calls": [CALL]}) == []


LONG = "What a shop says of its tools is longer than the lists that are looked up. " * 20
TOOLS = json.dumps([{"type": "function", "function": {"name": "get_order", "description": LONG, "parameters": {}}}])


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (f'{{"id": "1", "tools": {TOOLS}, "messages": [{{"role": "user"}}], "more": 1}}', True),
        (f'{{"id": "1", "messages": [], "tools":{TOOLS}}}', True),
        ('{"id": "1", "messages": []}', True),
        (f'{{"id": "1", "task": {{"tools": {TOOLS}}}, "tools": [], "messages": []}}', False),
        (f'{{"id": "1", "task": {{"tools": {TOOLS}}}, "messages": []}}', False),
        ('{"id": "1", "tools": 0, "messages": []}', True),
        ('{"id": "1", "messages": [7]}', False),
        ('{"id": "1", "messages": [{"content": NaN}]}', False),
        ('{"id": "1"}', False),
        ('{"id": "1", "messages": []', False),
    ],
)
def test_a_plain_line_is_read_in_one_go_as_it_would_be_with_care(line: str, found: bool) -> None:
    before = f'{{"tools": {TOOLS}, "messages": []}}'.encode()
    assert (plain_record(before) or {})["tools"] is decoded(before)["tools"]
    record = plain_record(line.encode())
    assert (record is not None) == found
    if record is not None:
        careful = decoded(line.encode())
        assert record == {name: value for name, value in careful.items() if name != "more"}


def test_lists_share_the_tools_that_are_the_same_text() -> None:
    one, two = (decoded(f'{{"tools": [{{"name": "a"}}, {{"name": "{name}"}}]}}'.encode()) for name in "bc")
    assert one["tools"][0] is two["tools"][0]
    assert one["tools"][1] != two["tools"][1]
