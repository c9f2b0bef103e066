"""A trajectory of tens of thousands of tokens through a whole update, with and without --recompute."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from msgspec.structs import replace
from transformers import Qwen3Config, Qwen3ForCausalLM

from critics import Criticized, criticize
from distill.bench import Room
from distill.config import Update
from distill.learner import Learner
from distill.ranks import Ranks
from envs.policies.hf import LocalPolicy
from envs.rollout import rollout

ROOT = Path(__file__).parents[1]
BEHIND = 4_000
"""Tokens behind the last error, which the student need not read."""


def long_one(policy: LocalPolicy, tokens: int) -> Criticized:
    """A trajectory of the embedded model's with an error in its last turn but one, and as if long results had come."""
    tried = ((part, criticize(part)) for part in rollout(policy, "store-v0", range(64), split="train"))
    trajectory, findings = next(
        (part, found) for part, found in tried if found and part.turns[-1].message_index > found[-1].message_index
    )
    wrong = trajectory.turn_at(findings[-1].message_index)
    turns = []
    for number, turn in enumerate(trajectory.turns):
        more = (tokens if number == wrong else 0) + (BEHIND if number == len(trajectory.turns) - 1 else 0)
        filling = policy.writer.tokenizer.encode("order " * more)[:more]
        turns.append(replace(turn, prompt_ids=[*turn.prompt_ids[:1], *filling, *turn.prompt_ids[1:]]))
    return replace(trajectory, turns=tuple(turns), success=False), findings


def learn(tokens: int, *, recompute: bool) -> dict[str, Any]:
    """One update of two steps: its losses, how long the student's row was, and the most memory in a step."""
    torch.manual_seed(0)
    policy = LocalPolicy.load("tiny")
    heads = {"num_hidden_layers": 6, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32}
    sizes = {"vocab_size": policy.model.config.vocab_size, "hidden_size": 64, "intermediate_size": 256}
    model = Qwen3ForCausalLM(Qwen3Config(**sizes, **heads, max_position_embeddings=2**18)).eval()
    update = Update(teacher="live", admit=float("inf"), anchor=0, epochs=2, learning_rate=1e-2, recompute=recompute)
    student = Learner(model, policy.writer, update, ranks=Ranks(cpu=True))
    trajectory, findings = long_one(policy, tokens)
    rows: list[int] = []
    model.get_decoder().register_forward_pre_hook(
        lambda _, given, named: rows.append(named["input_ids"].shape[1]), with_kwargs=True
    )
    room = Room()
    _, figures = student.learn([(trajectory, findings)])
    whole = sum(len(turn.prompt_ids) + len(turn.token_ids) for turn in trajectory.turns)
    return {"losses": figures.losses, "whole": whole, "longest": max(rows), "peak": room.peak()}


@pytest.mark.slow
def test_an_update_on_a_long_trajectory_is_cut_and_recomputing_saves_memory_and_changes_nothing() -> None:
    kept, again = (
        json.loads(
            subprocess.run(
                [sys.executable, "-c", f"import json; from tests.test_long import learn; print(json.dumps({call}))"],
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
        for call in ("learn(32_768, recompute=False)", "learn(32_768, recompute=True)")
    )
    print(kept, again)
    for said in (kept, again):
        assert 32_768 < said["longest"] <= said["whole"] - BEHIND
        assert len(said["losses"]) == 2
        assert said["losses"][0] != said["losses"][1]
    assert again["losses"] == pytest.approx(kept["losses"], rel=1e-4)
    assert again["peak"] < 0.6 * kept["peak"]
    assert again["peak"] < 32_768**2  # a mask alone would take that
