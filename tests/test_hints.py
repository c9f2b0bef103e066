"""Hints say facts, stand where they should, and give nothing away."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs
from transformers import AutoTokenizer

from critics import Finding, criticize, hint_for
from critics.gold import gold_values, leaked
from critics.hints import NEUTRAL_HINTS, HintStyle, hinted, judged_hint, repeat_hint
from critics.judge import JUDGE_CODES, HintWriter
from critics.judge.asker import asker_of
from critics.judge.hinting import LONGEST
from critics.judge.planting import planted
from distill.correction import bind, by_trunk, by_turn, trunk_of
from envs import Trajectory, make
from envs.context import ContextWriter
from envs.policies.hf import TINY
from envs.policies.mistakes import MISTAKES
from envs.policies.scripted import HabitualPolicy
from envs.policies.server import ServerOptions
from envs.rollout import rollout
from tests.chat_endpoint import endpoint
from tests.test_correction import with_tokens
from tools import ErrorCode, ToolCall, Violation

QUICK = ServerOptions(tries=2, backoff=0.001, longest_wait=0.01, timeout=30)
CALL = ToolCall(id="c", name="get_order", arguments='{"order_id":\n 7}')


def violation(
    code: ErrorCode, path: str = "$.x", expected: str = "integer", allowed: tuple[Any, ...] = ()
) -> Violation:
    return Violation(code=code, path=path, expected=expected, came=None, allowed=allowed)


@pytest.mark.parametrize(
    ("broken", "text"),
    [
        (violation(ErrorCode.NONEXISTENT_TOOL, allowed=("a", "b")), "Reminder: the available tools are: a, b."),
        (violation(ErrorCode.INVALID_VALUE, allowed=("a", 1)), "Reminder: x must be one of: a, 1."),
        (violation(ErrorCode.WRONG_TYPE), "Reminder: x must be of type: integer."),
        (violation(ErrorCode.UNEXPECTED_ARGUMENT, allowed=("a",)), "Reminder: tool takes only: a."),
        (violation(ErrorCode.MISSING_ARGUMENT, allowed=("a",)), "Reminder: tool requires: a."),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_the_tiny_model_learnt_stays_as_it_is_to_the_letter(broken: Violation, text: str) -> None:
    assert hint_for(broken, "tool") == text


def test_a_repeated_calls_hint_has_the_earlier_call_in_it() -> None:
    assert repeat_hint(ErrorCode.REPEATED_CALL, CALL) == (
        'Reminder: get_order({"order_id": 7}) was called before and nothing has changed since; its result stands.'
    )
    assert 'get_order({"order_id": 7}) was answered with an error' in repeat_hint(ErrorCode.UNCORRECTED_RETRY, CALL)
    huge = replace(CALL, arguments=json.dumps({"text": "x" * 1_000}))
    assert repeat_hint(ErrorCode.REPEATED_CALL, huge) == NEUTRAL_HINTS[ErrorCode.REPEATED_CALL]


def test_a_rule_gives_that_hint() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "look", "arguments": '{"at": "sky"}'}}
    turn = [{"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": "c", "content": "blue"}]
    tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
    record = {"id": "twice", "tools": tools, "messages": [{"role": "user", "content": "sky?"}, *turn, *turn]}
    record["tools"][0]["function"]["parameters"] = {"type": "object", "properties": {"at": {"type": "string"}}}
    [finding] = criticize(Trajectory.from_json(record))
    assert finding.code is ErrorCode.REPEATED_CALL
    assert 'look({"at": "sky"}) was called before' in finding.hint


def test_every_code_of_the_judges_has_a_hint() -> None:
    for code in JUDGE_CODES:
        text = judged_hint(code, argument="city", allowed=("a", "b"))
        assert text.startswith("Reminder: ")
        assert text.endswith(".")
        assert "{" not in text + judged_hint(code)


RESULT = {"role": "tool", "tool_call_id": "c", "content": "no such order"}


def test_a_hint_stands_in_a_message_of_its_own_or_at_the_end_of_the_last_result() -> None:
    heard = [{"role": "user", "content": "hello"}, RESULT]
    assert hinted(heard, "Look.")[2:] == [{"role": "system", "content": "Look."}]
    [note] = hinted(heard, "Look.", "system-note")[2:]
    assert note == {"role": "user", "content": "<system-note>Look.</system-note>"}
    suffixed = hinted(heard, "Look.", "tool-result")
    assert suffixed == [heard[0], {**RESULT, "content": "no such order\n\nLook."}]
    assert heard[1] is RESULT
    assert RESULT["content"] == "no such order"
    assert hinted(heard[:1], "Look.", "tool-result") == hinted(heard[:1], "Look.")


@pytest.fixture(scope="module")
def writer() -> ContextWriter:
    return ContextWriter(AutoTokenizer.from_pretrained(TINY), model_type="qwen3")


HINT = "Reminder: the available tools are: get_order."


@pytest.mark.parametrize("style", ["reminder", "system-note", "tool-result"])
def test_in_every_style_the_teacher_reads_the_hint_above_the_turn_and_the_student_never(
    style: HintStyle, writer: ContextWriter
) -> None:
    inside = 0
    for plain in rollout(HabitualPolicy(0.5), "store-v0", range(8)):
        trajectory = with_tokens(plain, writer)
        corrections = [
            bind(trajectory, findings, HINT, writer, longest=4_096, style=style)
            for findings in by_turn(criticize(trajectory))
        ]
        for correction in corrections:
            number = trajectory.turn_at(correction.message_index)
            assert number is not None
            assert HINT not in writer.decode(correction.plain_ids)
            before, after = writer.decode(correction.hinted_ids).split(HINT)
            assert after.endswith(f"<|im_start|>assistant\n{trajectory.turns[number].raw}")
            result = trajectory.messages[correction.message_index - 1]["role"] == "tool"
            if style == "tool-result" and result:
                inside += 1
                assert before.endswith("\n\n")
                # The branch begins inside the result: the trunk's own keys and values go up to there.
                [group] = by_trunk([correction])
                [branch] = trunk_of(group, "turn").branches
                assert (
                    writer.decode(correction.plain_ids[: branch.start])
                    .rstrip()
                    .endswith(str(trajectory.messages[correction.message_index - 1]["content"]).rstrip()[-8:])
                )
            plain_turn = correction.plain_ids[correction.target[0] :]
            assert correction.hinted_ids[correction.target[0] + correction.shift :] == plain_turn
    assert bool(inside) == (style == "tool-result")


def a_trajectory() -> Trajectory:
    """A task of store-v1 whose first call has a wrong type."""
    return next(trajectory for trajectory, _ in planted("store-v1", ErrorCode.WRONG_TYPE, range(4)))


def test_a_value_that_only_the_right_path_knows_is_a_leak() -> None:
    trajectory = a_trajectory()
    gold = ("O11119", "41", "Oslo", "the big order")
    for hint, value in (
        ("Reminder: it is order O11119.", "O11119"),
        ("Reminder: it is order o11119", "O11119"),
        ("Reminder: quantity is 41.", "41"),
        ("Reminder: not 141, nor O111199.", None),
        ("Reminder: take the big order!", "the big order"),
        ("Reminder: read the request again.", None),
    ):
        assert leaked(hint, trajectory, 2, gold) == value, hint
    said = [{"role": "user", "content": "Order O11119, please: 41 for Oslo."}, *trajectory.messages]
    assert leaked("Reminder: it is order O11119.", structs.replace(trajectory, messages=said), 1, gold) is None


def test_what_the_right_path_is_comes_from_the_task_or_the_worlds_expert() -> None:
    trajectory = a_trajectory()
    env = make("store-v1", split="test")
    env.reset(seed=trajectory.task["seed"])
    arguments = json.loads(env.expert_action()["tool_calls"][0]["function"]["arguments"])
    env.close()
    assert set(map(str, arguments.values())) <= set(gold_values(trajectory))
    expected = [{"name": "fly", "arguments": {"to": "Oslo", "bags": [{"kg": 23}], "window": True}}]
    assert set(gold_values(structs.replace(trajectory, task={"expected": expected}))) == {"Oslo", "23"}
    for unknown in ("", "their-world-v3", "os.path:store-v1"):
        assert gold_values(structs.replace(trajectory, env=unknown)) == ()


def erroneous() -> Iterator[tuple[Trajectory, Finding]]:
    for world in ("store-v0", "store-v1"):
        for code in MISTAKES:
            for trajectory, _ in planted(world, code, range(4)):
                for finding in criticize(trajectory):
                    yield trajectory, finding


def test_no_template_gives_the_right_path_away() -> None:
    seen = 0
    for trajectory, finding in erroneous():
        seen += 1
        assert leaked(finding.hint, trajectory, finding.message_index) is None, finding
    assert seen > 50


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("Reminder: an e-mail is a text.", ""),
        ('<think>Hm.</think>\n\n"Reminder: an e-mail is a text."', ""),
        ("Reminder: {gold} is what you want.", "it says what only the right path knows"),
        ("Reminder: one.\nReminder: two.", "it is not one line"),
        ("", "it is not one line"),
        (f"Reminder: {'look ' * LONGEST}", "it is too long"),
        ((503, "busy"), "no answer"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_written_hint_is_used_only_if_it_is_short_and_gives_nothing_away(
    said: str | tuple[int, str], reason: str
) -> None:
    trajectory, finding, gold = next(
        (trajectory, finding, value)
        for trajectory, finding in erroneous()
        for value in gold_values(trajectory)
        if leaked(f"Reminder: {value}.", trajectory, finding.message_index)
    )
    findings, index = [finding], finding.message_index
    asked: list[Mapping[str, Any]] = []

    def plan(body: Mapping[str, Any]) -> str | tuple[int, str]:
        asked.append(body)
        return said.format(gold=gold) if isinstance(said, str) else said

    with endpoint(plan) as url:
        writer = HintWriter(asker_of(f"writer@{url}", QUICK))
        [(_, written)] = writer.read([(trajectory, findings)])
    assert writer.refused == ({reason: 1} if reason else {})
    assert [finding.hint for finding in written] == (
        [findings[0].hint] if reason else ["Reminder: an e-mail is a text."]
    )
    shown = asked[0]["messages"][1]["content"]
    assert findings[0].explanation in shown
    assert str(trajectory.messages[index + 1]["content"]) not in shown  # what came of the mistake tells too much
