"""On the worlds here: an expert makes no error, and whatever mistake a world refuses is found at its very place."""

import json
from collections import Counter
from collections.abc import Iterator

import pytest

from critics import Finding, criticize, text_of
from envs import Trajectory, calls_of
from envs.policies.scripted import ExpertPolicy, HabitualPolicy
from envs.rollout import rollout
from tools import INVALID_CALL_CODES, ErrorCode

WORLDS = ("store-v0", "store-v1", "analyst-v0")


def experts(world: str, seeds: range) -> Iterator[Trajectory]:
    for split in ("test", "held_out") if world == "store-v0" else ("test",):
        yield from rollout(ExpertPolicy(), world, seeds, split=split)


@pytest.mark.parametrize("world", WORLDS)
def test_an_expert_makes_no_error(world: str) -> None:
    assert [part for trajectory in experts(world, range(150)) for part in criticize(trajectory)] == []


@pytest.mark.slow
@pytest.mark.parametrize(("world", "seeds"), [*((world, 10_000) for world in WORLDS), ("workspace-v0", 200)])
def test_an_expert_makes_no_error_in_many_tasks(world: str, seeds: int) -> None:
    for trajectory in experts(world, range(seeds)):
        assert criticize(trajectory) == []


def refused(trajectory: Trajectory) -> dict[int, list[tuple[str, str]]]:
    """What the world answered each turn's first call with: codes and paths, by message."""
    answers: dict[int, list[tuple[str, str]]] = {}
    for index, message in enumerate(trajectory.messages):
        if message.get("is_error"):
            errors = json.loads(message["content"])["errors"]
            answers[index - 1] = sorted((error["code"], error["path"]) for error in errors)
    return answers


def found(findings: list[Finding]) -> dict[int, list[tuple[str, str]]]:
    codes: dict[int, list[tuple[str, str]]] = {}
    for part in findings:
        if part.code in INVALID_CALL_CODES | {ErrorCode.DOMAIN_REJECTION}:
            codes.setdefault(part.message_index, []).append((str(part.code), part.path))
    return {index: sorted(parts) for index, parts in codes.items()}


def is_exact(trajectory: Trajectory, finding: Finding) -> bool:
    """Whether the marked text is the part of the call that the code is about, and nothing else."""
    function = calls_of(trajectory.messages[finding.message_index])[finding.call_index or 0]["function"]
    text = text_of(trajectory, finding)[slice(*finding.span)]
    name = finding.path.rsplit(".", 1)[-1]
    match finding.code:
        case ErrorCode.NONEXISTENT_TOOL | ErrorCode.UNAVAILABLE_TOOL:
            return bool(text == function["name"])
        case ErrorCode.MALFORMED_CALL:
            return bool(text == function["arguments"])
        case ErrorCode.MISSING_ARGUMENT:
            return text == "}"
        case ErrorCode.UNEXPECTED_ARGUMENT:
            return list(json.loads(f"{{{text}}}")) == [name]
        case _ if "[" in finding.path or finding.path.count(".") != 1:
            return json.loads(text) is not None
        case _:
            return bool(json.loads(text) == json.loads(function["arguments"])[name])


@pytest.mark.parametrize("world", WORLDS)
def test_what_a_world_refuses_is_found_at_its_place(world: str) -> None:
    number: Counter[str] = Counter()
    for trajectory in rollout(HabitualPolicy(0.5), world, range(150)):
        findings = criticize(trajectory)
        assert found(findings) == refused(trajectory)
        for part in findings:
            if part.code in INVALID_CALL_CODES:
                number[str(part.code)] += 1
                assert is_exact(trajectory, part)
    assert len(number) >= 4
    assert sum(number.values()) > 100
