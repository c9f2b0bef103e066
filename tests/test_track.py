"""What trackers are told, with a tracker of accelerate's that is written here."""

from pathlib import Path
from typing import Any

import pytest
from accelerate import tracking

from distill.config import Config
from distill.folder import recorded
from distill.track import Tracks
from tools.command import InputError


class Noted(tracking.GeneralTracker):
    """Keeps what it is told, in place of wandb."""

    name = "wandb"
    requires_logging_directory = False
    main_process_only = True
    made: "Noted"

    def __init__(self, project: str, **settings: Any) -> None:
        super().__init__()
        self.project, self.settings, self.lines, self.ended = project, settings, [], False
        Noted.made = self

    def start(self) -> None:
        pass

    @property
    def tracker(self) -> "Noted":
        return self

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self.config = values

    def log(self, values: dict[str, Any], step: int | None = None, **_: Any) -> None:
        self.lines.append((step, values))

    def finish(self) -> None:
        self.ended = True


@pytest.fixture
def with_wandb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "wandb", Noted)
    monkeypatch.setattr("accelerate.tracking.is_wandb_available", lambda: True)
    monkeypatch.setattr(tracking, "_available_trackers", [tracking.LoggerType.WANDB])


def test_a_tracker_is_told_the_whole_config_each_step_and_each_round(with_wandb: None, tmp_path: Path) -> None:
    out = tmp_path / "first"
    tracks = Tracks(("wandb",), out, recorded(Config(out=out)), cpu=True)
    told = Noted.made
    assert (told.project, told.settings) == ("hintsight", {"name": "first", "dir": str(out)})
    assert out.is_dir()
    assert told.config["update/learning_rate"] == 2e-4
    assert (told.config["policy"], told.config["band/off"]) == ("tiny", False)
    tracks.step = 10
    tracks.report({"round": 3, "losses": [0.5, 0.25], "invalid_per_100": {"rate": 4.0}, "read_whole": "why"})
    assert told.lines == [
        (11, {"step/loss": 0.5}),
        (12, {"step/loss": 0.25}),
        (12, {"round/round": 3, "round/invalid_per_100/rate": 4.0}),
    ]
    tracks.end()
    assert told.ended


def test_a_tracker_that_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("accelerate.tracking.get_available_trackers", list)
    with pytest.raises(InputError, match="pip install trackio"):
        Tracks(("trackio",), tmp_path / "run", {}, cpu=True)
    assert not (tmp_path / "run").exists()
