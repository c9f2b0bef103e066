"""Leaderboards and run folders: what is counted, who is best, what is printed, and what bad input is told."""

import io
import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from critics import criticize, measure
from distill.summary import compared
from envs import Archive, StopReason, Trajectory, read_trajectories
from envs.policies import ExpertPolicy
from envs.policies.scripted import HabitualPolicy
from envs.rollout import rollout
from eval.__main__ import main
from eval.leaderboard import leaderboards
from eval.ranking import Ranking
from eval.source import source
from tools.command import InputError

ROOT = Path(__file__).parents[1]
TOOL = {
    "type": "function",
    "function": {"name": "find", "parameters": {"type": "object", "properties": {}, "additionalProperties": False}},
}


def write(path: Path, trajectories: Iterable[Trajectory]) -> Path:
    with Archive(path) as archive:
        for trajectory in trajectories:
            archive.write(trajectory.to_json())
    return path


def trajectory(*names: str, policy: str = "p", number: int = 0, **fields: Any) -> Trajectory:
    """One turn a call; only `find` is a tool."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Go."}]
    for place, name in enumerate(names):
        call = {"id": f"call_{place}", "type": "function", "function": {"name": name, "arguments": "{}"}}
        messages.append({"role": "assistant", "content": "", "tool_calls": [call]})
        messages.append({"role": "tool", "tool_call_id": f"call_{place}", "content": str(place)})
    messages.append({"role": "assistant", "content": "Done."})
    return Trajectory(
        id=f"w/{policy}/{number}",
        env=fields.get("env", "w"),
        task={"seed": number, "split": fields.get("split", "test")},
        policy=policy,
        tools=[TOOL],
        messages=messages,
        success=fields.get("success", True),
        stop_reason=fields.get("stop_reason", StopReason.ANSWERED),
    )


def shown(part: Any, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(part)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What the command line says about bad input; nothing may come before it."""
    with pytest.raises(InputError) as error:
        main(arguments)
    assert capsys.readouterr().out == ""
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("files")
    expert = write(folder / "expert.jsonl", rollout(ExpertPolicy(), "store-v0", range(12)))
    habitual = write(folder / "habitual.jsonl", rollout(HabitualPolicy(), "store-v0", range(24)))
    return expert, habitual


def test_a_leaderboard_counts_what_the_critics_count(files: tuple[Path, Path]) -> None:
    [board] = leaderboards(files[::-1])
    assert (board.env, board.split) == ("store-v0", "test")
    assert [row.policy for row in board.rows] == ["expert", "habitual"]
    for row, path in zip(board.rows, files, strict=True):
        plain = measure((part, criticize(part)) for part in read_trajectories(path))
        assert (row.measured.tasks, row.measured.calls) == (plain.tasks, plain.calls)
        assert {code: rate.rate for code, rate in row.measured.codes.items()} == {
            code: rate.rate for code, rate in plain.codes.items()
        }
        assert row.files == {path: row.measured.tasks}
    assert board.rows[1].measured.invalid_calls > 5
    assert board.best is board.rows[0]


def test_trajectories_are_grouped_by_policy_world_and_split(tmp_path: Path) -> None:
    mixed = [
        trajectory("find", policy="a"),
        trajectory("find", policy="b", split="train"),
        trajectory("find", policy="a", env=""),
        trajectory("find", policy="b"),
        trajectory("lost", policy="a", number=1),
    ]
    first = write(tmp_path / "first.jsonl", mixed)
    second = write(tmp_path / "second.jsonl", [trajectory("find", policy="a", number=2), trajectory(policy="")])
    boards = leaderboards([first, second])
    counts = [
        (board.env, board.split, [(row.policy, row.measured.tasks, row.measured.invalid_calls) for row in board.rows])
        for board in boards
    ]
    assert counts == [
        ("w", "test", [("b", 1, 0), ("a", 3, 1), ("second.jsonl", 1, 0)]),
        ("w", "train", [("b", 1, 0)]),
        ("", "test", [("a", 1, 0)]),
    ]
    assert boards[0].files == {first: 3, second: 2}
    assert shown(boards[0].rows and Ranking(boards[2])).startswith("world not known, split test\n")


def test_the_best_is_marked_only_where_the_intervals_say_so(tmp_path: Path) -> None:
    def board_of(**wrong: tuple[int, int]) -> Any:
        parts = [
            trajectory(*["lost"] * invalid, *["find"] * valid, policy=name) for name, (invalid, valid) in wrong.items()
        ]
        path = tmp_path / "-".join(f"{name}{invalid}" for name, (invalid, _) in wrong.items())
        [board] = leaderboards([write(path, parts)])
        return board

    clear = board_of(a=(1, 60), b=(30, 30))
    assert clear.best.policy == "a"
    assert "best: its interval lies below all others" in shown(Ranking(clear))
    near = board_of(a=(10, 60), b=(12, 60))
    assert near.best is None
    assert "no best" in shown(Ranking(near))
    # b has the next rate, but c's few calls leave open that it errs as little as a does.
    assert board_of(a=(1, 60), b=(15, 45), c=(1, 2)).best is None
    assert board_of(a=(1, 60)).best is None
    assert "best" not in shown(Ranking(board_of(z=(1, 60))))
    silent = board_of(idle=(0, 0), a=(2, 60), b=(30, 30))
    assert [row.policy for row in silent.rows] == ["a", "b", "idle"]
    assert silent.best.policy == "a"


def test_faults_stand_in_their_own_column_only(tmp_path: Path) -> None:
    fault = trajectory("lost", number=1, stop_reason=StopReason.INFRASTRUCTURE_FAULT)
    [board] = leaderboards([write(tmp_path / "file", [trajectory("find"), fault])])
    measured = board.rows[0].measured
    assert (measured.tasks, measured.faults, measured.codes) == (1, 1, {})
    assert board.files[tmp_path / "file"] == 2


def test_codes_are_columns_where_they_fit_and_rows_where_not(files: tuple[Path, Path]) -> None:
    [board] = leaderboards(files)
    narrow, wide = shown(Ranking(board), 80), shown(Ranking(board), 160)
    assert max(map(len, narrow.splitlines())) <= 80
    assert any(line.startswith("nonexistent_tool ") for line in narrow.splitlines())
    assert "1 expert" in narrow
    assert "nonexistent" in wide
    assert "nonexistent_tool" not in wide
    assert "error, per 100 calls" not in wide


def test_many_policies_fit_into_80_columns(tmp_path: Path) -> None:
    parts = [trajectory("lost", policy=f"runs/a-rather-long-name/{number}/checkpoint") for number in range(19)]
    [board] = leaderboards([write(tmp_path / "file", parts)])
    text = shown(Ranking(board))
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("error, per 100 calls") == 3


def test_names_are_shown_as_they_are(tmp_path: Path) -> None:
    parts = [trajectory("lost", policy="[bold]a[/x]\x1b[31m", env=":smile:[red]")]
    [board] = leaderboards([write(tmp_path / "fi[red]le", parts)])
    text = shown(Ranking(board), 200)
    assert "[bold]a[/x]\\x1b[31m" in text
    assert ":smile:[red], split test" in text
    assert "fi[red]le" in shown(source(board), 200)


def test_logs_of_other_programs_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "their_log.jsonl"
    plain = trajectory("find", "lost").to_json()
    log.write_text(json.dumps({name: plain[name] for name in ("id", "tools", "messages")}) + "\n")
    main([str(log)])
    text = capsys.readouterr().out
    assert "their_log.js" in text
    assert f"1 trajectories: python -m eval {log}" in text


def test_json_has_the_same_figures(files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    main([*map(str, files), "--json"])
    record = json.loads(capsys.readouterr().out)
    [board] = leaderboards(files)
    said = source(board).plain.splitlines()
    assert record == {"runs": {}, "leaderboards": [board.to_json() | {"source": said}]}
    first, second = record["leaderboards"][0]["rows"]
    assert (first["policy"], first["best"], second["best"]) == ("expert", True, False)
    assert first["files"] == {str(files[0]): 12}
    assert second["codes"]["nonexistent_tool"]["rate"] > 0


@pytest.fixture
def run_folder(tmp_path: Path, files: tuple[Path, Path]) -> Path:
    """What `distill` leaves behind, as far as `eval` reads it."""
    after, before = [[(part, criticize(part)) for part in read_trajectories(path)] for path in files]
    figures = compared(before, after)
    counts = {"hint": "real", "rollouts": 256, "seconds": 9.0, "corrections": 5, "admitted": 4, "dropped": {}}
    moved = {"clean_divergence": 0.01, "final_divergence": 0.0, "undone": [{"round": 2, "reasons": ["it fell"]}]}
    summary = {**figures, **counts, **moved, "held_out_tools": figures, "hint_effect": {"nonexistent_tool": 0.8}}
    folder = tmp_path / "run"
    (folder / "evaluation").mkdir(parents=True)
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "manifest.json").write_text(json.dumps({"command": "python -m distill --out run --seed 3"}))
    return folder


def test_a_run_folder_shows_before_and_after(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(run_folder)])
    text = capsys.readouterr().out
    assert "invalid calls" in text
    assert "round 3 was undone: it fell" in text
    assert max(map(len, text.partition("this table")[0].splitlines())) <= 80
    assert f"python -m eval {run_folder}" in text
    assert "python -m distill --out run --seed 3" in text
    main([str(run_folder), "--json"])
    assert json.loads(capsys.readouterr().out)["runs"][str(run_folder)]["rollouts"] == 256


def test_run_folders_and_files_can_be_given_together(
    run_folder: Path, files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    main([str(files[0]), str(run_folder)])
    text = capsys.readouterr().out
    assert text.index("invalid calls") < text.index("store-v0, split test")


def test_a_run_that_is_still_being_written_is_told_so(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run_folder / "summary.json").unlink()
    text = refused(capsys, str(run_folder))
    assert "still being written" in text
    assert "so far" not in text
    (run_folder / "evaluation" / "before-test.jsonl").touch()
    so_far = f"so far there is: python -m eval {run_folder}/evaluation/before-test.jsonl"
    assert so_far in refused(capsys, str(run_folder))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "is no file"),
        ("", "has no trajectories"),
        ('{"id": "a", "messages": []}\nnonsense\n', "file.jsonl:2: no JSON"),
        ("[]\n", "has no trajectories"),
        ('{"schema_version": 7, "id": "a", "messages": []}\n', "schema_version is 7"),
        ('{"round": 1}\n', "no form that is known, came an object with round"),
        ('{"id": "a", "messages": [], "task": [1]}\n', "expected task to be an object"),
        ('{"id": "a", "messages": [], "tools": [{"name": 3}]}\n', "file.jsonl:1: "),
    ],
)
def test_bad_files_are_named(
    content: str | None, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "file.jsonl"
    if content is not None:
        path.write_text(content)
    text = refused(capsys, str(path))
    assert said in text
    assert str(path) in text


def test_what_makes_no_sense_is_refused(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "nothing to show" in refused(capsys)
    assert "is given twice" in refused(capsys, str(files[0]), str(files[0].parent / "." / files[0].name))
    assert "is no run folder" in refused(capsys, str(tmp_path))
    (tmp_path / "summary.json").write_text("{")
    assert "summary.json is no JSON" in refused(capsys, str(tmp_path))
    (tmp_path / "summary.json").write_text("[]")
    assert "summary.json is no JSON object" in refused(capsys, str(tmp_path))
    (tmp_path / "summary.json").write_text('{"before": {}}')
    assert "is no summary of a run" in refused(capsys, str(tmp_path))


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_the_command_line_ends_with_2_after_bad_input() -> None:
    done = run_python("-m", "eval", "no-such-file.jsonl")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: no-such-file.jsonl is no file that can be read (No such file or directory): give the path of a log\n"
    )


def loaded_by(arguments: Sequence[str]) -> str:
    """The heavy libraries that a command line loads."""
    code = (
        "import contextlib, io, sys\nfrom eval.__main__ import main\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        f"    main({list(arguments)!r})\n"
        "print(*sorted({'torch', 'transformers', 'renderers', 'tokenizers', 'critics', 'envs'} & set(sys.modules)))"
    )
    done = run_python("-c", code)
    assert done.stderr == ""
    return done.stdout.strip()


def test_no_model_library_is_loaded(run_folder: Path, files: tuple[Path, Path]) -> None:
    assert loaded_by(["--help"]) == ""
    assert loaded_by([str(run_folder), str(files[0])]) == "critics envs"
    assert loaded_by(["replay", str(files[0])]) == "critics envs"
