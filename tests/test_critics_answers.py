"""What environments answered: errors, faults and successes in their own words, and what rules make of them."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from critics import CERTAIN, WARNING, Finding, criticize, text_of
from critics.answers import HEAD, Answer, answer_of, refuses
from critics.leaks import leak_in
from critics.wording import wording_of
from envs import Trajectory, read_trajectories
from tools import INVALID_CALL_CODES, ErrorCode

SAMPLES = Path(__file__).parents[2] / "shared" / "samples" / "real-agents.jsonl"
TOOL = {
    "name": "search",
    "parameters": {
        "type": "object",
        "properties": {"query": {"type": "string"}, "limit": {"type": "integer"}, "lang": {"enum": ["en_US"]}},
        "required": ["query"],
    },
}


def answered(
    arguments: Any, result: str | None, name: str = "search", **record: Any
) -> tuple[Trajectory, list[Finding]]:
    """A log of one call and what the environment said to it."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    call = {"id": "c", "type": "function", "function": {"name": name, "arguments": text}}
    messages: list[dict[str, Any]] = [{"role": "user", "content": "go"}, {"role": "assistant", "tool_calls": [call]}]
    if result is not None:
        messages.append({"role": "tool", "tool_call_id": "c", "content": result})
    trajectory = Trajectory.from_json({"id": "t", "tools": [TOOL], "messages": messages, **record})
    return trajectory, criticize(trajectory)


def mcp(text: str, error: bool) -> str:
    return f"meta=None content=[TextContent(type='text', text={text!r}, annotations=None)] isError={error}"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ('{"orders": [7], "error": null}', Answer.NO_ERROR),
        ('{"error": "", "response": "all good"}', Answer.NO_ERROR),
        (mcp("3 pages about errors", False), Answer.NO_ERROR),
        ("The guide to unknown errors, page 1", Answer.NO_ERROR),
        ("Error: order not found", Answer.ERROR),
        ('{"error": "No such function name: look"}', Answer.ERROR),
        ("TypeError: search() got an unexpected keyword argument 'x'", Answer.ERROR),
        ("Unknown action look", Answer.ERROR),
        ("Tool web-look not found in agent Assistant", Answer.ERROR),
        ("Function 'look' does not exist", Answer.ERROR),
        ("2 validation errors for search", Answer.ERROR),
        ("Input validation error: 'query' is a required property", Answer.ERROR),
        ("The tool box was not found in the shed", Answer.NO_ERROR),
        (mcp('{\n  "error": "no page"\n}', False), Answer.ERROR),
        (mcp('{\n  "error": null, "pages": 3\n}', False), Answer.NO_ERROR),
        ('{"status": "error", "message": "no page"}', Answer.ERROR),
        ("[{'error': 'log in to see the pages'}]", Answer.ERROR),
        ('{"status": "errors are counted"}', Answer.NO_ERROR),
        (mcp("no page", True), Answer.FLAGGED),
        (mcp('{\n  "content": [{"text": "no page"}],\n  "isError": true\n}', False), Answer.FLAGGED),
        ("Error: Connection timeout to host", Answer.FAULT),
        ('{"error": "rate limit exceeded"}', Answer.FAULT),
        ("Error: status code 503", Answer.FAULT),
        (mcp("Failed to fetch https://example.invalid: HTTP error: 503", True), Answer.FAULT),
        (" ", Answer.NONE),
    ],
)
def test_what_an_answer_is_taken_for(text: str, answer: Answer) -> None:
    assert answer_of({"role": "tool", "content": text}) is answer
    flagged = answer_of({"role": "tool", "content": text, "is_error": True})
    assert flagged in (Answer.FLAGGED, Answer.FAULT)


WORDINGS = [
    ("No such function name: look", "nonexistent_tool", ""),
    ("Error: Tool 'look' not found.", "nonexistent_tool", ""),
    ("Unknown action look", "nonexistent_tool", ""),
    ("Tool web-look not found in agent Assistant", "nonexistent_tool", ""),
    ("Error executing tool: Server 'Garden' is not defined in the configuration.", "nonexistent_tool", ""),
    ("MCP error -32601: Method not found", "nonexistent_tool", ""),
    ("NameError: name 'look' is not defined", "nonexistent_tool", ""),
    ("TypeError: search() got an unexpected keyword argument 'max'", "unexpected_argument", "max"),
    ("Additional properties are not allowed ('max' was unexpected)", "unexpected_argument", "max"),
    ("1 validation error for search\nmax\n  Extra inputs are not permitted", "unexpected_argument", "max"),
    ("TypeError: search() missing 1 required positional argument: 'query'", "missing_argument", "query"),
    ("Input validation error: 'query' is a required property", "missing_argument", "query"),
    (
        "1 validation error for search\nquery\n  Field required [type=missing, input_value={}]",
        "missing_argument",
        "query",
    ),
    ("Missing required parameter: query", "missing_argument", "query"),
    ("json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)", "malformed_call", ""),
    ("'5' is not of type 'integer'", "wrong_type", ""),
    ("Input should be a valid integer, unable to parse string as an integer", "wrong_type", ""),
    ("'en' is not one of ['en_US']", "invalid_value", ""),
    ("The selected region is invalid.", "invalid_value", "region"),
]


@pytest.mark.parametrize(("text", "code", "name"), WORDINGS)
def test_the_words_of_dispatchers_mcp_pydantic_and_python(text: str, code: str, name: str) -> None:
    wording = wording_of(text)
    assert wording is not None
    assert (str(wording.code), wording.name) == (code, name)


@pytest.mark.parametrize("text", ["Order not found", "User does not exist", "Payment method not found", "Sold out", ""])
def test_words_about_the_world_are_no_wording(text: str) -> None:
    assert wording_of(text) is None


@pytest.mark.parametrize("flag", ["false", "null"])
@pytest.mark.parametrize("name", ["isError", "is_error"])
def test_a_flag_is_read_wherever_the_beginning_ends(flag: str, name: str) -> None:
    for length in range(HEAD - 30, HEAD + 4):
        before, after = "x" * length + f'"{name}": ', ', "rows": [' + "1, " * 100 + "1]}"
        assert not refuses({"content": before + flag + after})
        if length + len(f'"{name}') <= HEAD:
            assert answer_of({"content": f"{before}true{after}"}) is Answer.FLAGGED


@given(st.text(alphabet="tool functi'\\\"[]{}=:.,\n<|>", max_size=300))
def test_any_text_is_read(text: str) -> None:
    wording_of(text)
    assert answer_of({"content": text}) in Answer
    assert refuses({"content": text}) in (True, False)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"query": 5}, "wrong_type"),
        ({"query": "x", "limit": "5"}, "wrong_type"),
        ({"query": "x", "lang": "en"}, "invalid_value"),
        ({"query": "x", "max": 5}, "unexpected_argument"),
        ({}, "missing_argument"),
        ('{"query": "x", "limit": NaN}', "malformed_call"),
    ],
)
def test_what_was_carried_out_all_the_same_is_a_warning(arguments: Any, code: str) -> None:
    for result, confidence in (
        ('{"pages": [1, 2, 3]}', WARNING),
        ("Error: no page found", CERTAIN),
        ("the limit must be a number", CERTAIN),
        (mcp("INTERNAL_ERROR", True), CERTAIN),
        ("", CERTAIN),
        (None, CERTAIN),
    ):
        _, (finding,) = answered(arguments, result)
        assert (str(finding.code), finding.confidence) == (code, confidence)
        assert ("carried out" in finding.explanation) is (confidence == WARNING)


def test_a_name_in_no_list_is_a_warning_only_where_the_answer_says_back_what_was_asked() -> None:
    for name, arguments, result, confidence in (
        ("look", {"at": "the garden"}, "The garden: the garden is in bloom", WARNING),
        ("look", {"at": "the garden"}, '{"seen": ["a tree"]}', CERTAIN),
        ("look", {"at": "the garden"}, "the garden: did you mean search?", CERTAIN),
        ("look", {"at": "the garden"}, "Available tools: search. Not the garden", CERTAIN),
        ("look", {"at": "it"}, "with it", CERTAIN),
        ("look", {}, "done", CERTAIN),
        ("look", ["the garden"], "the garden", CERTAIN),
        ("look", "the garden", "the garden", CERTAIN),
        ("look<|channel|>commentary", {"at": "the garden"}, "the garden", CERTAIN),
    ):
        _, (finding,) = answered(arguments, result, name=name)
        assert (finding.code, finding.confidence) == (ErrorCode.NONEXISTENT_TOOL, confidence)


def test_the_worlds_here_carry_nothing_out_that_breaks_a_schema() -> None:
    record = {"env": "workspace-v0", "success": True, "task": {"seed": 1, "split": "test"}}
    for name, arguments in (("search", {"query": 5}), ("look", {"at": "the garden"})):
        _, (finding,) = answered(arguments, "the garden: 3 pages", name=name, **record)
        assert finding.confidence == CERTAIN


@pytest.mark.parametrize(("text", "code", "name"), WORDINGS)
def test_without_schemas_the_environments_words_are_warnings(text: str, code: str, name: str) -> None:
    trajectory, (finding,) = answered({"max": 5, "q": "x"}, f"Error: {text}", tools=None)
    assert (str(finding.code), finding.confidence) == (code, WARNING)
    assert "the environment said" in finding.explanation
    assert finding.hint.startswith("Reminder: ")
    marked = text_of(trajectory, finding)[slice(*finding.span)]
    assert marked == ("search" if code == "nonexistent_tool" else '"max": 5' if name == "max" else marked)


def test_without_schemas_nothing_else_is_said_of_a_call() -> None:
    assert answered({"anything": 1}, "fine", tools=None)[1] == []
    assert [finding.code for finding in answered('{"a": ', "fine", tools=None)[1]] == [ErrorCode.MALFORMED_CALL]
    again = Trajectory.from_json({"id": "t", "messages": []})
    assert Trajectory.from_json(again.to_json()) == again
    assert "tools" not in again.to_json()


def test_an_error_that_only_its_text_shows_is_a_warning() -> None:
    _, (finding,) = answered({"query": "x"}, "Error: the archive is closed")
    assert (finding.code, finding.confidence) == (ErrorCode.DOMAIN_REJECTION, WARNING)
    _, (finding,) = answered({"query": "x"}, mcp("the archive is closed", True))
    assert (finding.code, finding.confidence) == (ErrorCode.DOMAIN_REJECTION, CERTAIN)


def test_the_worlds_here_flag_their_errors_so_their_words_are_data() -> None:
    text = "Traceback: missing 1 required positional argument: 'x'"
    assert len(answered({"query": "x"}, text)[1]) == 1
    assert answered({"query": "x"}, text, env="workspace-v0", success=True, task={"seed": 1, "split": "test"})[1] == []
    assert answered({"query": "x"}, '{"errors": 2, "failed": 1}')[1] == []


def test_an_environments_own_fault_is_nobodys_error() -> None:
    assert answered({"query": "x"}, "Error: Connection timeout")[1] == []
    messages = answered({"query": "x"}, "Error: Connection timeout")[0].messages
    twice = Trajectory.from_json({"id": "t", "tools": [TOOL], "messages": [*messages, *messages[1:]]})
    assert criticize(twice) == []


def test_no_text_at_all_is_what_the_environment_takes_it_for() -> None:
    tool = {"name": "search", "parameters": {"type": "object", "properties": {}}}
    assert answered("", "3 pages", tools=[tool])[1] == []
    _, (finding,) = answered("", "Error: Expecting value: line 1 column 1 (char 0)", tools=[tool])
    assert (finding.code, finding.confidence) == (ErrorCode.MALFORMED_CALL, CERTAIN)


@pytest.mark.parametrize(
    ("name", "token", "meant"),
    [
        ("search<|channel|>commentary", "<|channel|>", "search"),
        ("<|start|>functions.search", "<|start|>", "search"),
        ("search<\uff5ctool\u2581sep\uff5c>", "<\uff5ctool\u2581sep\uff5c>", "search"),
        ("look</tool_call>", "</tool_call>", None),
    ],
)
def test_a_leaked_token_is_named_and_so_is_the_tool_that_was_meant(name: str, token: str, meant: str | None) -> None:
    assert leak_in(name, ["search"]) == (token, meant)
    trajectory, (finding,) = answered({"query": "x"}, None, name=name)
    assert finding.code is ErrorCode.NONEXISTENT_TOOL
    assert text_of(trajectory, finding)[slice(*finding.span)] == name
    assert f"{token} leaked into the name" in finding.explanation
    assert (f"{meant} was meant" in finding.explanation) is (meant is not None)


def test_the_order_of_trajectories_changes_nothing() -> None:
    logs = [answered({"query": "x", "limit": "5"}, text)[0] for text in ("fine", "Error: no", "fine")]
    assert [criticize(log) for log in logs] == [criticize(log) for log in reversed(logs)][::-1]


@pytest.mark.skipif(not SAMPLES.is_file(), reason="the samples of real agents are not here")
def test_real_agents_are_read_as_their_environments_read_them() -> None:
    shown = {"missing_arg", "unknown_tool", "env_value"}
    found, said = set(), set()
    records = [json.loads(line) for line in SAMPLES.read_text().splitlines()]
    for record, trajectory in zip(records, read_trajectories(SAMPLES), strict=True):
        skipped = {tuple(place) for place in record["skip_calls"]}
        errors = {tuple(place): category for *place, category, _ in record["env_error_calls"]}
        for part in criticize(trajectory):
            place = part.message_index, part.call_index
            if part.code in INVALID_CALL_CODES and part.confidence == CERTAIN and place not in skipped:
                found.add((trajectory.id, *place))
                assert place in errors
        said |= {(trajectory.id, *place) for place, kind in errors.items() if kind in shown and place not in skipped}
    assert said <= found


FAULTS = (
    "timed out", "time-out", "rate limit", "too many requests", "quota", "connection reset", "econnrefused",
    "enotfound", "network error", "temporarily", "service unavailable", "bad gateway", "internal_error",
    "internal server error", "status_code=500", "http error 503", "code: 429", "status 504", "fetch failed",
    "overloaded", "out of memory", "cannot connect", "unreachable",
)  # fmt: skip


@pytest.mark.parametrize("words", FAULTS)
def test_every_wording_of_a_fault_is_the_environments_own(words: str) -> None:
    assert answer_of({"role": "tool", "content": f"Error: {words}"}) is Answer.FAULT


@pytest.mark.parametrize("name", ["error", "errors", "error_message", "errormessage", "is_error", "iserror", "failed"])
@pytest.mark.parametrize("nothing", ["false", "null", "None", '""', "''", "[]", "{}", "0"])
def test_a_member_that_says_there_was_no_error_is_none(name: str, nothing: str) -> None:
    assert answer_of({"role": "tool", "content": f'{{"{name}": {nothing}, "rows": [1]}}'}) is Answer.NO_ERROR
