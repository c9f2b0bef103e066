"""A shift at the desk: what a task holds, and what the model that learnt it does there."""

import json

import pytest

from critics import criticize, measure
from envs import Trajectory, make
from envs.policies import ExpertPolicy, load_policy
from envs.rollout import rollout
from envs.store.shift import LEAST_CALLS, MOST_CALLS, OFFERED, SLACK, make_shift
from envs.store.tools import HELD_OUT_TOOLS
from tools import ErrorCode

SPLITS = ("train", "test", "held_out", "pretrain")


@pytest.mark.parametrize("split", SPLITS)
def test_a_shift_has_several_people_who_share_nothing(split: str) -> None:
    for seed in range(20):
        shift = make_shift(split, seed)
        assert shift == make_shift(split, seed)
        assert len(shift.cases) >= 2
        assert LEAST_CALLS <= len(shift.plan) <= MOST_CALLS
        assert len(shift.desk.functions) >= OFFERED
        customers = [customer.name for customer in shift.start.customers]
        orders = [order.id for order in shift.start.orders]
        assert len(set(customers)) == len(customers) == 4 * len(shift.cases)
        assert len(set(orders)) == len(orders) == 7 * len(shift.cases)
        if split in ("train", "test"):
            assert not HELD_OUT_TOOLS & set(shift.desk.functions)


def test_there_is_hardly_a_turn_to_lose() -> None:
    env = make("shift-v1", split="test")
    nonsense = {"role": "assistant", "content": "", "tool_calls": [call("no_such_tool")]}

    def solved(errors: int) -> bool:
        env.reset(seed=3)
        for _ in range(errors):
            assert not env.step(nonsense)[3]
        while True:
            _, reward, terminated, truncated, _ = env.step(env.expert_action())
            if terminated or truncated:
                return reward == 1.0

    assert [solved(errors) for errors in range(SLACK + 2)] == [True] * (SLACK + 1) + [False]
    env.close()


def call(name: str) -> dict[str, object]:
    return {"id": "c", "type": "function", "function": {"name": name, "arguments": "{}"}}


def test_each_person_speaks_when_the_one_before_was_answered() -> None:
    [trajectory] = rollout(ExpertPolicy(), "shift-v1", [5])
    asked = [message["content"] for message in trajectory.messages if message["role"] == "user"]
    assert asked == [case.request for case in make_shift("test", 5).cases]


def test_results_show_the_records_that_they_are_about() -> None:
    shown: set[str] = set()
    for trajectory in rollout(ExpertPolicy(), "shift-v1", range(5, 9)):
        start = make_shift("test", trajectory.task["seed"]).start
        customers = {one.id: one for one in start.customers}
        orders = {one.id: one for one in start.orders}
        results = [json.loads(message["content"]) for message in trajectory.messages if message["role"] == "tool"]
        for part in [*results, *(order for result in results for order in result.get("orders", ()))]:
            shown |= part.keys() & {"order", "ticket", "shipment", "customer", "stock"}
            if "customer" in part:
                assert part["customer"]["name"] == customers[part["customer"]["customer_id"]].name
            if order := orders.get(part.get("order_id")):
                assert (part["order"]["item"], part["order"]["quantity"]) == (order.item, order.quantity)
                assert part["customer"]["customer_id"] == order.customer_id
                assert part["stock"]["item"] == order.item
    assert shown == {"order", "ticket", "shipment", "customer", "stock"}


def test_the_model_that_learnt_it_goes_through_whole_shifts_by_habit() -> None:
    trajectories: list[Trajectory] = list(rollout(load_policy("tiny-shift"), "shift-v1", range(8)))
    found = measure((trajectory, criticize(trajectory)) for trajectory in trajectories)
    assert found.valid_calls_per_task > 5
    assert 20 < found.invalid_per_100.rate < 55
    assert found.codes[ErrorCode.NONEXISTENT_TOOL].rate > 10
    assert found.success.rate <= 0.25
    lengths = [sum(len(turn.prompt_ids) + len(turn.token_ids) for turn in one.turns) for one in trajectories]
    assert sum(lengths) > 1_900 * len(lengths)
