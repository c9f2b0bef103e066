"""Logs of other programs, in files that those programs' own code wrote: told apart, read, and criticized."""

import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

import critics.__main__ as command_line
from critics import criticize
from critics.formats import FORMS, Unreadable, form_named, read_logs
from envs import StopReason, Trajectory
from tools import INVALID_CALL_CODES
from tools.command import InputError

LOGS = Path(__file__).parent / "formats"

GREP = {
    "name": "grep",
    "description": "Search.",
    "parameters": {
        "type": "dict",
        "properties": {"file_name": {"type": "string"}, "pattern": {"type": "string"}},
        "required": ["file_name", "pattern"],
    },
}
MV = {
    "name": "mv",
    "parameters": {"type": "dict", "properties": {"source": {"type": "string"}, "destination": {"type": "string"}}},
}


def read(path: Path, *arguments: Any) -> tuple[list[Trajectory], list[Unreadable]]:
    parts = list(read_logs(path, *arguments))
    refused = [part for part in parts if isinstance(part, Unreadable)]
    return [part[1] for part in parts if not isinstance(part, Unreadable)], refused


def found(trajectories: Iterable[Trajectory]) -> set[tuple[int, int, str]]:
    """Which errors, without those that only the environments tell of: (trajectory, message, code)."""
    told = {"domain_rejection", "ungrounded_value", "infrastructure_fault"}
    return {
        (number, finding.message_index, str(finding.code))
        for number, trajectory in enumerate(trajectories)
        for finding in criticize(trajectory)
        if finding.code not in told
    }


@pytest.mark.parametrize(
    ("name", "errors"),
    [
        (
            "tau2_results.json",
            {
                (1, 3, "invalid_value"),
                (1, 5, "nonexistent_tool"),
                (1, 8, "wrong_final_state"),
                (2, 7, "budget_exhausted"),
            },
        ),
        ("verifiers_traces.jsonl", {(0, 2, "wrong_type"), (0, 4, "invalid_value"), (1, 1, "nonexistent_tool")}),
        ("bfcl_prompting_result.json", {(0, 5, "nonexistent_tool")}),
        ("bfcl_logged_inputs_result.json", {(0, 9, "unavailable_tool")}),
        ("anthropic.jsonl", {(0, 2, "wrong_type"), (0, 2, "nonexistent_tool")}),
        ("tau-bench_results.json", {(1, 2, "malformed_call"), (1, 4, "nonexistent_tool"), (1, 6, "wrong_final_state")}),
    ],
)
def test_errors_are_found_where_they_are(name: str, errors: set[tuple[int, int, str]]) -> None:
    trajectories, _ = read(LOGS / name)
    assert errors <= found(trajectories)


@pytest.mark.parametrize("name", ["tau-bench", "tau2", "verifiers", "bfcl", "anthropic"])
def test_a_form_is_told_as_it_is_named(name: str) -> None:
    for path in LOGS.glob(f"{name}[._]*"):
        assert read(path) == read(path, form_named(name))
        assert read(path)[0]


def test_our_own_trajectories_are_told_from_plain_messages(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    for record in ({"schema_version": 1, "id": "a", "messages": []}, {"messages": [], "tools": []}):
        path.write_text(json.dumps(record))
        trajectories, refused = read(path)
        assert (len(trajectories), refused) == (1, [])
    assert trajectories[0].id == "1"  # the line's number, where there is no id


def test_a_form_that_nobody_knows() -> None:
    with pytest.raises(InputError, match="did you mean 'anthropic'"):
        form_named("antropic")


def test_what_is_known_of_tau2_is_kept() -> None:
    right, wrong, cut = read(LOGS / "tau2_results.json")[0]
    assert (right.env, right.success, right.reward, right.policy) == ("tau2/mock", True, 1.0, "gpt-x")
    assert right.messages[0]["role"] == "system"
    assert not wrong.success
    assert (cut.stop_reason, cut.env) == (StopReason.TURN_LIMIT, "")  # it was not scored


@pytest.mark.parametrize(
    ("info", "reward", "stop"),
    [
        ({"reward_info": {"info": {"r_actions": 1.0}}}, 1.0, "answered"),
        ({"reward_info": {"info": {"r_actions": 0.0}}}, 0.0, "answered"),  # the database is not as it should be
        ({"reward_info": {"info": {"r_outputs": 0.0}}}, 0.0, "user_stop"),  # something was not said
        ({"reward_info": None}, 0.0, "turn_limit"),
        ({"error": "a lost connection"}, 0.0, "infrastructure_fault"),
    ],
)
def test_how_a_trial_of_tau_bench_ended(tmp_path: Path, info: dict[str, Any], reward: float, stop: str) -> None:
    path = tmp_path / "results.json"
    said = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}]
    path.write_text(json.dumps([{"task_id": 3, "trial": 1, "reward": reward, "info": info, "traj": said}]))
    (trajectory,), _ = read(path)
    assert (trajectory.id, trajectory.stop_reason, trajectory.success) == ("3/1", stop, reward == 1.0)
    assert not trajectory.tools_known


def simulation(**more: Any) -> dict[str, Any]:
    said = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}]
    return {"id": "s", "task_id": "t", "termination_reason": "user_stop", "messages": said, **more}


def test_the_users_own_tools_are_not_the_agents(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    call = {"id": "u", "name": "toggle_data", "arguments": {}, "requestor": "user"}
    said = [
        {"role": "user", "content": None, "tool_calls": [call]},
        {"role": "tool", "id": "u", "content": "on", "requestor": "user"},
        {"role": "user", "content": "Data is on."},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "a", "name": "check", "arguments": {"n": 1}}]},
        {"role": "tool", "tool_messages": [{"role": "tool", "id": "a", "content": "fine", "requestor": "assistant"}]},
    ]
    path.write_text(json.dumps({"info": {}, "simulations": [simulation(messages=said)]}))
    (trajectory,), refused = read(path)
    assert refused == []
    assert [message["role"] for message in trajectory.messages] == ["user", "assistant", "tool"]
    assert trajectory.messages[1]["tool_calls"][0]["function"] == {"name": "check", "arguments": '{"n": 1}'}


@pytest.mark.parametrize(
    ("ended", "reward", "matches", "stop"),
    [
        ("user_stop", 1.0, True, "answered"),
        ("user_stop", 0.0, False, "answered"),  # the database is not as it should be
        ("user_stop", 0.0, True, "user_stop"),  # something was not said: no wrong end state
        ("user_error", 0.0, None, "infrastructure_fault"),
        ("too_many_errors", 0.0, None, "error_limit"),
        ("context_window_exceeded", 0.0, None, "token_limit"),
    ],
)
def test_how_a_simulation_ended(tmp_path: Path, ended: str, reward: float, matches: bool | None, stop: str) -> None:
    path = tmp_path / "simulation.json"
    scored = {"reward": reward, "db_check": {"db_match": matches}}
    path.write_text(json.dumps(simulation(termination_reason=ended, reward_info=scored)))
    (trajectory,), _ = read(path)
    assert trajectory.stop_reason == stop
    wrong = any(finding.code == "wrong_final_state" for finding in criticize(trajectory))
    assert wrong == (matches is False)


def test_a_document_reads_the_same_on_one_line(tmp_path: Path) -> None:
    path = tmp_path / "compact.json"
    path.write_text(json.dumps(json.loads((LOGS / "tau2_results.json").read_text())))
    assert read(path)[0] == read(LOGS / "tau2_results.json")[0]


def test_of_a_document_that_was_cut_off_the_whole_parts_are_read(tmp_path: Path) -> None:
    text = (LOGS / "tau2_results.json").read_text()
    path = tmp_path / "cut.json"
    path.write_text(text[: text.rindex('"tool_calls"') + 30])
    trajectories, (refused,) = read(path)
    assert trajectories == read(LOGS / "tau2_results.json")[0][:2]
    (third,) = [part[0] for part in list(read_logs(LOGS / "tau2_results.json"))[2:] if isinstance(part, tuple)]
    assert refused.place.line == third.line
    assert "the rest is not read" in refused.reason


def test_an_array_of_conversations_is_read_item_by_item(tmp_path: Path) -> None:
    path = tmp_path / "array.json"
    path.write_text(json.dumps([{"id": name, "messages": []} for name in "ab"], indent=1)[:-1] + ', {"id": "c", "mess')
    trajectories, (refused,) = read(path)
    assert [trajectory.id for trajectory in trajectories] == ["a", "b"]
    assert refused.place.line == 10


def test_branches_of_a_trace() -> None:
    """A subagent's is a trajectory of its own; one that repeats turns of another is refused: no turn counts twice."""
    trajectories, (refused,) = read(LOGS / "verifiers_traces.jsonl")
    assert [len(trajectory.messages) for trajectory in trajectories] == [8, 4, 2, 0]
    assert "repeats turns" in refused.reason
    assert trajectories[3].stop_reason == StopReason.INFRASTRUCTURE_FAULT
    assert trajectories[3].fault == "ProviderError: 502 from upstream"


def test_a_trace_whose_nodes_go_in_circles_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    message = {"role": "user", "content": "Hello"}
    nodes = [{"parent": 1, "message": message}, {"parent": 0, "message": message}, {"parent": 1, "message": message}]
    path.write_text(json.dumps({"id": "e", "task": {}, "traces": [{"nodes": nodes}]}))
    trajectories, (refused,) = read(path)
    assert trajectories == []
    assert "expected an earlier node" in refused.reason


def test_tools_are_given_where_a_log_has_none(tmp_path: Path) -> None:
    path = tmp_path / "tools.jsonl"  # as BFCL has them, one a line, with Python's types
    path.write_text("\n".join(map(json.dumps, [GREP, MV, {"name": "cd", "parameters": {"type": "dict"}}])))
    out = tmp_path / "findings.jsonl"
    command_line.main([str(LOGS / "bfcl_result.json"), "--tools", str(path), "--jsonl", str(out)])
    first, failed = map(json.loads, out.read_text().splitlines())
    codes = {(part["message_index"], part["call_index"], part["code"]) for part in first["findings"]}
    assert (3, 1, "wrong_type") in codes
    assert (8, 0, "missing_argument") in codes
    assert not any(code == "nonexistent_tool" and index == 3 and call == 1 for index, call, code in codes)
    assert [part["code"] for part in failed["findings"]] == ["infrastructure_fault"]


def test_the_tools_of_a_log_are_kept() -> None:
    given = [{"type": "function", "function": GREP}]
    assert read(LOGS / "anthropic.jsonl", None, given) == read(LOGS / "anthropic.jsonl")
    assert read(LOGS / "bfcl_result.json", None, given)[0][0].tools == given


def test_a_tool_that_comes_later_is_offered_from_then_on() -> None:
    (trajectory,), _ = read(LOGS / "bfcl_logged_inputs_result.json")
    assert trajectory.tools_from == {"sort": 13}
    assert "updated some more functions" in trajectory.messages[12]["content"]


def test_python_calls_are_read_as_the_benchmark_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    steps = [
        "[mv(source='a', destination=f(1)), cd('x')]",
        r"[grep(pattern='\d', file_name={'a': (1, 2)})]",
        "Done [it].",
    ]
    path.write_text(json.dumps({"id": "multi_turn_base_0", "result": [steps]}))
    (trajectory,), _ = read(path)
    made = [call["function"] for message in trajectory.messages for call in message.get("tool_calls", ())]
    assert made == [
        {"name": "mv", "arguments": '{"source": "a", "destination": "f(1)"}'},
        {"name": "cd", "arguments": "{}"},
        {"name": "grep", "arguments": r'{"pattern": "\\d", "file_name": {"a": [1, 2]}}'},
    ]
    assert trajectory.messages[2]["content"] == "Done [it]."


def test_calls_that_a_model_writes_as_json_are_read(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    steps = ['[{"name": "mv", "arguments": {"source": "a"}}, {"name": "ls"}]', '{"name": "cd", "arguments": {}}', "[1]"]
    path.write_text(json.dumps({"id": "multi_turn_base_0", "result": [steps]}))
    (trajectory,), _ = read(path)
    made = [call["function"] for message in trajectory.messages for call in message.get("tool_calls", ())]
    assert [call["name"] for call in made] == ["mv", "ls", "cd"]
    assert [call["arguments"] for call in made] == ['{"source": "a"}', "{}", "{}"]


def test_no_text_for_arguments_is_malformed_where_the_benchmark_could_not_decode_it(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    remark = {"role": "handler_log", "content": "Error decoding the response.", "error": "Expecting value: line 1"}
    fine = {"role": "handler_log", "content": "Successfully decoded the response.", "model_response_decoded": ["pwd()"]}
    turn = {
        "begin_of_turn_query": [{"role": "user", "content": "Where am I?"}],
        "step_0": [{"role": "assistant", "content": [{"pwd": "{}"}, {"pwd": ""}]}, remark],
        "step_1": [{"role": "assistant", "content": [{"pwd": ""}]}, fine, {"role": "tool", "content": "/home"}],
    }
    path.write_text(json.dumps({"id": "multi_turn_base_0", "result": [], "inference_log": [turn]}))
    pwd = {"name": "pwd", "parameters": {"type": "dict", "properties": {}}}
    (trajectory,), _ = read(path, None, [{"type": "function", "function": pwd}])
    (finding,) = (part for part in criticize(trajectory) if part.code in INVALID_CALL_CODES)
    assert (finding.code, finding.message_index, finding.call_index) == ("malformed_call", 1, 1)


def test_a_benchmark_task_of_one_turn(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text(json.dumps({"id": "simple_0", "result": [{"area": '{"base": 10}'}]}))
    (trajectory,), _ = read(path)
    assert trajectory.messages[0]["tool_calls"][0]["function"] == {"name": "area", "arguments": '{"base": 10}'}


def test_lines_of_another_form_are_named_and_the_rest_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mixed.jsonl"
    plain = json.dumps({"id": "a", "tools": [], "messages": [{"role": "user", "content": "Hello"}]})
    blocks = (LOGS / "anthropic.jsonl").read_text().splitlines()[0]
    path.write_text(f"{plain}\n{blocks}\n{plain}\n")
    assert command_line.main([str(path), "--json"]) == 2
    shown = json.loads(capsys.readouterr().out)
    assert (shown["tasks"], shown["unread"]) == (2, 1)
    (unread,) = shown["unreadable"]
    assert (unread["line"], "--format anthropic" in unread["reason"]) == (2, True)


def test_what_has_no_known_form_says_what_came(tmp_path: Path) -> None:
    path = tmp_path / "other.jsonl"
    path.write_text('{"steps": [], "agent": 1}\n[1]\n')
    trajectories, refused = read(path)
    assert trajectories == []
    assert [part.reason.partition(":")[0] for part in refused] == [
        "no form that is known, came an object with steps, agent",
        "no form that is known, came list",
    ]


def test_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    class Stdin:
        buffer = io.BytesIO((LOGS / "anthropic.jsonl").read_bytes())

    monkeypatch.setattr("sys.stdin", Stdin)
    assert command_line.main(["-"]) == 0
    assert "2 tasks, 4 calls" in capsys.readouterr().out


CHAT = """{"id": "a", "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
"messages": [{"role": "user", "content": "Go."}, {"role": "assistant", "content": null, "tool_calls": [{"id": "c",
"type": "function", "function": {"name": "f", "arguments": "{}"}}]}, {"role": "tool", "tool_call_id": "c",
"content": "Hm"}], "turns": [], "task": {}, "tools_from": {"f": 1}, "schema_version": 1}"""

ODD = (None, 7, "x", "", [], {}, [None], [7], {"a": None}, True, [[]], {"name": 7}, [{}], "\ud800")


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in members:
        yield from places(part, (*path, key))


def changed(value: Any, path: tuple[Any, ...], odd: Any) -> Any:
    if not path:
        return odd
    copy = value.copy()
    copy[path[0]] = changed(value[path[0]], path[1:], odd)
    return copy


@pytest.mark.parametrize("name", ["anthropic", "bfcl", "openai", "tau-bench", "tau2", "verifiers"])
def test_no_record_is_so_odd_that_the_next_is_not_read(name: str, tmp_path: Path) -> None:
    """Any part of a record may be anything: it is read or refused, and nothing else happens."""
    path, random = tmp_path / "log.jsonl", Random(name)
    text = CHAT if name == "openai" else next(LOGS.glob(f"{name}[._]*")).read_text()
    record = json.loads(text if name in ("openai", "tau-bench", "tau2") else text.splitlines()[0])
    record = record[0] if name == "tau-bench" else record
    everywhere = list(places(record))
    odd = [changed(record, random.choice(everywhere), random.choice(ODD)) for _ in range(60)]
    path.write_text("\n".join(map(json.dumps, [record, *odd, record])))
    for form in ("--json", f"--format={name}"):
        assert command_line.main([str(path), form]) in (0, 2)
    parts = [part if isinstance(part, Unreadable) else part[0] for part in read_logs(path)]
    lines = {part.place.line if isinstance(part, Unreadable) else part.line for part in parts}
    assert {1, 62} <= lines


def test_every_form_has_a_name_of_its_own_and_a_sample() -> None:
    samples = {path.name.split("_")[0].split(".")[0] for path in LOGS.glob("*.json*")}
    assert set(FORMS) - {"hintsight", "openai"} <= samples
