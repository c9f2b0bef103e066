"""What stands beside a correction to be looked at: its tokens' texts, and what else was likely at the error."""

from dataclasses import replace
from math import exp
from random import Random

import pytest
import torch

from critics import criticize
from distill import alternatives
from distill.alternatives import TOP, with_alternatives
from distill.config import Update
from distill.correction import Correction
from distill.learner import Learner
from distill.teacher import Reader
from envs.policies.hf import LocalPolicy
from envs.rollout import rollout


@pytest.fixture(scope="module")
def prepared() -> tuple[LocalPolicy, list[Correction]]:
    policy = LocalPolicy.load("tiny")
    parts = [(part, criticize(part)) for part in rollout(policy, "store-v0", range(8), split="train")]
    student = Learner(policy.model, policy.writer, Update())
    return policy, student.prepare(parts, Random(0))[0]


def test_pieces_are_the_turn_token_by_token(prepared: tuple[LocalPolicy, list[Correction]]) -> None:
    policy, corrections = prepared
    assert corrections
    for correction in corrections:
        ids = correction.plain_ids[slice(*correction.target)]
        assert len(correction.pieces) == len(ids)
        assert "".join(correction.pieces) == policy.writer.decode(ids)


def test_alternatives_are_the_likeliest_tokens_of_whole_forward_passes(
    prepared: tuple[LocalPolicy, list[Correction]],
) -> None:
    policy, corrections = prepared
    for correction in corrections:
        found = correction.alternatives
        assert found is not None
        assert found.token in correction.error_tokens
        sides = (
            (correction.plain_ids, found.token, found.student),
            (
                correction.hinted_ids,
                found.token + correction.shift,
                found.teacher,
            ),
        )
        for ids, position, side in sides:
            with torch.no_grad():
                logprobs_V = policy.model(input_ids=torch.tensor([ids])).logits[0, position - 1].log_softmax(-1)
            top = logprobs_V.topk(TOP)
            assert [part.text for part in side] == [policy.writer.decode([token]) for token in top.indices.tolist()]
            assert [exp(part.logprob) for part in side] == pytest.approx(top.values.exp().tolist(), abs=1e-4)


def test_only_the_first_corrections_of_a_round_get_them(
    prepared: tuple[LocalPolicy, list[Correction]], monkeypatch: pytest.MonkeyPatch
) -> None:
    policy, corrections = prepared
    monkeypatch.setattr(alternatives, "MOST", 2)
    bare = [replace(part, alternatives=None, pieces=()) for part in corrections]
    shown = with_alternatives(policy.model, Reader(policy.model), policy.writer, bare)
    assert [part.pieces for part in shown] == [part.pieces for part in corrections]
    assert [part.alternatives is not None for part in shown] == [place < 2 for place in range(len(bare))]
