"""Counts, intervals and drops, against numbers that can be worked out by hand or read in a table."""

from dataclasses import replace
from math import exp, inf, log, sqrt
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from critics import CERTAIN, WARNING, Finding, Rate, by_task, difference, drop, measure
from critics.finding import Confidence
from envs import Message, StopReason, Trajectory
from tools import ErrorCode


def test_wilson_in_closed_form() -> None:
    # p = 1/2, n = 10: the center stays 1/2 and the half width is z/2 / sqrt(n + z^2).
    rate = Rate.share(5, 10)
    half = 1.959963984540054 / 2 / sqrt(10 + 1.959963984540054**2)
    assert (rate.rate, rate.low, rate.high) == pytest.approx((0.5, 0.5 - half, 0.5 + half))
    # p = 0: the upper end is z^2 / (n + z^2).
    none = Rate.share(0, 10)
    assert none.low == 0.0
    assert none.high == pytest.approx(1.959963984540054**2 / (10 + 1.959963984540054**2))


def test_wilson_against_the_published_example() -> None:
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3: 81 of 263 and 15 of 148.
    rate, small = Rate.share(81, 263), Rate.share(15, 148)
    assert (round(rate.low, 4), round(rate.high, 4)) == (0.2553, 0.3662)
    assert (round(small.low, 4), round(small.high, 4)) == (0.0624, 0.1605)


@given(st.integers(0, 500), st.integers(0, 500), st.sampled_from([1.0, 100.0]))
def test_an_interval_holds_its_rate(count: int, more: int, per: float) -> None:
    for rate in (Rate.share(count, count + more, per=per), Rate.events(count, more, per=per)):
        assert 0 <= rate.low <= rate.rate <= rate.high
    share = Rate.share(count, count + more, per=per)
    assert share.high <= per
    mirrored = Rate.share(more, count + more, per=per)
    assert share.low + mirrored.high == pytest.approx(per)


def test_a_share_of_nothing_says_nothing() -> None:
    rate = Rate.share(0, 0, per=100)
    assert (rate.rate, rate.low, rate.high) == (0.0, 0.0, 100)


def test_a_share_is_no_more_than_all() -> None:
    with pytest.raises(ValueError, match="from 0 to 3, came 4"):
        Rate.share(4, 3)


def test_byar_is_close_to_the_exact_poisson_interval() -> None:
    # Exact (Garwood 1936): 10 events 4.795 to 18.390; 0 events up to 3.689.
    ten, none = Rate.events(10, 1), Rate.events(0, 1)
    assert (ten.low, ten.high) == pytest.approx((4.795, 18.390), abs=0.02)
    assert (none.low, none.high) == pytest.approx((0.0, 3.689), abs=0.05)


def test_drop_in_closed_form() -> None:
    result = drop(Rate.share(40, 100), Rate.share(10, 200, per=100))
    half = 1.959963984540054 * sqrt(1 / 40 - 1 / 100 + 1 / 10 - 1 / 200)
    assert result.ratio == pytest.approx(8.0)
    assert (result.low, result.high) == pytest.approx((8 * exp(-half), 8 * exp(half)))


def test_a_drop_to_nothing_is_finite() -> None:
    result = drop(Rate.share(10, 100), Rate.share(0, 100))
    half = 1.959963984540054 * sqrt(1 / 10.5 - 1 / 100.5 + 1 / 0.5 - 1 / 100.5)
    assert result.ratio == pytest.approx(21.0)
    assert (result.low, result.high) == pytest.approx((exp(log(21) - half), exp(log(21) + half)))


def test_a_drop_between_equal_extremes_is_none() -> None:
    for count in (0, 50):
        result = drop(Rate.share(count, 50), Rate.share(count, 50))
        assert result.ratio == pytest.approx(1.0)
        assert result.low < 1 < result.high


def test_a_drop_without_calls_says_nothing() -> None:
    result = drop(Rate.share(3, 10), Rate.share(0, 0))
    assert (result.ratio, result.low, result.high) == (1.0, 0.0, inf)
    assert result.to_json() == {"ratio": 1.0, "low": 0.0, "high": None}


CALL = {"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}


def a_trajectory(*calls_per_turn: int, success: bool = True, env: str = "store-v0") -> Trajectory:
    turns: list[Message] = [{"role": "assistant", "content": "x", "tool_calls": [CALL] * n} for n in calls_per_turn]
    messages = [{"role": "user", "content": "go"}, *turns]
    return Trajectory(id="t", env=env, task={}, policy="p", tools=[], messages=messages, success=success)


def a_finding(
    code: ErrorCode, message_index: int = 1, call_index: int | None = 0, confidence: Confidence = CERTAIN
) -> Finding:
    return Finding(
        code=code,
        message_index=message_index,
        call_index=call_index,
        span=(0, 1),
        explanation="",
        hint="",
        confidence=confidence,
    )


def test_measure_counts_calls_not_findings() -> None:
    findings = [
        a_finding(ErrorCode.WRONG_TYPE),
        a_finding(ErrorCode.WRONG_TYPE),
        a_finding(ErrorCode.MISSING_ARGUMENT),
        a_finding(ErrorCode.INVALID_VALUE, 2, 1),
        a_finding(ErrorCode.REPEATED_CALL, 2, 0),
        a_finding(ErrorCode.UNGROUNDED_VALUE, 2, 0, WARNING),
    ]
    measured = measure([(a_trajectory(1, 2), findings), (a_trajectory(1, 0, success=False), [])])
    assert (measured.tasks, measured.calls, measured.invalid_calls, measured.faults) == (2, 4, 2, 0)
    assert measured.invalid_per_100 == Rate.share(2, 4, per=100)
    assert {code: rate.count for code, rate in measured.codes.items()} == {
        ErrorCode.MISSING_ARGUMENT: 1,
        ErrorCode.WRONG_TYPE: 1,
        ErrorCode.INVALID_VALUE: 1,
        ErrorCode.REPEATED_CALL: 1,
    }
    assert list(measured.warnings) == [ErrorCode.UNGROUNDED_VALUE]
    assert measured.success == Rate.share(1, 2)
    assert measured.valid_calls_per_task == 1.0


def test_faults_are_in_no_rate() -> None:
    fault = structs.replace(a_trajectory(3, success=False), stop_reason=StopReason.INFRASTRUCTURE_FAULT)
    plain = (a_trajectory(1, 0), [a_finding(ErrorCode.WRONG_TYPE)])
    findings = [a_finding(ErrorCode.INFRASTRUCTURE_FAULT, 1, None), a_finding(ErrorCode.WRONG_TYPE)]
    measured = measure([plain, (fault, findings)])
    assert measured.faults == 1
    assert replace(measured, faults=0) == measure([plain])


def test_a_turn_that_cannot_be_parsed_is_one_call() -> None:
    measured = measure([(a_trajectory(1, 0), [a_finding(ErrorCode.MALFORMED_CALL, 2, None)])])
    assert measured.calls == 2
    assert measured.invalid_per_100 == measured.codes[ErrorCode.MALFORMED_CALL] == Rate.share(1, 2, per=100)


def test_there_may_be_more_bad_turns_than_calls() -> None:
    findings = [a_finding(ErrorCode.PROTOCOL_VIOLATION, index, None) for index in (1, 2, 3)]
    measured = measure([(a_trajectory(0, 0, 0, 1), findings)])
    assert measured.codes[ErrorCode.PROTOCOL_VIOLATION] == Rate.events(3, 1, per=100)
    assert measured.invalid_per_100.count == 0


def test_success_is_known_of_known_worlds_only() -> None:
    measured = measure([(a_trajectory(1, env=""), []), (a_trajectory(1), [])])
    assert measured.success == Rate.share(1, 1)


def test_nothing_measured() -> None:
    record = measure([]).to_json()
    interval = {"rate": 0.0, "low": 0.0, "high": 100}
    assert record == {
        "tasks": 0,
        "calls": 0,
        "invalid_per_100": interval,
        "codes": {},
        "warnings": {},
        "success": {"rate": 0.0, "low": 0.0, "high": 1.0},
        "valid_calls_per_task": 0.0,
        "faults": 0,
    }


def test_a_paired_difference_in_closed_form() -> None:
    # Of equal totals it is the mean of the tasks' differences, -1, 0, -2 and -1 of 2 calls: its deviation is sqrt(2/3).
    before = {"a": (2, 2), "b": (1, 2), "c": (2, 2), "d": (1, 2)}
    after = {"a": (1, 2), "b": (1, 2), "c": (0, 2), "d": (0, 2), "e": (2, 2)}
    paired = difference(before, after, per=100)
    half = 1.959963984540054 * sqrt(2 / 3) / 2 / sqrt(4) * 100
    assert (paired.difference, paired.low, paired.high) == pytest.approx((-50.0, -50.0 - half, -50.0 + half))


def test_a_paired_difference_holds_the_truth_as_often_as_it_says() -> None:
    # Tasks differ in calls and in how hard they are; the rate of errors falls from 0.3 to 0.1 on average.
    rng = Random(0)
    held = 0
    for _ in range(400):
        before, after = {}, {}
        for task in range(60):
            hard, calls = rng.uniform(0.5, 1.5), (rng.randint(2, 5), rng.randint(2, 5))
            rates = 0.3 * hard, 0.1 * hard
            for part, rate, of in zip((before, after), rates, calls, strict=True):
                part[str(task)] = sum(rng.random() < rate for _ in range(of)), of
        paired = difference(before, after)
        held += paired.low <= -0.2 <= paired.high
    assert 0.92 < held / 400 < 0.98


def test_a_difference_of_nothing_says_nothing() -> None:
    for tasks in ({}, {"a": (1, 2)}, {"a": (0, 0), "b": (0, 0)}):
        paired = difference(tasks, tasks, per=100)
        assert (paired.difference, paired.low, paired.high) == (0.0, -100, 100)


def test_figures_by_task_add_up_to_those_of_all() -> None:
    both = [
        (structs.replace(a_trajectory(1, 2), id="a"), [a_finding(ErrorCode.WRONG_TYPE)]),
        (structs.replace(a_trajectory(2), id="b"), []),
        (structs.replace(a_trajectory(1), id="c", stop_reason=StopReason.INFRASTRUCTURE_FAULT), []),
    ]
    alone, whole = by_task(both), measure(both)
    assert sorted(alone) == ["a", "b"]
    assert sum(measured.calls for measured in alone.values()) == whole.calls
    assert [alone[task].invalid for task in "ab"] == [(1, 3), (0, 2)]
    assert [alone[task].of(ErrorCode.WRONG_TYPE) for task in "ab"] == [(1, 3), (0, 2)]
    assert [alone[task].solved for task in "ab"] == [(1, 1), (1, 1)]
