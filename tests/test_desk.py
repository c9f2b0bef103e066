"""store-v1: house rules that pay, customers who come back, a state that is compared by what changed."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

import envs
from envs import Message, StopReason
from envs.desk import DeskEnv
from envs.desk.tasks import HELD_OUT, WISHES, catalogue, make_task
from envs.desk.tools import NAMES
from envs.tasks import Step
from tools import InfrastructureFault, ToolCall


@pytest.fixture
def env() -> Iterator[DeskEnv]:
    env = envs.make("store-v1", split="test")
    assert isinstance(env, DeskEnv)
    yield env
    env.close()


def seed_of(wish: str, split: str = "test") -> int:
    """A task that is about one wish only."""
    return next(seed for seed in range(2_000) if make_task(split, seed).kind == wish)


def saying(name: str, arguments: Any) -> Message:
    call = ToolCall(id="c", name=name, arguments=json.dumps(arguments))
    return {"role": "assistant", "content": "", "tool_calls": [call.to_openai()]}


def act(env: DeskEnv, step: Step, **changed: Any) -> tuple[str, list[str]]:
    """Carry a step of the script out, with other arguments where they are given; content and codes of the answer."""
    [result], *_, info = env.step(saying(step.tool, {**step.arguments, **changed}))
    return result["content"], [violation["code"] for violation in info["violations"][0]]


def finish(env: DeskEnv) -> float:
    """The reward for answering whatever is still asked."""
    reward, ended = 0.0, False
    while not ended:
        _, reward, terminated, truncated, _ = env.step("That is all.")
        ended = terminated or truncated
    return reward


@pytest.mark.parametrize("wish", WISHES)
def test_every_kind_of_wish_is_served_and_needs_to_be(env: DeskEnv, wish: str) -> None:
    split = "held_out" if wish in HELD_OUT else "test"
    env = envs.make("store-v1", split=split)  # type: ignore[assignment]
    env.reset(seed=seed_of(wish, split))
    for exchange in env.script.exchanges:
        for step in exchange.plan:
            assert act(env, step)[1] == []
        answer = env.step(exchange.answer)
    assert answer[1:4] == (1.0, True, False)
    env.reset(seed=seed_of(wish, split))
    assert finish(env) == 0.0
    env.close()


def test_the_customer_comes_back_with_more_and_the_end_is_after_that(env: DeskEnv) -> None:
    env.reset(seed=seed_of("send_back_more"))
    first, second = env.script.exchanges
    for step in first.plan:
        act(env, step)
    (message,), reward, terminated, truncated, info = env.step("It is noted.")
    assert message == {"role": "user", "content": second.request}
    assert (reward, terminated, truncated, info["stop_reason"]) == (0.0, False, False, None)
    for step in second.plan:
        act(env, step)
    observation, reward, terminated, _, info = env.step("That too.")
    assert (observation, reward, terminated, info["stop_reason"]) == ((), 1.0, True, StopReason.ANSWERED)


def test_who_gives_in_where_the_rules_forbid_it_gets_nothing(env: DeskEnv) -> None:
    env.reset(seed=seed_of("send_back_too_late"))
    look, refuse = env.script.exchanges[0].plan[-2:]
    order = json.loads(act(env, look)[0])
    shown = {face.name: tool for faces in env.faces.values() for face, tool in faces}
    face = next((name for name in NAMES["return_items"] if name in env.toolset.offered), None)
    act(env, refuse)
    if face is not None:
        line = order["items"][0]
        reason = shown[face].parameters["properties"]["reason"]["enum"][0]
        items = [{"sku": line["sku"], "quantity": 1}]
        arguments = {"order_id": order["order_id"], "items": items, "reason": reason, "refund_to": order["payment_id"]}
        [result], *_ = env.step(saying(face, arguments))
        assert "refunded" in result["content"]
        assert finish(env) == 0.0
    else:
        assert finish(env) == 1.0


def test_a_right_call_with_another_value_gets_nothing(env: DeskEnv) -> None:
    env.reset(seed=seed_of("keep_damaged"))
    *looks, pay = env.script.exchanges[0].plan
    for step in looks:
        act(env, step)
    assert act(env, pay, amount=pay.arguments["amount"] + 1)[1] == []
    assert finish(env) == 0.0


def test_what_no_desk_can_do_is_a_domain_rejection_and_changes_nothing(env: DeskEnv) -> None:
    env.reset(seed=seed_of("send_back"))
    *looks, give_back = env.script.exchanges[0].plan
    before = env.state()
    for changed in (
        {"order_id": "O1"},
        {"refund_to": "card_0"},
        {"items": [{"sku": "nothing", "quantity": 1}]},
        {"items": [{**give_back.arguments["items"][0], "quantity": 99}]},
        {"items": give_back.arguments["items"] * 2},
    ):
        env.errors = 0
        assert act(env, give_back, **changed)[1] == ["domain_rejection"]
    assert env.state() == before
    env.errors = 0
    nested = [{"sku": "x", "quantity": 0, "colour": "red"}]
    _, codes = act(env, give_back, items=nested)
    assert sorted(codes) == ["invalid_value", "unexpected_argument"]
    for step in (*looks, give_back):
        assert act(env, step)[1] == []
    assert finish(env) == 1.0


def test_what_was_done_and_undone_is_no_change(env: DeskEnv) -> None:
    env.reset(seed=seed_of("move"))
    look, move = env.script.exchanges[0].plan[-2:]
    was = json.loads(act(env, look)[0])["address"]
    act(env, move)
    assert env.shop.changes() == env.goal != []
    act(env, move, address=was)
    assert env.shop.changes() == []


def test_splits_share_no_ids() -> None:
    skus = [set(catalogue(split).by_sku) for split in ("train", "test", "held_out")]
    assert not skus[0] & skus[1] | skus[1] & skus[2] | skus[0] & skus[2]


def test_kinds_of_wishes_and_names_are_drawn_evenly_enough() -> None:
    tasks = [make_task("train", seed) for seed in range(600)]
    kinds = Counter(kind for task in tasks for kind in task.kind.split("+"))
    assert set(kinds) == set(WISHES) - set(HELD_OUT)
    assert min(kinds.values()) > 20
    assert Counter(task.faces["get_order"] for task in tasks).keys() == {0, 1, 2}
    assert {len(task.exchanges) for task in tasks} >= {1, 2, 3}


def test_a_fault_of_the_infrastructure_cuts_the_episode_and_is_nobodys_mistake(
    env: DeskEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise InfrastructureFault("the disk is gone")

    env.reset(seed=0)
    name = env.script.exchanges[0].plan[0].tool
    env.toolset.offered[name] = replace(env.toolset.offered[name], function=fails)
    observation, reward, terminated, truncated, info = env.step(env.expert_action())
    assert (reward, terminated, truncated, env.errors) == (0.0, False, True, 0)
    assert info["stop_reason"] is StopReason.INFRASTRUCTURE_FAULT
    assert [violation["code"] for violation in info["violations"][0]] == ["infrastructure_fault"]
    assert "the disk is gone" in observation[0]["content"]
    env.reset(seed=seed_of("new_email"))
    monkeypatch.setattr(env, "is_solved", fails)
    observation, _, terminated, truncated, info = env.step("It is done.")
    assert (observation, terminated, truncated) == ((), False, True)
    assert info["stop_reason"] is StopReason.INFRASTRUCTURE_FAULT
