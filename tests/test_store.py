"""store-v0: Gymnasium's contract, seeded tasks, what bad calls do, and how episodes end."""

import json
from collections import Counter
from collections.abc import Collection, Iterator
from typing import Any

import gymnasium
import pytest
from gymnasium.utils.env_checker import check_env

import envs
from envs import Message, StopReason
from envs.store import StoreEnv
from envs.store.tasks import CITIES, CUES, FAMILIES, HELD_OUT_FAMILIES, SPLITS, make_task
from envs.store.tools import HELD_OUT_TOOLS, NAMES, WORDS, Desk, Habit
from envs.store.world import Store
from tools import ToolCall
from tools.command import InputError

ALL_SPLITS = sorted(SPLITS)
HELD_OUT_NAMES = {name for function in HELD_OUT_TOOLS for name in NAMES[function]}


@pytest.fixture
def env() -> Iterator[StoreEnv]:
    env = StoreEnv(split="test")
    yield env
    env.close()


def snapshot(env: StoreEnv) -> tuple[Any, ...]:
    assert env.store is not None
    return env.store.snapshot()


def call(name: str, arguments: Any) -> Message:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return {"role": "assistant", "content": "", "tool_calls": [ToolCall(id="c", name=name, arguments=text).to_openai()]}


def codes(info: dict[str, Any]) -> list[str]:
    return [violation["code"] for violations in info["violations"] for violation in violations]


def episode(env: StoreEnv, seed: int, habits: Collection[str] = ()) -> list[Any]:
    """Everything that an episode shows, with the expert acting."""
    shown: list[Any] = [env.reset(seed=seed)]
    ended = False
    while not ended:
        action = env.expert_action(habits)
        answer = env.step(action)
        shown += [action, answer]
        ended = answer[2] or answer[3]
    return shown


# Gymnasium's contract


@pytest.mark.filterwarnings("ignore:.*out of date")  # store-v1 is another world, not a better store-v0
@pytest.mark.parametrize("split", ALL_SPLITS)
def test_gymnasiums_own_check_passes(split: str) -> None:
    env = gymnasium.make("hintsight/store-v0", split=split)
    check_env(env.unwrapped)
    env.close()


def test_the_short_id_and_the_full_one_make_the_same_world() -> None:
    for env_id in ("store-v0", "hintsight/store-v0"):
        env = envs.make(env_id, split="held_out", max_turns=3)
        assert isinstance(env, StoreEnv)
        assert (env.split, env.max_turns) == ("held_out", 3)


@pytest.mark.parametrize("split", ALL_SPLITS)
def test_the_same_seed_is_the_same_episode(split: str) -> None:
    for seed in range(10):
        assert episode(StoreEnv(split=split), seed) == episode(StoreEnv(split=split), seed)
    assert episode(StoreEnv(split=split), 1) != episode(StoreEnv(split=split), 2)


def test_reset_without_a_seed_goes_on_from_the_last_one(env: StoreEnv) -> None:
    def drawn() -> list[int]:
        env.reset(seed=5)
        return [env.reset()[1]["task"]["seed"] for _ in range(4)]

    assert drawn() == drawn()
    assert len(set(drawn())) == 4


def test_what_an_episode_shows_is_json(env: StoreEnv) -> None:
    for seed in range(20):
        shown = episode(env, seed, set(Habit))
        json.dumps(shown, allow_nan=False)
        assert all(env.observation_space.contains(answer[0]) for answer in shown[2::2])
        assert all(env.action_space.contains(action) for action in shown[1::2])


def test_instances_share_nothing(env: StoreEnv) -> None:
    alone = episode(env, 3)
    other = StoreEnv(split="test")
    other.reset(seed=3)
    env.reset(seed=3)
    for answer in alone[2::2]:
        _, info = other.reset(seed=3)
        for tool in info["tools"]:  # whoever spoils what was shown to them spoils it for themselves
            tool["function"]["parameters"].clear()
        other.step(other.expert_action())
        assert env.step(env.expert_action()) == answer
    other.close()


def test_reset_leaves_nothing_behind(env: StoreEnv) -> None:
    fresh = episode(StoreEnv(split="test"), 4)
    for left_after in range(4):
        env.reset(seed=9)
        for _ in range(left_after):
            env.step(env.expert_action({Habit.NAME, Habit.ENUM}))
        assert episode(env, 4) == fresh


def test_a_closed_world_can_be_opened_again(env: StoreEnv) -> None:
    first = episode(env, 1)
    env.close()
    env.close()
    assert episode(env, 1) == first


# Tasks


@pytest.mark.parametrize("split", ALL_SPLITS)
def test_the_expert_solves_every_task(split: str) -> None:
    env = StoreEnv(split=split)
    for seed in range(200):
        _, reward, terminated, truncated, info = episode(env, seed)[-1]
        assert (reward, terminated, truncated) == (1.0, True, False), seed
        assert (info["success"], info["stop_reason"]) == (True, StopReason.ANSWERED)
    env.close()


@pytest.mark.parametrize("split", ALL_SPLITS)
def test_a_plan_has_two_to_five_calls_and_changes_the_store(split: str) -> None:
    for seed in range(200):
        task = make_task(split, seed)
        start = Store(task.start)
        assert 2 <= len(task.plan) <= 5
        assert start.snapshot() != task.goal()
        start.close()


def test_answering_at_once_is_never_right(env: StoreEnv) -> None:
    for seed in range(100):
        env.reset(seed=seed)
        _, reward, terminated, _, info = env.step("Done.")
        assert (reward, terminated, info["success"]) == (0.0, True, False)


@pytest.mark.parametrize("split", ["train", "test"])
def test_what_is_held_out_is_never_offered(split: str) -> None:
    env = StoreEnv(split=split)
    for seed in range(300):
        _, info = env.reset(seed=seed)
        offered = {tool["function"]["name"] for tool in info["tools"]}
        assert info["task"]["family"] not in HELD_OUT_FAMILIES
        assert offered & HELD_OUT_NAMES == set()
        assert 4 <= len(offered) <= 6
    env.close()


@pytest.mark.parametrize("split", ALL_SPLITS)
def test_every_family_of_a_split_appears(split: str) -> None:
    seen = {make_task(split, seed).family for seed in range(300)}
    assert seen == set(SPLITS[split])
    assert set(FAMILIES) == set(SPLITS["train"]) | HELD_OUT_FAMILIES


def test_train_and_test_have_different_tasks() -> None:
    def requests(split: str) -> set[tuple[str, str]]:
        tasks = [make_task(split, seed) for seed in range(100)]
        return {(task.request, repr(task.start)) for task in tasks}

    assert requests("train") & requests("test") == set()


def test_there_are_opportunities_for_every_kind_of_mistake() -> None:
    counts: Counter[str] = Counter()
    for seed in range(500):
        counts.update(make_task("test", seed).opportunities())
    assert set(counts) == set(Habit)
    assert min(counts.values()) >= 300


@pytest.mark.parametrize("seed", range(30))
def test_the_record_of_a_task_says_what_it_holds(env: StoreEnv, seed: int) -> None:
    _, info = env.reset(seed=seed)
    record, task = info["task"], env.task
    assert (record["seed"], record["split"], record["plan_length"]) == (seed, "test", len(task.plan))
    assert record["opportunities"] == task.opportunities()
    offered = {tool["function"]["name"] for tool in info["tools"]}
    assert len(record["catalogue"]) + len(offered) == len(NAMES)
    assert offered.isdisjoint(record["catalogue"])


def test_cues_never_use_an_enums_own_words() -> None:
    for argument, values in CUES.items():
        said = {word for cues in values.values() for cue in cues for word in cue.split()}
        assert said.isdisjoint(word for words in WORDS[argument].values() for word in words)


# Bad calls


def wrong_calls(env: StoreEnv) -> Iterator[list[str]]:
    """Play the task with every habit alone at every step first; the codes of each call that went wrong."""
    while env.solved_steps < len(env.task.plan):
        for habit in Habit:
            before = snapshot(env)
            _, _, _, _, info = env.step(env.expert_action({habit}))
            if not codes(info):
                break
            assert snapshot(env) == before
            yield codes(info)
        else:
            env.step(env.expert_action())


def test_bad_calls_never_change_the_state() -> None:
    env = StoreEnv(split="test", max_turns=100, max_errors=100)
    seen: Counter[str] = Counter()
    for seed in range(100):
        env.reset(seed=seed)
        for wrong in wrong_calls(env):
            seen.update(wrong)
        _, reward, _, _, _ = env.step(env.expert_action())
        assert reward == 1.0
    assert set(seen) == {"nonexistent_tool", "invalid_value", "wrong_type", "missing_argument"}
    env.close()


def test_a_habit_is_a_mistake_exactly_where_it_applies() -> None:
    expected = {
        Habit.NAME: "nonexistent_tool",
        Habit.ENUM: "invalid_value",
        Habit.TYPE: "wrong_type",
        Habit.MISSING: "missing_argument",
    }
    env = StoreEnv(split="test", max_turns=100, max_errors=100)
    for seed in range(100):
        env.reset(seed=seed)
        while (step := env.next_step) is not None:
            applicable = env.task.desk.applicable(step)
            if applicable:
                _, _, _, _, info = env.step(env.expert_action({applicable[0]}))
                assert set(codes(info)) == {expected[applicable[0]]}
            env.step(env.expert_action())
    env.close()


def test_the_world_refuses_what_does_not_fit() -> None:
    env = StoreEnv(split="pretrain", max_turns=10_000, max_errors=10_000)
    refused = 0
    for seed in range(50):
        env.reset(seed=seed)
        for step in env.task.plan:
            name, arguments = env.task.desk.call(step)
            for argument in arguments.keys() & {"order_id", "customer_id", "shipment_id", "quantity", "amount"}:
                before = snapshot(env)
                wrong: Any = "99999" if isinstance(arguments[argument], str) else 99_999
                _, _, _, _, info = env.step(call(name, {**arguments, argument: wrong}))
                assert codes(info) == ["domain_rejection"]
                assert snapshot(env) == before
                refused += 1
    assert refused > 100
    env.close()


def test_a_withheld_tool_is_told_from_one_that_does_not_exist(env: StoreEnv) -> None:
    _, info = env.reset(seed=1)
    withheld = info["task"]["catalogue"][0]
    assert codes(env.step(call(withheld, {}))[4]) == ["unavailable_tool"]
    assert codes(env.step(call("make_coffee", {}))[4]) == ["nonexistent_tool"]


ALL_TOOLS = Desk(
    functions=tuple(NAMES),
    names={name: name for name in NAMES},
    words={argument: {value: value for value in values} for argument, values in WORDS.items()},
    string_ids=frozenset(),
    required={},
)
ODD_NUMBERS = (10**30, -(10**30), 2**63, -1, 0, 1e300)
ODD_STRINGS = ("\ud800", "\x00", "", "'; drop table stock; --", "x" * 100_000)
ODD_ARGUMENTS = [
    *[("list_orders", {"customer_id": number, "item": "lamp"}) for number in ODD_NUMBERS],
    *[("get_order", {"order_id": number}) for number in ODD_NUMBERS],
    *[("ship_order", {"order_id": number, "speed": "express"}) for number in ODD_NUMBERS],
    *[("refund_order", {"order_id": number, "amount": number, "method": "cash"}) for number in ODD_NUMBERS],
    *[("open_ticket", {"customer_id": number, "topic": "billing"}) for number in ODD_NUMBERS],
    *[("reroute_shipment", {"shipment_id": number, "city": "Porto"}) for number in ODD_NUMBERS],
    *[("get_customer", {"name": text}) for text in ODD_STRINGS],
    *[("check_stock", {"item": text}) for text in ODD_STRINGS],
    *[("reserve_stock", {"item": text, "quantity": 1, "priority": "low"}) for text in ODD_STRINGS],
]


@pytest.mark.parametrize(("name", "arguments"), ODD_ARGUMENTS)
def test_what_sqlite_cannot_hold_is_refused_not_a_crash(name: str, arguments: dict[str, Any]) -> None:
    store = Store(make_task("test", 1).start)
    before = store.snapshot()
    result = ALL_TOOLS.toolset(store).call(ToolCall(id="", name=name, arguments=json.dumps(arguments)))
    assert [violation.code for violation in result.violations] == ["domain_rejection"]
    assert store.snapshot() == before
    result.content.encode()
    store.close()


@pytest.mark.parametrize("city", ["\ud800", "", "Porto 1", "'"])
def test_an_odd_city_is_refused(city: str) -> None:
    task = next(task for seed in range(100) if (task := make_task("held_out", seed)).family == "reroute")
    store = Store(task.start)
    arguments = json.dumps({"shipment_id": task.start.shipments[0].id, "city": city})
    result = ALL_TOOLS.toolset(store).call(ToolCall(id="", name="reroute_shipment", arguments=arguments))
    assert [violation.code for violation in result.violations] == ["domain_rejection"]
    assert all(city.isalpha() for city in CITIES)
    store.close()


@pytest.mark.parametrize("quantity", [10**30, -1, 0])
def test_an_odd_quantity_of_a_real_item_is_refused(quantity: int) -> None:
    task = make_task("test", 1)
    store = Store(task.start)
    item, customer = task.start.stock[0][0], task.start.customers[0].id
    toolset = ALL_TOOLS.toolset(store)
    for name, more in (("reserve_stock", {"priority": "low"}), ("create_order", {"customer_id": customer})):
        arguments = json.dumps({"item": item, "quantity": quantity, **more})
        result = toolset.call(ToolCall(id="", name=name, arguments=arguments))
        assert [violation.code for violation in result.violations] == ["domain_rejection"]
    store.close()


# How an episode ends


def test_max_errors_ends_the_episode(env: StoreEnv) -> None:
    env.reset(seed=1)
    ends = [env.step(call("make_coffee", {})) for _ in range(3)]
    assert [end[2:4] for end in ends] == [(False, False), (False, False), (False, True)]
    assert [info["stop_reason"] for *_, info in ends] == [None, None, StopReason.ERROR_LIMIT]
    assert ends[-1][1] == 0.0


def test_several_calls_in_one_turn_count_their_errors_apart(env: StoreEnv) -> None:
    env.reset(seed=1)
    calls = [ToolCall(id=f"call_{place}", name="make_coffee", arguments="{}").to_openai() for place in range(3)]
    observation, _, _, truncated, info = env.step({"role": "assistant", "content": None, "tool_calls": calls})
    assert [message["tool_call_id"] for message in observation] == ["call_0", "call_1", "call_2"]
    assert (truncated, info["stop_reason"], len(info["violations"])) == (True, StopReason.ERROR_LIMIT, 3)


def test_max_turns_ends_the_episode() -> None:
    env = StoreEnv(split="test", max_turns=2)
    env.reset(seed=next(seed for seed in range(100) if len(make_task("test", seed).plan) > 2))
    env.step(env.expert_action())
    _, reward, terminated, truncated, info = env.step(env.expert_action())
    assert (reward, terminated, truncated, info["stop_reason"]) == (0.0, False, True, StopReason.TURN_LIMIT)
    env.close()


def test_an_answer_in_the_last_turn_counts() -> None:
    plan = len(make_task("test", 0).plan)
    env = StoreEnv(split="test", max_turns=plan + 1)
    assert episode(env, 0)[-1][1:4] == (1.0, True, False)
    env.close()


# What comes from outside


def test_a_split_that_is_none() -> None:
    with pytest.raises(InputError, match="no split 'tset': did you mean 'test'"):
        envs.make("store-v0", split="tset")


@pytest.mark.parametrize("seed", [-1, 2**31, 10**30, "1", 1.0])
def test_a_seed_that_is_none(env: StoreEnv, seed: Any) -> None:
    with pytest.raises(InputError, match="a seed is a whole number from 0 to 2147483647, came"):
        env.reset(seed=seed)


@pytest.mark.parametrize("options", [{"max_turns": 0}, {"max_errors": -1}])
def test_a_limit_that_is_none(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="at least 1"):
        StoreEnv(**options)


@pytest.mark.parametrize(
    ("env_id", "text"),
    [
        ("store-v2", "no environment 'store-v2': did you mean 'store-v"),
        ("hintsight/stor-v0", "did you mean 'store-v0'"),
        ("nothing", "store-v0"),
        ("CartPole-v1", "is no tool-calling environment"),
    ],
)
def test_an_environment_that_is_none(env_id: str, text: str) -> None:
    with pytest.raises(InputError, match=text):
        envs.make(env_id)


@pytest.mark.parametrize(
    "action",
    [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": 7},
        {"role": "assistant", "tool_calls": "get_order"},
        {"role": "assistant", "tool_calls": [{"name": "get_order"}]},
        None,
    ],
)
def test_an_action_that_is_none(env: StoreEnv, action: Any) -> None:
    env.reset(seed=1)
    with pytest.raises(InputError, match="expected an assistant message"):
        env.step(action)


def test_no_calls_may_be_written_as_null(env: StoreEnv) -> None:
    env.reset(seed=1)
    _, _, terminated, _, _ = env.step({"role": "assistant", "content": "Done.", "tool_calls": None})
    assert terminated
