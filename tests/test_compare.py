"""Two policies on the same tasks: what is paired, what moved, by how much, and how sure that is."""

import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from rich.console import Console

from envs import Archive, StopReason, Trajectory, Turn
from eval import paired
from eval.__main__ import main
from eval.compare import INVALID, compare
from eval.contrast import Contrast
from eval.paired import flip_p, holm
from tools.command import InputError

TOOL = {
    "type": "function",
    "function": {"name": "find", "parameters": {"type": "object", "properties": {}, "additionalProperties": False}},
}


def write(path: Path, trajectories: Iterable[Trajectory]) -> Path:
    with Archive(path) as archive:
        for trajectory in trajectories:
            archive.write(trajectory.to_json())
    return path


def attempt(seed: int, *names: str, sample: int = 0, answer: str = "Done.", **fields: Any) -> Trajectory:
    """One turn a call; only `find` is a tool."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Go."}]
    for place, name in enumerate(names):
        call = {"id": f"call_{place}", "type": "function", "function": {"name": name, "arguments": "{}"}}
        messages.append({"role": "assistant", "content": "", "tool_calls": [call]})
        messages.append({"role": "tool", "tool_call_id": f"call_{place}", "content": str(place)})
    messages.append({"role": "assistant", "content": answer})
    defaults: dict[str, Any] = {"env": "w", "policy": "p", "success": True}
    return Trajectory(
        id=f"w/{seed}/{sample}",
        task={"seed": seed, "split": "test"},
        tools=[TOOL],
        messages=messages,
        **(defaults | fields),
    )


def files(folder: Path, before: Sequence[Trajectory], after: Sequence[Trajectory]) -> tuple[Path, Path]:
    return write(folder / "before.jsonl", before), write(folder / "after.jsonl", after)


def shown(part: Any, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(part)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_errors_are_compared_over_the_tasks_that_both_have(tmp_path: Path) -> None:
    before = [attempt(seed, "lost", "find") for seed in range(4)] + [attempt(9, "lost")]
    after = [attempt(0, "find", "lost"), *(attempt(seed, "find") for seed in (1, 2, 3, 11, 12))]
    found = compare(*files(tmp_path, before, after))
    assert found.tasks == 4
    change = found.errors["nonexistent_tool"]
    assert (change.before, change.after) == (50.0, 20.0)
    assert change.change is not None
    assert change.change.difference == pytest.approx(-30)
    assert found.errors[INVALID].before == 50.0
    assert [part.task for part in found.better] == ["w/test/1", "w/test/2", "w/test/3"]
    assert not found.worse
    assert dict(found.matrix) == {
        ("nonexistent_tool", "nonexistent_tool"): 1,
        ("nonexistent_tool", "no error"): 3,
    }
    assert "1 of 5 tasks are in" in found.differ[0]
    assert "2 of 6 tasks are in" in found.differ[1]


def test_a_task_that_is_solved_less_often_got_worse_whatever_its_calls_say(tmp_path: Path) -> None:
    before = [attempt(0, "lost"), attempt(1, "find")]
    after = [attempt(0, "find", success=False), attempt(1, "find")]
    found = compare(*files(tmp_path, before, after))
    assert ([part.task for part in found.worse], list(found.better)) == (["w/test/0"], [])
    assert (found.collateral["success"].before, found.collateral["success"].after) == (1.0, 0.5)


def test_faults_are_in_no_figure(tmp_path: Path) -> None:
    good = [attempt(seed, "find") for seed in range(3)]
    fault = attempt(7, "lost", stop_reason=StopReason.INFRASTRUCTURE_FAULT, success=False)
    found = compare(*files(tmp_path, [*good, fault], [*good, fault]))
    assert (found.tasks, found.faults, found.errors[INVALID].after) == (3, (1, 1), 0.0)
    assert not found.matrix


def test_what_else_moved_is_seen(tmp_path: Path) -> None:
    before = [attempt(seed, "find", "find") for seed in range(3)]
    after = [attempt(seed, "find", answer="As the hint says: done.") for seed in range(3)]
    damage = compare(*files(tmp_path, before, after)).collateral
    assert (damage["valid calls per task"].before, damage["valid calls per task"].after) == (2.0, 1.0)
    assert (damage["turns per task"].before, damage["turns per task"].after) == (3.0, 2.0)
    assert (damage["turns with hint words"].before, damage["turns with hint words"].after) == (0.0, 0.5)
    assert damage["entropy, nats a token"].before is None
    assert damage["entropy, nats a token"].p is None


def test_right_tokens_are_compared_only_where_both_wrote_them_in_the_same_context(tmp_path: Path) -> None:
    def sampled(ids: Sequence[int], logprobs: Sequence[float]) -> Turn:
        return Turn(message_index=1, prompt_ids=[1, 2], token_ids=ids, logprobs=logprobs, raw="Done.")

    before = attempt(0, turns=[sampled([5, 6, 7], [-0.5, -0.5, -0.5])])
    after = attempt(0, turns=[sampled([5, 6, 8], [-0.25, -1.0, -9.0])])
    moved, tokens = compare(*files(tmp_path, [before], [after])).shift
    assert (moved, tokens) == (0.25, 2)
    elsewhere = replace(after, turns=[replace(after.turns[0], prompt_ids=[1, 3])])
    assert compare(tmp_path / "before.jsonl", write(tmp_path / "other.jsonl", [elsewhere])).shift == (0.0, 0)


def test_a_p_value_is_that_of_all_flips_of_sign() -> None:
    before = {str(task): (1, 2) for task in range(4)}
    after = {str(task): (0, 2) for task in range(4)}
    p = flip_p(before, after)  # of 16 patterns of signs, two are as far out
    assert p == pytest.approx(2 / 16, abs=0.02)
    assert p == flip_p(before, after)
    assert flip_p(before, before) == 1.0
    assert flip_p({"0": (1, 2)}, {"0": (0, 2)}) is None
    assert flip_p(before, dict.fromkeys(before, (0, 0))) is None


def test_with_many_tasks_the_p_value_is_that_of_the_flips_without_drawing_them(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(2)
    before, after = (
        {str(task): (int(hits), 4) for task, hits in enumerate(random.binomial(4, rate, 1000))} for rate in (0.2, 0.185)
    )
    quick = flip_p(before, after)
    monkeypatch.setattr(paired, "MANY", 10_000)
    assert quick == pytest.approx(flip_p(before, after), abs=0.015)
    assert flip_p(before, before) == 1.0


def test_fewer_calls_alone_are_no_sign_of_another_error_rate() -> None:
    tasks = [str(task) for task in range(40)]
    before = dict.fromkeys(tasks, (0, 5))
    after = {task: (int(task == "0"), 3) for task in tasks}
    p = flip_p(before, after)
    assert p is not None
    assert p > 0.2


def test_where_nothing_changed_a_twentieth_of_p_values_is_below_a_twentieth() -> None:
    random = np.random.default_rng(1)

    def side(calls: int) -> dict[str, tuple[float, float]]:
        rates = random.beta(1, 4, 40)  # calls of one task are alike
        return {str(task): (int(random.binomial(calls, rate)), calls) for task, rate in enumerate(rates)}

    alarms = sum((flip_p(side(6), side(3)) or 0.0) < 0.05 for _ in range(200))
    assert 2 <= alarms <= 21  # 10 are expected; outside of this with a chance below 1 in 1000


def test_questions_asked_at_once_are_adjusted_for() -> None:
    assert holm({"a": 0.01, "b": 0.04, "c": None, "d": 0.03}) == {
        "a": pytest.approx(0.03),
        "b": pytest.approx(0.06),
        "c": None,
        "d": pytest.approx(0.06),
    }


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_comparison_fits_the_terminal(tmp_path: Path, width: int) -> None:
    before = [attempt(seed, "lost", "find", policy="a\x1b[31m") for seed in range(30)]
    text = shown(Contrast(compare(*files(tmp_path, before, [attempt(seed, "find") for seed in range(30)]))), width)
    assert max(map(len, text.splitlines())) <= width
    assert "\x1b" not in text
    assert "nonexistent_tool" in text
    assert ("<0.001" in text) == (width > 40)


def test_the_command_says_how_to_make_its_figures_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = files(tmp_path, [attempt(0, "lost"), attempt(1, "find")], [attempt(0, "find"), attempt(1, "find")])
    main(["compare", str(first), str(second)])
    assert f"python -m eval compare {first} {second}" in capsys.readouterr().out
    main(["compare", str(first), str(second), "--json"])
    figures = json.loads(capsys.readouterr().out)
    assert figures["errors_per_100_calls"]["nonexistent_tool"]["before"] == 50.0
    assert figures["substitution"] == [{"before": "nonexistent_tool", "after": "no error", "count": 1}]


def test_bad_input_is_told_what_to_do(tmp_path: Path) -> None:
    first, second = files(tmp_path, [attempt(0, "find")], [attempt(0, "find", env="other")])
    unfinished = tmp_path / "run"
    unfinished.mkdir()
    (unfinished / "manifest.json").write_text("{}")
    later = tmp_path / "later.jsonl"
    later.write_text(json.dumps(attempt(0).to_json() | {"schema_version": 99}) + "\n")
    for sources, said in (
        ([first, second], "no task is in both"),
        ([first, first], "given twice"),
        ([first], "expected two files"),
        ([unfinished], "wait for its run"),
        ([tmp_path], "is no run folder"),
        ([first, later], "schema_version is 99"),
        ([first, tmp_path / "none.jsonl"], "is no file"),
    ):
        with pytest.raises(InputError, match=said):
            main(["compare", *map(str, sources)])
