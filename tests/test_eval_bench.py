"""`python -m eval bench`: what it makes, and that every figure is there."""

import json
from pathlib import Path

import pytest

from envs import read_trajectories
from eval.__main__ import main
from eval.bench import SEEDS, rollouts, write
from tools.command import InputError


def test_the_files_hold_as_many_different_trajectories_as_are_asked_for(tmp_path: Path) -> None:
    texts = rollouts()
    assert write(tmp_path / "lines", texts, lines=3 * SEEDS) == 3 * SEEDS
    made = list(read_trajectories(tmp_path / "lines"))
    assert len({(part.policy, part.id) for part in made}) == 3 * SEEDS
    assert {part.task["seed"] for part in made} == set(range(2 * SEEDS))
    assert write(tmp_path / "bytes", texts, size=100_000) < 3 * SEEDS
    assert (tmp_path / "bytes").stat().st_size >= 100_000


def test_everything_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    main(["bench", "--trajectories", "30", "--gigabytes", "0.001", "--json"])
    figures = json.loads(capsys.readouterr().out)
    assert figures["trajectories"] == 30
    assert figures["far"] > 50
    assert all(figures[name] > 0 for name in figures if name not in ("far_s", "far_mb"))
    with pytest.raises(InputError, match="at least 1 trajectory"):
        main(["bench", "--trajectories", "0"])
