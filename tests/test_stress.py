"""Any world under stress: the face changes, the task stays solvable, and trajectories say what was offered when."""

import json

import pytest

import envs
from critics import criticize
from envs import Trajectory
from envs.policies import ExpertPolicy
from envs.rollout import rollout
from envs.stress import DISTRACTORS, STRESSES
from tools.command import InputError

ALL = "+".join(STRESSES)


@pytest.mark.parametrize("world", ["store-v0", "store-v1", "analyst-v0", "workspace-v0"])
def test_the_expert_solves_every_task_under_every_stress(world: str) -> None:
    trajectories = list(rollout(ExpertPolicy(), f"{world}+{ALL}", range(12)))
    assert [trajectory.success for trajectory in trajectories] == [True] * 12
    assert [finding for trajectory in trajectories for finding in criticize(trajectory)] == []
    assert {trajectory.env for trajectory in trajectories} == {f"{world}+{ALL}"}
    assert trajectories[0].task["stress"] == list(STRESSES)


def test_each_stress_does_what_it_says() -> None:
    def tools(stress: str) -> list[dict[str, object]]:
        _, info = envs.make(f"store-v1{stress}", split="test").reset(seed=3)
        return [tool["function"] for tool in info["tools"]]

    plain = tools("")
    names = [tool["name"] for tool in plain]
    shuffled = [tool["name"] for tool in tools("+shuffle")]
    assert sorted(shuffled) == sorted(names) != shuffled != names
    scrambled = tools("+scramble")
    assert scrambled != plain
    assert [sorted(str(tool["description"]).split()) for tool in scrambled] == [
        sorted(str(tool["description"]).split()) for tool in plain
    ]
    assert [tool["name"] for tool in tools("+distract")] == [*names, *(tool.name for tool in DISTRACTORS)]
    assert len(tools("+withhold")) < len(names)


def test_a_withheld_tool_is_unavailable_then_announced_and_then_works() -> None:
    env = envs.make("store-v1+withhold", split="test")
    _, info = env.reset(seed=3)
    step = next(
        step
        for exchange in env.script.exchanges  # type: ignore[attr-defined]
        for step in exchange.plan
        if step.tool in env.toolset.withheld
    )
    function = {"name": step.tool, "arguments": json.dumps(step.arguments)}
    message = {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": "c", "type": "function", "function": function}],
    }
    observation, *_, info = env.step(message)
    assert info["violations"][0][0]["code"] == "unavailable_tool"
    assert observation[-1]["role"] == "system"
    assert f'"name": "{step.tool}"' in observation[-1]["content"]
    *_, info = env.step(message)
    assert info["violations"] == [[]]


def test_critics_know_from_when_on_a_tool_was_offered() -> None:
    [trajectory] = rollout(ExpertPolicy(), "store-v1+withhold", [3])
    late = set(trajectory.tools_from)
    assert late
    assert late <= {tool["function"]["name"] for tool in trajectory.tools}
    again = Trajectory.from_json(json.loads(json.dumps(trajectory.to_json())))
    assert again.tools_from == trajectory.tools_from
    early = next(iter(late))
    call = {"id": "c", "type": "function", "function": {"name": early, "arguments": "{}"}}
    messages = [*trajectory.messages[:2], {"role": "assistant", "content": "", "tool_calls": [call]}]
    record = {**trajectory.to_json(), "messages": messages, "turns": []}
    assert "unavailable_tool" in [finding.code for finding in criticize(Trajectory.from_json(record))]


def test_a_stress_that_is_none() -> None:
    with pytest.raises(InputError, match="did you mean 'shuffle'"):
        envs.make("store-v1+shufle")
    with pytest.raises(ValueError, match="tools_from"):
        Trajectory.from_json({"id": "x", "messages": [], "tools_from": ["a"]})
