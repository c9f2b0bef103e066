"""A real model as the judge, from its words to the gradient: trained here, behind a server of our own, and at hand."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Lock
from typing import Any

import pytest
from transformers import AutoTokenizer

from critics import criticize
from critics.judge import Critic, Judge
from critics.judge.asker import Failed, asker_of
from critics.judge.cache import Said
from critics.judge.planting import EARLY, planted
from critics.judge.score import counted
from distill.config import Band, Config
from distill.run import Run
from envs import Archive, Trajectory, read_records
from envs.context import ContextWriter
from envs.policies.hf import TINY
from tests.chat_endpoint import Answer, endpoint
from tests.test_correction import with_tokens
from tests.test_judge import no_proxy  # noqa: F401
from tests.tiny_reader import WORLD, train
from tools import ErrorCode

pytestmark = pytest.mark.slow

TASKS = range(24)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model that has learnt to judge."""
    path = tmp_path_factory.mktemp("models") / "reader"
    train(path)
    return path


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    """The model behind an OpenAI-compatible server on loopback."""
    model, one_at_a_time = asker_of(f"hf:{folder}"), Lock()

    def answer(body: Mapping[str, Any]) -> Answer:
        said: list[Said | Failed] = []
        with one_at_a_time:
            model.ask([body["messages"]], None, lambda place, outcome: said.append(outcome))
        return said[0].text if isinstance(said[0], Said) else (400, "maximum context length exceeded")

    with endpoint(answer) as base:
        yield base


def early() -> list[tuple[Trajectory, Any]]:
    return [*planted(WORLD, ErrorCode.PREMATURE_STOP, TASKS), *planted(WORLD, None, TASKS)]


def test_a_model_behind_a_server_finds_what_was_planted(url: str, folder: Path) -> None:
    cases = early()
    judge = Judge(asker_of(f"reader@{url}"))
    criticized = list(judge.read((trajectory, criticize(trajectory)) for trajectory, _ in cases))
    by_code = {score.code: score for score in counted(criticized, [error for _, error in cases])}
    score = by_code[ErrorCode.PREMATURE_STOP]
    assert score.recall.total == len(TASKS)
    assert score.precision.rate >= 0.8
    assert score.recall.rate == score.exact.rate >= 0.4  # it has 0.96M parameters, and had some minutes to learn
    at_hand = Judge(asker_of(f"hf:{folder}"))
    [*local] = at_hand.read((trajectory, criticize(trajectory)) for trajectory, _ in cases[:4])
    assert local == criticized[:4]


def test_the_models_findings_are_trained_on(url: str, tmp_path: Path) -> None:
    writer = ContextWriter(AutoTokenizer.from_pretrained(TINY), model_type="qwen3")
    with Archive(tmp_path / "given.jsonl") as archive:
        for trajectory, _ in planted(WORLD, ErrorCode.PREMATURE_STOP, range(8), split="train"):
            archive.write(with_tokens(trajectory, writer).to_json())
    config = Config(
        out=tmp_path / "run",
        trajectories=tmp_path / "given.jsonl",
        critic=f"rules,judge:reader@{url}",
        rounds=1,
        rollouts=8,
        tasks=2,
        held_out_tasks=1,
        band=Band(tasks=0),
    )
    summary = Run(config).go()
    corrections = list(read_records(tmp_path / "run" / "corrections.jsonl"))
    stops = [correction for correction in corrections if "premature_stop" in correction["codes"]]
    assert len(stops) >= 3
    for correction in stops:
        [finding] = [finding for finding in correction["findings"] if finding["code"] == "premature_stop"]
        said = writer.decode([correction["plain_ids"][token] for token in finding["tokens"]])
        assert said.startswith(EARLY)
        assert correction["hint"].startswith("Reminder: not all that was asked for is done yet")
    assert summary["corrections"] == len(corrections)
    assert Critic(config.critic).codes > {ErrorCode.PREMATURE_STOP}
