"""A finding becomes tokens exactly, or it is refused with a reason."""

from dataclasses import replace
from random import Random
from typing import Any

import pytest
from msgspec import structs
from transformers import AutoTokenizer

from critics import criticize
from critics.finding import Finding
from distill.correction import (
    Correction,
    Unbindable,
    bind,
    by_trunk,
    by_turn,
    error_places,
    hinted_prompt,
    token_ends,
    trunk_of,
)
from envs import Trajectory
from envs.context import ContextWriter
from envs.policies.hf import TINY
from envs.policies.scripted import HabitualPolicy
from envs.rollout import rollout
from envs.trajectory import Turn, calls_of

HINT = "Reminder: the available tools are: get_order."


@pytest.fixture(scope="module")
def writer() -> ContextWriter:
    return ContextWriter(AutoTokenizer.from_pretrained(TINY), model_type="qwen3")


@pytest.fixture(scope="module")
def trajectories(writer: ContextWriter) -> list[Trajectory]:
    """Episodes with mistakes, with the tokens that a model would have sampled for them."""
    return [with_tokens(trajectory, writer) for trajectory in rollout(HabitualPolicy(0.5), "store-v0", range(40))]


def with_tokens(trajectory: Trajectory, writer: ContextWriter) -> Trajectory:
    turns: list[Turn] = []
    ids: list[int] = []
    heard: list[dict[str, Any]] = []
    for index, message in enumerate(trajectory.messages):
        if message["role"] != "assistant":
            heard.append(message)
            continue
        prompt = writer.extension(ids, turns[-1].token_ids, heard) if turns else writer.first(heard, trajectory.tools)
        text = "".join(_call_text(call["function"]) for call in calls_of(message)) or message["content"]
        token_ids = writer.tokenizer.encode(f"{text}<|im_end|>", add_special_tokens=False)
        ids = [*ids, *(turns[-1].token_ids if turns else []), *prompt]
        logprobs = [-0.5] * len(token_ids)
        raw = writer.decode(token_ids)
        turns.append(Turn(message_index=index, prompt_ids=prompt, token_ids=token_ids, logprobs=logprobs, raw=raw))
        heard = []
    return structs.replace(trajectory, turns=tuple(turns), token_exact=True)


def _call_text(function: dict[str, str]) -> str:
    return f'<tool_call>\n{{"name": "{function["name"]}", "arguments": {function["arguments"]}}}\n</tool_call>'


def bound(trajectories: list[Trajectory], writer: ContextWriter) -> list[tuple[Trajectory, list[Finding], Correction]]:
    return [
        (trajectory, findings, bind(trajectory, findings, HINT, writer, longest=4_096))
        for trajectory in trajectories
        for findings in by_turn(criticize(trajectory))
    ]


def test_the_student_never_sees_the_hint_and_the_teacher_sees_it_right_above_the_turn(
    trajectories: list[Trajectory], writer: ContextWriter
) -> None:
    corrections = bound(trajectories, writer)
    assert len(corrections) > 50
    for trajectory, findings, correction in corrections:
        number = trajectory.turn_at(findings[0].message_index)
        assert number is not None
        turn = trajectory.turns[number]
        assert HINT not in writer.decode(correction.plain_ids)
        before, after = writer.decode(correction.hinted_ids).split(HINT)
        assert before.endswith("<|im_start|>system\n")
        assert after == f"<|im_end|>\n<|im_start|>assistant\n{turn.raw}"
        assert list(correction.plain_ids) == [*trajectory.prompt_ids(number), *turn.token_ids]
        start, end = correction.target
        assert list(correction.plain_ids[start:end]) == list(turn.token_ids)
        assert all(start <= position < end for position in correction.error_tokens)


def test_error_tokens_are_the_same_tokens_in_both_contexts(
    trajectories: list[Trajectory], writer: ContextWriter
) -> None:
    for _, _, correction in bound(trajectories, writer):
        plain = [correction.plain_ids[position] for position in correction.error_tokens]
        hinted = [correction.hinted_ids[position + correction.shift] for position in correction.error_tokens]
        assert plain == hinted


def test_a_nonexistent_tools_error_tokens_spell_its_name(trajectories: list[Trajectory], writer: ContextWriter) -> None:
    seen = 0
    for trajectory, findings, correction in bound(trajectories, writer):
        if correction.codes == ("nonexistent_tool",):
            call = calls_of(trajectory.messages[findings[0].message_index])[0]
            said = writer.decode([correction.plain_ids[position] for position in correction.error_tokens])
            assert said == call["function"]["name"]
            seen += 1
    assert seen > 10


def test_several_errors_of_a_turn_make_one_correction_and_each_keeps_its_span(
    trajectories: list[Trajectory], writer: ContextWriter
) -> None:
    several = 0
    for trajectory, findings, correction in bound(trajectories, writer):
        number = trajectory.turn_at(findings[0].message_index)
        assert number is not None
        raw = trajectory.turns[number].raw
        assert [(finding.code, finding.span) for finding in correction.findings] == [(f.code, f.span) for f in findings]
        for finding in correction.findings:
            said = writer.decode([correction.plain_ids[position] for position in finding.tokens])
            assert raw[slice(*finding.span)] in said
        assert set(correction.error_tokens) == {token for finding in correction.findings for token in finding.tokens}
        several += len(findings) > 1
    assert several > 3


def test_a_scope_is_the_error_or_what_comes_from_there_or_the_whole_turn(
    trajectories: list[Trajectory], writer: ContextWriter
) -> None:
    for _, _, correction in bound(trajectories, writer):
        start, end = correction.target
        assert list(correction.asked("error")) == list(correction.error_tokens)
        assert list(correction.asked("from-error")) == list(range(correction.error_tokens[0], end))
        assert list(correction.asked("turn")) == list(range(start, end))


def test_a_trajectorys_corrections_share_a_trunk_and_ask_both_sides_for_the_same_tokens(
    trajectories: list[Trajectory], writer: ContextWriter
) -> None:
    corrections = [correction for _, _, correction in bound(trajectories, writer)]
    groups = by_trunk(corrections)
    assert sum(map(len, groups)) == len(corrections)
    assert max(map(len, groups)) > 1
    for group in groups:
        trunk = trunk_of(group, "turn")
        assert len({correction.id for correction in group}) == 1
        assert len(trunk.branches) == len(group)
        plain = [trunk.ids[position] for position in trunk.asked]
        hinted = [branch.ids[position - branch.start] for branch in trunk.branches for position in branch.asked]
        assert plain == hinted
        for branch, correction in zip(trunk.branches, group, strict=True):
            assert [*trunk.ids[: branch.start], *branch.ids] == list(correction.hinted_ids)
            assert HINT in writer.decode(branch.ids)
        assert HINT not in writer.decode(trunk.ids)


def test_two_trajectories_of_one_id_are_no_trunk(trajectories: list[Trajectory], writer: ContextWriter) -> None:
    first, second = (correction for _, _, correction in bound(trajectories, writer)[:2])
    with pytest.raises(ValueError, match="not of one trajectory"):
        trunk_of([replace(second, plain_ids=[0, *second.plain_ids]), second], "error")
    assert first.id


def test_white_space_before_a_value_counts_with_it() -> None:
    raw = '"order_id": 417}'
    ends = [1, 9, 12, 13, 14, 15, 16]  # '"', 'order_id', '": ', '4', '1', '7', '}'
    assert error_places((12, 15), raw, ends) == [2, 3, 4, 5]


def test_token_ends_count_characters_of_several_tokens_once(writer: ContextWriter) -> None:
    text = "Zoë ☃ lamp"
    ids = writer.tokenizer.encode(text, add_special_tokens=False)
    ends = token_ends(ids, writer)
    assert ends[-1] == len(text)
    assert ends == sorted(ends)


def first_of(trajectories: list[Trajectory]) -> tuple[Trajectory, list[Finding]]:
    return next((trajectory, findings) for trajectory in trajectories for findings in by_turn(criticize(trajectory)))


def test_what_can_not_be_bound_is_refused_with_a_reason(trajectories: list[Trajectory], writer: ContextWriter) -> None:
    trajectory, findings = first_of(trajectories)
    number = trajectory.turn_at(findings[0].message_index)
    assert number is not None
    other_text = tuple(structs.replace(turn, raw=f"{turn.raw}!") for turn in trajectory.turns)
    outside = [structs.replace(finding, span=(10_000, 10_004)) for finding in findings]
    empty = [structs.replace(finding, span=(0, 0)) for finding in findings]
    fewer = tuple(structs.replace(turn, logprobs=turn.logprobs[1:]) for turn in trajectory.turns)
    nan = tuple(structs.replace(turn, logprobs=[float("nan")] * len(turn.logprobs)) for turn in trajectory.turns)
    seen = trajectory.messages[0]["content"]
    with pytest.raises(Unbindable, match="no token ids"):
        bind(structs.replace(trajectory, turns=()), findings, HINT, writer, longest=4_096)
    with pytest.raises(Unbindable, match="do not decode"):
        bind(structs.replace(trajectory, turns=other_text), findings, HINT, writer, longest=4_096)
    with pytest.raises(Unbindable, match="lies outside its turn"):
        bind(trajectory, outside, HINT, writer, longest=4_096)
    with pytest.raises(Unbindable, match="no token of the turn"):
        bind(trajectory, empty, HINT, writer, longest=4_096)
    with pytest.raises(Unbindable, match="one log-prob for each"):
        bind(structs.replace(trajectory, turns=fewer), findings, HINT, writer, longest=4_096)
    with pytest.raises(Unbindable, match="no finite number"):
        bind(structs.replace(trajectory, turns=nan), findings, HINT, writer, longest=4_096)
    with pytest.raises(Unbindable, match="has no hint"):
        bind(trajectory, findings, "", writer, longest=4_096)
    with pytest.raises(Unbindable, match="stands in the student's context"):
        bind(trajectory, findings, seen, writer, longest=4_096)
    with pytest.raises(Unbindable, match="longer than the model"):
        bind(trajectory, findings, HINT, writer, longest=100)


def test_a_hint_that_the_chat_form_refuses_drops_the_correction(
    trajectories: list[Trajectory], writer: ContextWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ValueError("a system message may come first only")

    trajectory, findings = first_of(trajectories)
    for method in ("render_ids", "bridge_to_next_turn"):
        monkeypatch.setattr(writer.renderer, method, refuse)
    with pytest.raises(Unbindable, match="chat form refuses the hint"):
        bind(trajectory, findings, HINT, writer, longest=4_096)


def test_a_hint_above_the_first_turn_comes_after_the_request(
    trajectories: list[Trajectory], writer: ContextWriter
) -> None:
    trajectory = Random(0).choice(trajectories)
    text = writer.decode(hinted_prompt(trajectory, 0, HINT, writer))
    request = trajectory.messages[1]["content"]
    tail = f"{request}<|im_end|>\n<|im_start|>system\n{HINT}<|im_end|>\n<|im_start|>assistant\n"
    assert text.endswith(tail)
