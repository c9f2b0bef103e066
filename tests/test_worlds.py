"""What every world holds to: one contract, run on each world and split.

Same seed, same episode; a reset leaves nothing behind; two instances share nothing; bad calls never change the state;
the expert gets a reward of 1; a policy that guesses stays near 0.
"""

import json
from collections.abc import Iterator
from functools import partial
from random import Random
from typing import Any

import gymnasium
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv

import envs
from critics import criticize
from envs import Message, StopReason, ToolEnv
from envs.policies import ExpertPolicy, HabitualPolicy, RandomPolicy
from envs.policies.mistakes import MISTAKES, mistaken
from envs.rollout import rollout
from tools import INVALID_CALL_CODES, ErrorCode, ToolCall
from tools.command import InputError

WORLDS = sorted(name.removeprefix("hintsight/") for name in gymnasium.registry if name.startswith("hintsight/"))
SPLITS = [(world, split) for world in WORLDS for split in envs.make(world).splits if split != "pretrain"]
SEEDS = range(6)
AFTER_RESET, AFTER_STEP = {"task", "tools"}, {"violations", "success", "stop_reason"}

each_split = pytest.mark.parametrize(("world", "split"), SPLITS)
each_world = pytest.mark.parametrize("world", WORLDS)


@pytest.fixture
def env(world: str, split: str) -> Iterator[ToolEnv]:
    env = envs.make(world, split=split)
    yield env
    env.close()


def episode(env: ToolEnv, seed: int) -> list[Any]:
    """Everything that an episode shows, with the expert acting."""
    shown: list[Any] = [env.reset(seed=seed)]
    ended = False
    while not ended:
        action = env.expert_action()
        answer = env.step(action)
        shown += [action, answer]
        ended = answer[2] or answer[3]
    return shown


def saying(call: ToolCall) -> Message:
    return {"role": "assistant", "content": "", "tool_calls": [call.to_openai()]}


@pytest.mark.filterwarnings("ignore:.*out of date")  # store-v1 is another world, not a better store-v0
@each_split
def test_gymnasiums_own_check_passes(world: str, split: str) -> None:
    env = gymnasium.make(f"hintsight/{world}", split=split)
    check_env(env.unwrapped)
    env.close()


@each_split
def test_the_expert_gets_the_whole_reward_without_an_error(env: ToolEnv) -> None:
    for seed in SEEDS:
        *_, (_, reward, terminated, truncated, info) = episode(env, seed)
        assert (reward, terminated, truncated) == (1.0, True, False)
        assert info["success"]
        assert info["stop_reason"] is StopReason.ANSWERED
        assert env.errors == 0


@each_split
def test_critics_find_nothing_in_what_an_expert_does(world: str, split: str) -> None:
    for trajectory in rollout(ExpertPolicy(), world, SEEDS, split=split):
        assert [str(finding.code) for finding in criticize(trajectory)] == []


@each_split
def test_the_same_seed_is_the_same_episode(env: ToolEnv, world: str, split: str) -> None:
    other = envs.make(world, split=split)
    for seed in (0, 3):
        assert episode(env, seed) == episode(other, seed)
    assert episode(env, 1)[0] != episode(env, 2)[0]
    other.close()


@each_split
def test_a_reset_leaves_nothing_behind(env: ToolEnv, world: str, split: str) -> None:
    fresh = envs.make(world, split=split)
    expected = episode(fresh, 4)
    fresh.reset(seed=4)
    untouched = fresh.state()
    for left_after in (0, 1, 3):
        env.reset(seed=9)
        for _ in range(left_after):
            env.step(env.expert_action())
        env.reset(seed=4)
        assert env.state() == untouched
        assert episode(env, 4) == expected
    fresh.close()


@each_split
def test_two_instances_share_nothing(env: ToolEnv, world: str, split: str) -> None:
    alone = episode(env, 2)
    other = envs.make(world, split=split)
    env.reset(seed=2)
    for answer in alone[2::2]:
        _, info = other.reset(seed=2)
        for tool in info["tools"]:  # whoever spoils what was shown to them spoils it for themselves
            tool["function"]["parameters"].clear()
        other.step(other.expert_action())
        assert env.step(env.expert_action()) == answer
    other.close()


@each_split
def test_bad_calls_change_nothing_and_are_called_by_their_name(env: ToolEnv) -> None:
    rng = Random(0)
    made = set()
    for seed in SEEDS:
        env.reset(seed=seed)
        env.max_errors = 10**6
        for _ in range(2):
            before = env.state()
            action = env.expert_action()
            for call in map(ToolCall.from_openai, action.get("tool_calls") or []):
                for code in MISTAKES:
                    if wrong := mistaken(call, env.toolset, code, rng):
                        [result], reward, *_, info = env.step(saying(wrong))
                        assert code in {violation["code"] for violation in info["violations"][0]}
                        assert result["is_error"]
                        assert reward == 0
                        assert env.state() == before
                        made.add(code)
                        env.turns = 0
            env.step(action)
    assert made >= {ErrorCode.NONEXISTENT_TOOL, ErrorCode.MALFORMED_CALL, ErrorCode.UNEXPECTED_ARGUMENT}


@each_split
def test_who_guesses_gets_next_to_nothing(world: str, split: str) -> None:
    rewards = [trajectory.reward for trajectory in rollout(RandomPolicy(), world, range(20), split=split)]
    assert sum(rewards) <= 1


@each_split
def test_doing_nothing_is_no_solution(env: ToolEnv) -> None:
    for seed in SEEDS:
        env.reset(seed=seed)
        terminated, truncated, reward = False, False, 0.0
        while not (terminated or truncated):
            _, reward, terminated, truncated, _ = env.step("It is done.")
        assert reward == 0


@each_split
def test_what_an_episode_shows_is_json_and_documented(env: ToolEnv) -> None:
    for seed in (0, 1):
        shown = episode(env, seed)
        json.dumps(shown, allow_nan=False)
        opening, info = shown[0]
        assert env.observation_space.contains(opening)
        assert set(info) == AFTER_RESET
        assert {"seed", "split"} <= set(info["task"])
        for answer in shown[2::2]:
            assert env.observation_space.contains(answer[0])
            assert set(answer[4]) == AFTER_STEP
        assert all(env.action_space.contains(action) for action in shown[1::2])


@each_world
def test_held_out_tools_are_never_offered_elsewhere(world: str) -> None:
    def offered(split: str) -> set[str]:
        env = envs.make(world, split=split)
        names: set[str] = set()
        for seed in range(40):
            env.reset(seed=seed)
            names |= set(env.toolset.offered)
        env.close()
        return names

    assert offered("held_out") - offered("train") - offered("test")


@each_world
def test_mistakes_of_habit_are_found(world: str) -> None:
    found = {
        finding.code
        for trajectory in rollout(HabitualPolicy(0.3), world, range(12))
        for finding in criticize(trajectory)
    }
    assert len(found & INVALID_CALL_CODES) >= 3


@each_world
def test_plain_text_is_read_as_what_a_model_writes(world: str) -> None:
    env = envs.make(world, split="test")
    env.reset(seed=0)
    call = env.expert_action()["tool_calls"][0]["function"]
    text = f'Let me see.\n<tool_call>\n{{"name": "{call["name"]}", "arguments": {call["arguments"]}}}\n</tool_call>'
    [result], *_, info = env.step(text)
    assert (result["role"], info["violations"]) == ("tool", [[]])
    *_, info = env.step("<tool_call>\n{not json\n</tool_call>")
    assert [violation["code"] for violation in info["violations"][0]] == ["malformed_call"]
    env.close()


@each_world
@pytest.mark.parametrize("vector", [SyncVectorEnv, partial(AsyncVectorEnv, shared_memory=False)], ids=["sync", "async"])
def test_vector_environments_work(world: str, vector: Any) -> None:
    def makers() -> list[Any]:
        return [lambda: gymnasium.make(gymnasium.registry[f"hintsight/{world}"], split="test") for _ in range(2)]

    batch = vector(makers())
    openings, infos = batch.reset(seed=[3, 4])
    alone = envs.make(world, split="test")
    for place, seed in enumerate((3, 4)):
        opening, info = alone.reset(seed=seed)
        assert openings[place] == opening
        assert infos["task"]["seed"][place] == seed == info["task"]["seed"]
    results, rewards, _, truncated, _ = batch.step(["It is done.", "<tool_call>nothing</tool_call>"])
    assert len(results) == 2
    assert results[1][0]["role"] == "tool"
    assert list(rewards) == [0, 0]
    assert not any(truncated)
    alone.close()
    batch.close()


@each_world
def test_what_is_out_of_range_is_refused_in_a_sentence(world: str) -> None:
    with pytest.raises(InputError, match="did you mean 'train'"):
        envs.make(world, split="trian")
    env = envs.make(world)
    with pytest.raises(InputError, match="reset"):
        env.step("hello")
    for seed in (-1, 2**31, 1.5):
        with pytest.raises(InputError, match="whole number"):
            env.reset(seed=seed)  # type: ignore[arg-type]
    env.reset(seed=0)
    for action in (None, 7, {"role": "user", "content": "x"}, {"role": "assistant", "tool_calls": [{}]}):
        with pytest.raises(InputError, match="assistant message"):
            env.step(action)  # type: ignore[arg-type]
    env.close()


HOSTILE = {
    "10 MB": '{"a": "' + "x" * 10_000_000 + '"}',
    "deep": '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}",
    "nan": '{"a": NaN}',
    "infinity": '{"a": 1e999}',
    "surrogate": '{"a": "\\ud800"}',
    "twice": '{"a": 1, "a": 2}',
    "number": "7",
    "huge number": '{"a": ' + "9" * 5_000 + "}",
}


MAY_BE_RIGHT = {"surrogate", "twice"}
"""A text with half a character can be searched for; of a name given twice the last one counts."""


@each_world
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_arguments_get_a_code_and_harm_nothing(world: str, name: str) -> None:
    env = envs.make(world, split="test")
    env.reset(seed=1)
    env.max_errors = 10**6
    before = env.state()
    for tool in env.toolset.offered.values():
        first = next(iter(tool.parameters.get("properties", {"a": {}})), "a")
        text = HOSTILE[name].replace('"a"', json.dumps(first))
        [result], *_, info = env.step(saying(ToolCall(id="c", name=tool.name, arguments=text)))
        if name not in MAY_BE_RIGHT:
            assert info["violations"][0], tool.name
        assert len(result["content"]) < 20_000
        result["content"].encode()
        env.turns = 0
    if name not in MAY_BE_RIGHT:
        assert env.state() == before
    env.close()
