"""The command line of envs: looking at worlds, playing from a pipe, rolling out into a file."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from envs import read_trajectories
from envs.__main__ import main
from envs.policies import Context, ExpertPolicy, Reply

ROOT = Path(__file__).parents[1]


class CLI:
    """Runs the command line in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.capsys, self.monkeypatch = capsys, monkeypatch

    def __call__(self, *arguments: str) -> tuple[int | None, str, str]:
        """Exit code, standard output and standard error."""
        self.monkeypatch.setattr(sys, "argv", ["envs", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        shown = self.capsys.readouterr()
        assert end.value.code is None or isinstance(end.value.code, int)
        return end.value.code, shown.out, shown.err


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CLI:
    return CLI(capsys, monkeypatch)


def test_list_and_tools(cli: CLI) -> None:
    code, shown, _ = cli("list")
    assert not code
    assert "store-v0" in shown
    assert "train, test, held_out, pretrain" in shown
    schemas = json.loads(cli("tools", "store-v0", "--seed", "7", "--json")[1])
    assert [schema["function"]["name"] for schema in schemas][-1] == "find_order"
    assert "find_order" in cli("tools", "store-v0", "--seed", "7")[1]


def test_play_from_a_pipe_shows_what_was_typed_and_ends_with_it() -> None:
    lines = b":expert\n\n:expert\nbad line \xff\n:expert"
    command = [sys.executable, "-m", "envs", "play", "store-v0", "--seed", "7"]
    shown = subprocess.run(command, cwd=ROOT, input=lines, capture_output=True, timeout=60, check=False)
    text = shown.stdout.decode()
    assert (shown.returncode, shown.stderr) == (0, b"")
    assert "> :expert\nexpert: find_order" in text
    assert "neither a call nor an answer" in text
    assert "\nsolved: reward 1" in text
    assert "\x1b" not in text


def test_ctrl_c_leaves_play_without_a_stack_trace(cli: CLI, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> Iterator[str]:
        yield ":task"
        raise KeyboardInterrupt

    monkeypatch.setattr("envs.__main__.typed_lines", interrupted)
    code, shown, errors = cli("play", "store-v0", "--seed", "7")
    assert (code, errors) == (130, "")
    assert shown.count("Look at order #418") == 2


def test_rollout_writes_a_file_and_goes_on_with_it(cli: CLI, tmp_path: Path) -> None:
    path = tmp_path / "expert.jsonl"
    code, shown, _ = cli("rollout", "store-v0", "--policy", "expert", "-n", "3", "--out", str(path))
    assert not code
    assert shown.startswith("3 trajectories, ")
    assert shown.endswith(f", 100% solved, 0.0 errors/100 calls: {path}\n")
    _, shown, _ = cli("rollout", "store-v0", "--policy", "expert", "-n", "5", "--out", str(path))
    assert shown.startswith("2 trajectories (3 skipped: already there), ")
    assert sorted(trajectory.task["seed"] for trajectory in read_trajectories(path)) == [0, 1, 2, 3, 4]
    code, _, errors = cli("rollout", "store-v0", "--policy", "random", "--out", str(path))
    assert code == 2
    assert "choose another file" in errors


def test_ctrl_c_keeps_what_was_finished(cli: CLI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    act = ExpertPolicy.act

    def interrupted(policy: ExpertPolicy, contexts: Sequence[Context]) -> list[Reply]:
        if contexts[0].env.turns == 0 and contexts[0].env.task_record()["seed"] >= 4:
            raise KeyboardInterrupt
        return act(policy, contexts)

    monkeypatch.setattr(ExpertPolicy, "act", interrupted)
    path = tmp_path / "expert.jsonl"
    code, _, errors = cli("rollout", "store-v0", "--policy", "expert", "--batch", "2", "--out", str(path))
    assert code == 130
    assert errors == "interrupted: what was finished is kept\n"
    assert len(list(read_trajectories(path))) == 4


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("tools", "stor-v0"), "did you mean 'store-v0'"),
        (("tools", "store-v0", "--split", "tst"), "did you mean 'test'"),
        (("play", "store-v0", "--seed", "-1"), "from 0 to"),
        (("rollout", "store-v0", "--policy", "exprt", "--out", "x"), "did you mean 'expert'"),
        (("rollout", "store-v0", "--policy", "expert", "-n", "0", "--out", "x"), "n must be at least 1"),
        (("rollout", "store-v0", "--policy", "expert", "--first-seed", "-2", "--out", "x"), "first-seed must be"),
        (("rollout", "store-v0", "--policy", "expert", "--batch", "0", "--out", "x"), "batch must be at least 1"),
        (("rollout", "store-v0", "--policy", "expert", "--temperature", "nan", "--out", "x"), "temperature must be"),
        (("rollout", "store-v0", "--policy", "expert", "--first-seed", str(2**31), "--out", "x"), "a seed is at most"),
    ],
)
def test_a_users_error_is_one_line_and_exit_2(
    cli: CLI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], problem: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, shown, errors = cli(*arguments)
    assert (code, shown) == (2, "")
    assert problem in errors
    assert errors.startswith("error: ")
    assert errors.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_readmes_example_prints_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    code = (ROOT / "envs" / "README.md").read_text(encoding="utf-8").partition("```python\n")[2].partition("```")[0]
    exec(compile(code, "envs/README.md", "exec"), {})
    promised = [line.rpartition("  # ")[2] for line in code.splitlines() if line.startswith("print")]
    for shown, said in zip(capsys.readouterr().out.splitlines(), promised, strict=True):
        assert said.removesuffix("...").startswith(shown) or shown.startswith(said.removesuffix("..."))


def test_list_says_how_long_tasks_are(cli: CLI) -> None:
    shown = cli("list")[1]
    assert "store-v1" in shown
    assert "an expert takes 3 to 9 calls" in shown
    assert "at most 24, 3 errors" in shown


def test_bench_measures_each_figure(cli: CLI) -> None:
    code, shown, _ = cli("bench", "store-v0", "store-v1", "--seconds", "0.02", "--json")
    assert not code
    measured = json.loads(shown)
    assert measured["import_cpu_s"] > 0
    assert list(measured["worlds"]) == ["store-v0", "store-v1"]
    for figures in measured["worlds"].values():
        assert sorted(figures) == ["resets_per_cpu_s", "state_checks_per_cpu_s", "steps_per_cpu_s"]
        assert all(value > 0 for value in figures.values())
    assert "state checks" in cli("bench", "store-v0", "--seconds", "0.02")[1]


def test_bench_of_what_is_none(cli: CLI) -> None:
    assert cli("bench", "stor-v0")[0] == 2
    code, _, error = cli("bench", "--seconds", "0")
    assert code == 2
    assert "seconds" in error


def test_a_rate_of_habits_that_is_none(cli: CLI, tmp_path: Path) -> None:
    code, _, error = cli("rollout", "store-v1", "--policy", "habitual@2", "--out", str(tmp_path / "x.jsonl"))
    assert code == 2
    assert "from 0 to 1" in error


def test_the_tools_of_a_task_are_checked_and_called_by_hand(cli: CLI, tmp_path: Path) -> None:
    calls = tmp_path / "calls.jsonl"
    calls.write_text(
        '{"name": "cancel_ordr", "arguments": {}}\n{"name": "order_details", "arguments": {"order_id": "O1"}}\n'
    )
    task = ("tools", "store-v1", "--seed", "7")
    code, shown, _ = cli(*task, "--check", str(calls), "--json")
    assert code == 1
    assert [json.loads(line)["code"] for line in shown.splitlines()] == ["nonexistent_tool"]
    code, shown, _ = cli(*task, "--call", "order_details", "order_id=O56255")
    assert (code, json.loads(shown)["status"]) == (0, "pending")
    code, shown, _ = cli(*task, "--call", "order_details")
    assert (code, json.loads(shown)["errors"][0]["code"]) == (1, "missing_argument")
    assert "inputSchema" in json.loads(cli(*task, "--json", "--form", "mcp")[1])[0]
