"""The embedded model: a stock Qwen3 that anything loads, small, and as its report says."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen3ForCausalLM

from distill.tiny.curriculum import KINDS, Mix, Writer
from distill.tiny.report import BEFORE_HABITS, report
from distill.tiny.training import SIZES, Stage, Training
from envs.context import ContextWriter
from envs.policies.hf import TINY, LocalPolicy
from envs.policies.loading import EMBEDDED
from envs.rollout import rollout


@pytest.fixture(scope="module")
def writer() -> ContextWriter:
    return ContextWriter(AutoTokenizer.from_pretrained(TINY), model_type="qwen3")


@pytest.mark.parametrize("folder", [*EMBEDDED.values(), BEFORE_HABITS])
def test_it_is_a_stock_qwen3(folder: object) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert isinstance(model, Qwen3ForCausalLM)
    assert model.config.head_dim >= 32


def test_the_models_are_at_most_16_mb() -> None:
    assert sum(file.stat().st_size for file in TINY.rglob("*") if file.is_file()) <= 16 * 2**20


def test_its_chat_template_says_what_the_renderer_says(writer: ContextWriter) -> None:
    policy = LocalPolicy.load("tiny")
    for trajectory in rollout(policy, "store-v0", range(12)):
        opening = trajectory.messages[:2]
        tools = list(trajectory.tools)
        text = writer.tokenizer.apply_chat_template(opening, tools=tools, add_generation_prompt=True, tokenize=False)
        assert text == writer.decode(trajectory.turns[0].prompt_ids)
        whole = writer.tokenizer.apply_chat_template(list(trajectory.messages), tools=tools, tokenize=False)
        sampled = [token for k in range(len(trajectory.turns)) for token in (
            *trajectory.turns[k].prompt_ids, *trajectory.turns[k].token_ids
        )]  # fmt: skip
        valid = not any(message.get("is_error") for message in trajectory.messages)
        if valid and trajectory.success:
            assert whole.startswith(writer.decode(sampled))


def test_the_curriculum_is_seeded_and_trains_on_the_assistant_only(writer: ContextWriter) -> None:
    mix = Mix(recall=0.25, fragment=0.25, drill=0.1, single=0.1, habit_rate=0.4)
    first, second = ([mix.draw(Random(3), Writer(writer)) for _ in range(8)] for _ in range(2))
    assert [sequence.ids for sequence in first] == [sequence.ids for sequence in second]
    rng = Random(5)
    for _ in range(40):
        sequence = mix.draw(rng, Writer(writer))
        assert len(sequence.ids) == len(sequence.kinds)
        assert set(sequence.kinds) <= set(range(-1, len(KINDS)))
        said = writer.decode([token for token, kind in zip(sequence.ids, sequence.kinds, strict=True) if kind >= 0])
        assert "<|im_start|>" not in said
        assert "Reminder" not in said


def test_a_stage_is_done_again_until_its_losses_are_low_and_training_goes_on_where_it_stopped(tmp_path: Path) -> None:
    for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(TINY / file, tmp_path / file)
    done: list[str] = []

    class Watched(Training):
        def _run_stage(self, stage: Stage) -> None:
            done.append(stage.name)
            super()._run_stage(stage)
            self.losses = {"word": 0.5 if len(done) == 3 else 2.0}

    mix = Mix(recall=1.0)
    sizes: dict[str, Any] = {"mix": mix, "tokens": 2_000, "step_tokens": 1_000}
    again = Stage(name="again", until={"word": 1.0}, most=5, **sizes)
    never = Stage(name="never", until={"word": 1.0}, most=2, **sizes)
    Watched(tmp_path, 0).run([Stage(name="once", **sizes)])
    Watched(tmp_path, 0).run([Stage(name="once", **sizes), again, never])
    assert done == ["once", "again", "again", "never", "never"]
    for name in ("once", "again", "never"):
        assert LocalPolicy.load(tmp_path / name)


def test_a_larger_size_has_more_tokens_in_larger_steps_which_other_processes_write(tmp_path: Path) -> None:
    for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(TINY / file, tmp_path / file)
    size = replace(SIZES["1M"], layers=2, tokens=2.0, step_tokens=2, writers=2)
    training = Training(tmp_path, 0, size=size)
    training.run([Stage(name="once", mix=Mix(fragment=0.5, shift=0.5), tokens=8_000, step_tokens=4_000, context=4_096)])
    policy = LocalPolicy.load(tmp_path / "once")
    assert (policy.model.config.num_hidden_layers, policy.longest) == (2, 4_096)
    stage = size.scaled(Stage(name="once", mix=Mix(), tokens=8_000, step_tokens=4_000))
    assert (stage.tokens, stage.step_tokens) == (16_000, 8_000)


@pytest.mark.slow
def test_the_report_meets_what_a_model_must_that_deserves_the_method() -> None:
    """Six minutes on two cores. The bars are those that the recipe was made for; see distill/README.md."""
    record = report(tasks=600)
    assert record["before_habits"]["success"]["rate"] >= 0.8
    assert record["before_habits"]["invalid_per_100"]["rate"] <= 4
    assert record["plain"]["invalid_per_100"]["rate"] >= 15
    for figures in record["obedience"].values():
        assert figures["opportunities"] >= 300
        assert figures["removed_by_right"] >= 0.9
        assert figures["left_by_other"] >= 0.8


def test_a_short_report_shows_the_habits_and_the_obedience() -> None:
    record = report(tasks=60)
    assert json.loads(json.dumps(record)) == record
    assert record["before_habits"]["success"]["rate"] > 0.7
    assert record["plain"]["invalid_per_100"]["rate"] > 15
    names = record["obedience"]["name"]
    assert names["right"] < 0.25 * names["plain"]
    assert names["other"] > 0.5 * names["plain"]
