"""`python -m critics bench`: what it measures, and on what."""

import json
from pathlib import Path

import pytest

from critics import __main__ as command_line
from critics.bench import plain_loop, write_worlds
from envs import calls_of, read_trajectories
from tools.command import InputError


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bench") / "made.jsonl"
    write_worlds(path, 300_000, seeds=3)
    return path


def test_a_file_is_made_of_the_worlds_here(made: Path) -> None:
    trajectories = list(read_trajectories(made))
    assert 300_000 <= made.stat().st_size < 400_000
    assert {trajectory.env for trajectory in trajectories} == {"store-v0", "store-v1", "analyst-v0"}
    assert len({trajectory.id for trajectory in trajectories}) == len(trajectories)


def test_both_passes_see_the_same_calls(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command_line.main(["bench", str(made), "--json"])
    speed = json.loads(capsys.readouterr().out)
    trajectories = list(read_trajectories(made))
    calls = sum(len(calls_of(message)) for trajectory in trajectories for message in trajectory.messages)
    assert speed["calls"] == plain_loop((part.tools, part.messages) for part in trajectories)[0] == calls
    assert speed["reference_reader"] == "json"
    assert speed["ratio"] == pytest.approx(speed["calls_per_cpu_s"] / speed["reference_calls_per_cpu_s"], abs=0.1)
    assert speed["peak_mb"] > 1


def test_a_form_that_a_plain_loop_cant_read(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "one_document.json"
    path.write_text("[\n" + ",\n".join(made.read_text().splitlines()) + "\n]")
    figures = []
    for file in (made, path):
        command_line.main(["bench", str(file), "--json"])
        figures.append(json.loads(capsys.readouterr().out))
    lines, document = figures
    assert [document[name] for name in ("calls", "findings", "trajectories")] == [
        lines[name] for name in ("calls", "findings", "trajectories")
    ]
    assert document["reference_reader"] == "ours"


def test_a_file_without_calls(tmp_path: Path) -> None:
    path = tmp_path / "empty.jsonl"
    path.write_text("")
    with pytest.raises(InputError, match="has no calls"):
        command_line.main(["bench", str(path)])
