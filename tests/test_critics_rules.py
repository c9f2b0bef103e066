"""Each rule on hand-written trajectories: the code, the place, and the exact text that its span marks."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from critics import CERTAIN, RULES, WARNING, Finding, criticize, rule, text_of
from envs import Message, StopReason, Trajectory, Turn
from tools import ErrorCode, ToolResult, Violation


def a_tool(name: str, required: Sequence[str] = (), **properties: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}
    return {"type": "function", "function": {"name": name, "description": "", "parameters": parameters}}


LINE = {"type": "object", "properties": {"sku": {"type": "string"}, "count": {"type": "integer"}}, "required": ["sku"]}
TOOLS = [
    a_tool("get_order", ["order_id"], order_id={"type": "integer"}),
    a_tool(
        "cancel",
        ["order_id", "reason"],
        order_id={"type": "string"},
        reason={"enum": ["late", "broken"]},
        confirm={"type": "boolean"},
    ),
    a_tool("buy", ["lines"], lines={"type": "array", "items": LINE, "maxItems": 3}, shop_id={"default": "main"}),
    a_tool("wait"),
]
REFUSED = ToolResult.error(
    Violation(code=ErrorCode.DOMAIN_REJECTION, path="$", expected="order 7 not found", came={"order_id": 7})
)
OK = ToolResult.success({"done": True})

Call = tuple[str, Any]
Step = tuple[Sequence[Call], Sequence[ToolResult]]


def text_for(call: Call) -> str:
    name, arguments = call
    written = arguments if isinstance(arguments, str) else json.dumps(arguments)
    inner = f'{{"name": "{name}", "arguments": {written}}}' if name else written
    return f"<tool_call>\n{inner}\n</tool_call>"


def message_for(calls: Sequence[Call], turn: int, content: str = "") -> Message:
    made = [
        {
            "id": f"call_{turn}_{number}",
            "type": "function",
            "function": {"name": name, "arguments": part if isinstance(part, str) else json.dumps(part)},
        }
        for number, (name, part) in enumerate(calls)
    ]
    return {"role": "assistant", "content": content, **({"tool_calls": made} if made else {})}


def act(
    *steps: Step | str, raw: bool = True, request: str = "Order #7 is late, shop 12.", **changed: Any
) -> Trajectory:
    """A trajectory of turns, each the calls and their results, or the text of an answer."""
    messages: list[Message] = [{"role": "user", "content": request}]
    turns = []
    for number, step in enumerate(steps):
        calls, results = ([], []) if isinstance(step, str) else step
        content = step if isinstance(step, str) else ""
        text = "\n".join(map(text_for, calls)) or content
        turn = Turn(
            message_index=len(messages),
            prompt_ids=[],
            token_ids=[],
            logprobs=[],
            raw=f"{text}<|im_end|>" if raw else "",
        )
        turns.append(turn)
        messages.append(message_for(calls, number, content))
        messages += [result.to_message(f"call_{number}_{place}") for place, result in enumerate(results)]
    fields: dict[str, Any] = {"env": "", "task": {}, "policy": "p", "tools": TOOLS, "success": True, **changed}
    return Trajectory(id="t", messages=messages, turns=turns if raw else (), **fields)


def one(name: str, arguments: Any, result: ToolResult = OK) -> Step:
    return [(name, arguments)], [result]


def seen(trajectory: Trajectory) -> list[tuple[str, int, int | None, str]]:
    """Code, message, call, and the marked text of every finding."""
    return [
        (str(part.code), part.message_index, part.call_index, text_of(trajectory, part)[slice(*part.span)])
        for part in criticize(trajectory)
    ]


RIGHT = one("get_order", {"order_id": 7})


def test_a_right_trajectory_has_no_finding() -> None:
    cancel = one("cancel", {"order_id": "7", "reason": "late"})
    assert criticize(act(RIGHT, cancel, "Done.", env="store-v0")) == []
    assert criticize(act(RIGHT, cancel, "Done.", raw=False)) == []


BAD_CALLS: Mapping[str, tuple[Call, str, str, str]] = {
    # the call, its code, the marked text with raw text, and without
    "unknown tool": (("find_order", {"order_id": 7}), "nonexistent_tool", "find_order", "find_order"),
    "withheld tool": (("refund", {}), "unavailable_tool", "refund", "refund"),
    "wrong type": (("get_order", {"order_id": "7"}), "wrong_type", '"7"', '"7"'),
    "enum": (("cancel", {"order_id": "7", "reason": "dull"}), "invalid_value", '"dull"', '"dull"'),
    "missing": (("cancel", {"order_id": "7"}), "missing_argument", "}", "}"),
    "missing of none": (("get_order", "{}"), "missing_argument", "}", "}"),
    "unexpected": (("wait", {"until": [1, 2]}), "unexpected_argument", '"until": [1, 2]', '"until": [1, 2]'),
    "nested type": (("buy", {"lines": [{"sku": "a"}, {"sku": 5}]}), "wrong_type", "5", "5"),
    "nested missing": (("buy", {"lines": [{"count": 2}]}), "missing_argument", "}", "}"),
    "too many": (
        ("buy", {"lines": [{"sku": "a"}] * 4}),
        "invalid_value",
        json.dumps([{"sku": "a"}] * 4),
        json.dumps([{"sku": "a"}] * 4),
    ),
    "no object": (("wait", "[1]"), "malformed_call", '{"name": "wait", "arguments": [1]}', "[1]"),
    "block": (("", '{"name": "wait", "argum'), "malformed_call", '{"name": "wait", "argum', '{"name": "wait", "argum'),
}


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("case", BAD_CALLS)
def test_invalid_calls(case: str, raw: bool) -> None:
    call, code, marked, marked_without_raw = BAD_CALLS[case]
    trajectory = act(RIGHT, ([("wait", {}), call], [OK]), "Done.", raw=raw, task={"catalogue": ["refund"]})
    assert seen(trajectory) == [(code, 3, 1, marked if raw else marked_without_raw)]
    (finding,) = criticize(trajectory)
    assert finding.confidence == CERTAIN
    assert finding.hint.startswith("Reminder: ")
    assert finding.explanation


def test_the_closing_brace_is_that_of_the_object_which_lacks_something() -> None:
    arguments = '{"lines": [{"sku": "a"}, {"count": 2}, {"sku": "c"}]}'
    trajectory = act(one("buy", arguments))
    (finding,) = criticize(trajectory)
    raw = trajectory.turns[0].raw
    assert finding.path == "$.lines[1].sku"
    assert raw[finding.span[0] - 11 : finding.span[1]] == '{"count": 2}'


def test_the_paths_and_hints_of_findings() -> None:
    (finding,) = criticize(act(one("cancel", {"order_id": "7", "reason": "dull"})))
    assert (finding.path, finding.hint) == ("$.reason", "Reminder: reason must be one of: late, broken.")
    (finding,) = criticize(act(one("find_order", {})))
    assert (finding.path, finding.hint) == (
        "name",
        "Reminder: the available tools are: get_order, cancel, buy, wait.",
    )
    (finding,) = criticize(act(one("cancel", {"order_id": "7"})))
    assert finding.hint == "Reminder: cancel requires: order_id, reason."
    (finding,) = criticize(act(one("wait", {"x": 1})))
    assert finding.hint == "Reminder: wait takes no arguments."
    (finding,) = criticize(act(one("wait", {}), tools=[]))
    assert finding.hint == "Reminder: no tools are available."


def test_all_errors_of_a_call_come_in_the_order_of_its_text() -> None:
    trajectory = act(one("cancel", {"order_id": 7, "reason": "dull", "note": "x"}))
    assert [(code, text) for code, _, _, text in seen(trajectory)] == [
        ("wrong_type", "7"),
        ("invalid_value", '"dull"'),
        ("unexpected_argument", '"note": "x"'),
    ]


def test_of_two_arguments_with_one_name_the_one_that_counts_is_marked() -> None:
    assert seen(act(one("get_order", '{"order_id": "7", "order_id": null}'))) == [("wrong_type", 1, 0, "null")]


def test_a_call_without_arguments_lacks_them_at_its_end() -> None:
    raw = '<tool_call>\n{"name": "get_order"}\n</tool_call>'
    turn = Turn(message_index=1, prompt_ids=[], token_ids=[], logprobs=[], raw=raw)
    messages = [{"role": "user", "content": "7"}, message_for([("get_order", "{}")], 0)]
    trajectory = Trajectory(id="t", env="", task={}, policy="", tools=TOOLS, messages=messages, turns=[turn])
    (finding,) = criticize(trajectory)
    assert finding.span == (raw.index("}"), raw.index("}") + 1)


def test_a_call_that_a_server_left_as_text() -> None:
    broken = 'Let me.\n<tool_call>\n{"name": "wait", "arguments": {"x": \n</tool_call>'
    marked = '{"name": "wait", "arguments": {"x":'
    assert seen(act(broken, raw=False)) == [("malformed_call", 1, None, marked)]
    assert seen(act('<tool_call>\n{"name": "wait", "arguments": {}}\n</tool_call>', raw=False)) == []


def test_an_empty_turn() -> None:
    assert seen(act(RIGHT, " \n")) == [("protocol_violation", 3, None, " \n<|im_end|>")]
    assert seen(act(RIGHT, "", raw=False)) == [("protocol_violation", 3, None, "")]


@pytest.mark.parametrize("part", [{"content": None, "refusal": "No."}, {"content": [{"type": "text", "text": "No."}]}])
def test_a_turn_may_say_something_in_another_way(part: Message) -> None:
    messages = [{"role": "user", "content": "go"}, {"role": "assistant", **part}]
    assert criticize(Trajectory.from_json({"id": 1, "tools": [], "messages": messages})) == []


def test_a_result_for_a_call_that_nobody_made() -> None:
    trajectory = act(RIGHT, "Done.")
    messages = [*trajectory.messages[:3], OK.to_message("call_99"), *trajectory.messages[3:]]
    trajectory = Trajectory.from_json({"id": "t", "tools": TOOLS, "messages": messages})
    assert [(code, index) for code, index, _, _ in seen(trajectory)] == [("protocol_violation", 1)]
    assert "'call_99'" in criticize(trajectory)[0].explanation


def test_ids_may_be_used_again_or_left_out() -> None:
    messages: list[Message] = [{"role": "user", "content": "7 and 8"}]
    for order_id in (7, 8):
        message = message_for([("get_order", {"order_id": order_id})], 0)
        messages += [message, OK.to_message("call_0_0")]
    assert criticize(Trajectory.from_json({"id": "t", "tools": TOOLS, "messages": messages})) == []
    bare = [{key: part for key, part in message.items() if key != "tool_call_id"} for message in messages]
    bare[-1]["is_error"] = True
    assert [code for code, *_ in seen(Trajectory.from_json({"id": "t", "tools": TOOLS, "messages": bare}))] == [
        "domain_rejection"
    ]


def test_a_made_up_id_is_a_warning() -> None:
    trajectory = act(one("get_order", {"order_id": 999}, ToolResult.error(*REFUSED.violations)))
    warnings = [finding for finding in criticize(trajectory) if finding.confidence == WARNING]
    assert [(part.code, part.path) for part in warnings] == [(ErrorCode.UNGROUNDED_VALUE, "$.order_id")]
    assert ("ungrounded_value", 1, 0, "999") in seen(trajectory)


GROUNDED: Mapping[str, tuple[str, Any]] = {
    "in the request": ("cancel ORD-12", "ORD-12"),
    "in other letters": ("cancel ord-12", "ORD-12"),
    "as a number": ("order #12.", 12),
    "glued to a word": ("order12", 12),
    "after an escape": ("{'id':\\n12}", "12"),
    "a flag": ("nothing", True),
    "empty": ("nothing", ""),
}


@pytest.mark.parametrize("case", GROUNDED)
def test_an_id_that_was_said(case: str) -> None:
    request, value = GROUNDED[case]
    tools = [a_tool("get", thing={"type": "object"})]
    assert criticize(act(one("get", {"thing": {"part_id": value}}), tools=tools, request=request)) == []


def test_an_id_in_a_number_was_not_said() -> None:
    assert seen(act(one("get_order", {"order_id": 12}), request="order 312")) == [("ungrounded_value", 1, 0, "12")]


def test_an_id_is_known_from_a_result_and_not_from_an_error() -> None:
    found = one("wait", {}, ToolResult.success({"orders": [{"order_id": 55}]}))
    failed = one("wait", {}, ToolResult.error(*REFUSED.violations))
    wanted = one("get_order", {"order_id": 55})
    assert criticize(act(found, wanted)) == []
    assert [code for code, *_ in seen(act(failed, wanted))] == ["domain_rejection", "ungrounded_value"]


def test_an_id_that_a_call_succeeded_with_is_known() -> None:
    assert [index for _, index, _, _ in seen(act(one("get_order", {"order_id": 55}), one("wait", {}), RIGHT))] == [1]
    again = one("cancel", {"order_id": "55", "reason": "late"})
    assert [index for _, index, _, _ in seen(act(one("get_order", {"order_id": 55}), again))] == [1]


def test_an_id_that_the_schema_says() -> None:
    lines = {"lines": [{"sku": "a"}]}
    assert criticize(act(one("buy", lines | {"shop_id": "main"}))) == []
    assert [code for code, *_ in seen(act(one("buy", lines | {"shop_id": "other"})))] == ["ungrounded_value"]


def test_a_repeated_call() -> None:
    trajectory = act(RIGHT, one("get_order", '{"order_id":7}'))
    assert seen(trajectory) == [("repeated_call", 3, 0, trajectory.turns[1].raw)]


def test_a_call_is_not_repeated_when_something_may_have_changed() -> None:
    assert criticize(act(RIGHT, one("wait", {}), RIGHT)) == []
    trajectory = act(RIGHT, "Anything else?", RIGHT)
    messages = [*trajectory.messages[:4], {"role": "user", "content": "Look again."}, *trajectory.messages[4:]]
    assert criticize(Trajectory.from_json({"id": "t", "tools": TOOLS, "messages": messages})) == []


def test_a_failed_call_changes_nothing() -> None:
    codes = [code for code, *_ in seen(act(RIGHT, one("find_order", {}), RIGHT))]
    assert codes == ["nonexistent_tool", "repeated_call"]


def test_an_uncorrected_retry() -> None:
    wrong = one("get_order", {"order_id": "7"}, ToolResult.error(*REFUSED.violations))
    trajectory = act(wrong, wrong)
    assert [(code, index) for code, index, _, _ in seen(trajectory)] == [
        ("domain_rejection", 1),
        ("wrong_type", 1),
        ("uncorrected_retry", 3),
        ("domain_rejection", 3),
        ("wrong_type", 3),
    ]
    assert ("uncorrected_retry", 3, 0, trajectory.turns[1].raw) in seen(trajectory)


def test_the_same_call_later_or_changed_is_no_retry() -> None:
    wrong = one("find_order", {"order_id": 7})
    assert {code for code, *_ in seen(act(wrong, RIGHT, wrong))} == {"nonexistent_tool"}
    assert {code for code, *_ in seen(act(wrong, one("find_order", {"order_id": "7"})))} == {"nonexistent_tool"}
    both: Step = ([("find_order", {}), ("find_order", {})], [OK, OK])
    assert {code for code, *_ in seen(act(both))} == {"nonexistent_tool"}


def test_a_domain_rejection() -> None:
    trajectory = act(one("get_order", {"order_id": 7}, REFUSED))
    assert seen(trajectory) == [("domain_rejection", 1, 0, '{"order_id": 7}')]
    assert criticize(trajectory)[0].explanation == "get_order was refused: order 7 not found"


def test_an_error_that_no_schema_explains_is_a_rejection() -> None:
    trajectory = act(RIGHT)
    messages = [*trajectory.messages[:2], {**trajectory.messages[2], "content": "No such order", "is_error": True}]
    trajectory = Trajectory.from_json({"id": "t", "tools": TOOLS, "messages": messages})
    assert seen(trajectory) == [("domain_rejection", 1, 0, '{"order_id": 7}')]
    assert criticize(trajectory)[0].explanation.endswith("No such order")


def test_an_error_that_the_schema_explains_is_no_rejection() -> None:
    error = Violation(code=ErrorCode.WRONG_TYPE, path="$.order_id", expected="integer", came="7")
    assert [code for code, *_ in seen(act(one("get_order", {"order_id": "7"}, ToolResult.error(error))))] == [
        "wrong_type"
    ]


@pytest.mark.parametrize("stop_reason", [StopReason.TURN_LIMIT, StopReason.ERROR_LIMIT, StopReason.TOKEN_LIMIT])
def test_an_exhausted_budget(stop_reason: StopReason) -> None:
    trajectory = act(RIGHT, one("wait", {}), env="store-v0", success=False, stop_reason=stop_reason)
    assert seen(trajectory) == [("budget_exhausted", 3, None, trajectory.turns[1].raw)]


def test_a_wrong_final_state() -> None:
    trajectory = act(RIGHT, "Done.", env="store-v0", success=False)
    assert seen(trajectory) == [("wrong_final_state", 3, None, "Done.<|im_end|>")]
    assert criticize(act(RIGHT, "Done.", env="", success=False)) == []


def test_an_infrastructure_fault_is_the_only_finding() -> None:
    trajectory = act(one("find_order", {}), "", stop_reason=StopReason.INFRASTRUCTURE_FAULT, success=False, env="x")
    assert [(code, index) for code, index, _, _ in seen(trajectory)] == [("infrastructure_fault", 2 + 1)]


def test_a_trajectory_without_turns() -> None:
    trajectory = Trajectory(
        id="t", env="x", task={}, policy="", tools=[], messages=[], stop_reason=StopReason.INFRASTRUCTURE_FAULT
    )
    assert seen(trajectory) == [("infrastructure_fault", 0, None, "")]


def test_findings_as_json() -> None:
    for finding in criticize(act(one("cancel", {"order_id": 5, "x": "\ud800"}), "", env="x", success=False)):
        assert Finding.from_json(json.loads(json.dumps(finding.to_json()))) == finding


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"tools": ["x"], "messages": []}, "expected tools to be a list of objects"),
        ({"tools": [{"type": "function"}], "messages": []}, "expected an OpenAI tool schema"),
        ({"tools": [], "messages": [{"role": "assistant", "tool_calls": ["x"]}]}, "expected tool_calls to be a list"),
        ({"tools": [], "messages": [{"role": "assistant", "tool_calls": [{}]}]}, "expected a tool call"),
    ],
)
def test_what_is_not_in_openai_form(record: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        criticize(Trajectory.from_json({"id": "t", **record}))


def test_every_code_that_rules_can_see_has_one_rule() -> None:
    judged = "wrong_tool wrong_value missing_call unneeded_call premature_stop misread_result policy_violation"
    assert {*RULES, *map(ErrorCode, judged.split())} == set(ErrorCode)
    with pytest.raises(ValueError, match="has a rule already"):
        rule(ErrorCode.WRONG_TYPE)(RULES[ErrorCode.WRONG_TYPE])


NAMES = st.sampled_from(["", "get_order", "cancel", "find_order", "wait", "buy"])
TEXTS = st.text(max_size=30) | st.sampled_from(['{"order_id": 7}', '{"order_id": ', "{}", "</tool_call>", "[" * 2000])


@settings(deadline=None)
@given(st.lists(st.lists(st.tuples(NAMES, TEXTS), max_size=3), max_size=4), st.booleans(), st.text(max_size=80))
def test_whatever_comes_every_span_is_inside_its_text(steps: list[list[Call]], raw: bool, other: str) -> None:
    trajectory = act(*[(calls, [REFUSED] * len(calls)) for calls in steps], other, raw=raw)
    findings = criticize(trajectory)
    assert findings == criticize(trajectory)
    for finding in findings:
        start, end = finding.span
        assert 0 <= start <= end <= len(text_of(trajectory, finding))


def test_the_rule_that_the_readme_shows() -> None:
    text = (Path(__file__).parents[1] / "critics" / "README.md").read_text(encoding="utf-8")
    blocks = [part.partition("```")[0] for part in text.split("```python\n")[1:]]
    (code,) = [block for block in blocks if "@rule(" in block]
    try:
        exec(compile(code, "critics/README.md", "exec"), {})
        assert seen(act("Done.", raw=False)) == [("premature_stop", 1, None, "Done.")]
        assert seen(act(RIGHT, "Done.")) == []
    finally:
        RULES.pop(ErrorCode.PREMATURE_STOP, None)
