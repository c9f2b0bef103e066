"""Rows, batches that don't fit, and the numbers that must not move; with the embedded model."""

import hashlib
import json
import logging
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
import torch

from envs import Trajectory, make
from envs.policies import Context
from envs.policies.bench import BenchPolicy
from envs.policies.hf import LocalPolicy, Sampling
from envs.policies.rows import Rows
from envs.rollout import rollout
from tools import InfrastructureFault


@pytest.fixture(scope="module")
def tiny() -> LocalPolicy:
    return LocalPolicy.load("tiny")


def of(tiny: LocalPolicy, **sampling: Any) -> LocalPolicy:
    return LocalPolicy("tiny", tiny.model, tiny.writer.tokenizer, Sampling(**sampling))


def tokens_of(trajectories: Sequence[Trajectory]) -> dict[str, list[list[list[int]]]]:
    return {
        trajectory.id: [[list(turn.prompt_ids), list(turn.token_ids)] for turn in trajectory.turns]
        for trajectory in trajectories
    }


def test_rollouts_are_those_of_the_published_figures(tiny: LocalPolicy) -> None:
    """The digest changes with the shipped model, and with nothing else."""
    trajectories = list(rollout(tiny, "store-v0", range(8), batch=4))
    tokens = [[key, turns] for key, turns in tokens_of(trajectories).items()]
    assert hashlib.sha256(json.dumps(tokens).encode()).hexdigest()[:16] == "be964cd9b4b57dc6"
    logprobs = [logprob for trajectory in trajectories for turn in trajectory.turns for logprob in turn.logprobs]
    assert len(logprobs) == 732
    assert sum(logprobs) == pytest.approx(-32.733063, abs=1e-3)


@pytest.mark.parametrize("batch", [1, 5])
def test_rows_give_what_a_pass_over_the_whole_context_gives(tiny: LocalPolicy, batch: int) -> None:
    for trajectory in rollout(tiny, "store-v0", range(5), batch=batch):
        for number, turn in enumerate(trajectory.turns):
            before = trajectory.prompt_ids(number)
            scores = plain(tiny, [*before, *turn.token_ids])[len(before) - 1 : -1].log_softmax(-1)
            expected = scores.gather(-1, torch.tensor(turn.token_ids)[:, None])[:, 0].tolist()
            assert turn.logprobs == pytest.approx(expected, abs=1e-4)


def plain(tiny: LocalPolicy, ids: Sequence[int]) -> torch.Tensor:
    """Logits [T, V] of one pass, with nothing kept."""
    with torch.inference_mode():
        logits_TV: torch.Tensor = tiny.model(torch.tensor([list(ids)])).logits[0]
    return logits_TV


def opened(seed: int) -> Context:
    env = make("store-v0", split="test")
    opening, info = env.reset(seed=seed)
    return Context(env=env, messages=[*opening], tools=info["tools"], rng=Random(seed))


def take_turn(policy: LocalPolicy, contexts: Sequence[Context]) -> None:
    for context, reply in zip(contexts, policy.act(contexts), strict=True):
        assert reply.turn is not None
        context.turns.append(reply.turn)
        results = context.env.step(reply.message)[0]
        context.messages += [reply.message, *(results or [{"role": "user", "content": "Are you sure?"}])]


def close(contexts: Sequence[Context]) -> None:
    for context in contexts:
        context.env.close()


def test_contexts_leave_and_join_at_any_turn(tiny: LocalPolicy) -> None:
    policy = of(tiny, max_new_tokens=24)
    contexts = [opened(seed) for seed in range(6)]
    for present in ([0, 1, 2], [2, 0, 3], [3, 4, 5, 2], [5], [1, 5, 0]):
        take_turn(policy, [contexts[number] for number in present])
    alone = [opened(seed) for seed in range(6)]
    for context, other in zip(alone, contexts, strict=True):
        for _ in other.turns:
            take_turn(policy, [context])
        assert [turn.token_ids for turn in context.turns] == [turn.token_ids for turn in other.turns]
        assert [turn.prompt_ids for turn in context.turns] == [turn.prompt_ids for turn in other.turns]
    close([*contexts, *alone])


def test_rollouts_refill_a_batch_where_contexts_may_join(tiny: LocalPolicy) -> None:
    sizes: list[int] = []

    class Watched(LocalPolicy):
        def act(self, contexts: Sequence[Context]) -> Any:
            sizes.append(len(contexts))
            return super().act(contexts)

    policy = Watched("tiny", tiny.model, tiny.writer.tokenizer)
    policy.joins = True
    joined = list(rollout(policy, "store-v0", range(9), batch=3))
    assert dict(sorted(tokens_of(joined).items())) == tokens_of(list(rollout(tiny, "store-v0", range(9), batch=9)))
    assert sizes == sorted(sizes, reverse=True)
    assert sum(size == 3 for size in sizes) > sum(size < 3 for size in sizes)


@torch.inference_mode()
@pytest.mark.parametrize("lengths", [(3, 40), (40, 3), (3, 40, 9, 300, 2, 90), (90, 40, 20)])
def test_logits_come_in_the_rows_order(tiny: LocalPolicy, lengths: Sequence[int]) -> None:
    prompts = [[2, *range(10, 10 + length)] for length in lengths]
    logits_BV = Rows(tiny.model, prompts).prefill(prompts)
    assert torch.allclose(logits_BV, torch.stack([plain(tiny, ids)[-1] for ids in prompts]), atol=1e-3)


@torch.inference_mode()
def test_finished_rows_take_no_part_and_keep_their_columns(tiny: LocalPolicy) -> None:
    """Rows are left out in an order that makes others move; a row that comes back has what it had."""
    said = [[2, *range(10, 10 + length)] for length in (3, 9, 1, 30, 12, 5)]
    rows = Rows(tiny.model, [object() for _ in said])
    rows.prefill(said)
    widths = []
    forward = tiny.model.forward

    def watched(*args: Any, **kwargs: Any) -> Any:
        widths.append(len(kwargs["input_ids"]))
        return forward(*args, **kwargs)

    for going in ([0, 1, 2, 3, 4, 5], [1, 3, 4, 5], [4, 5], [5]):
        for row in going:
            said[row].append(40 + row)
        tiny.model.forward = watched
        logits_RV = rows.append([40 + row for row in going], going)
        tiny.model.forward = forward
        assert torch.allclose(logits_RV, torch.stack([plain(tiny, said[row])[-1] for row in going]), atol=1e-3)
    assert widths == [6, 6, 2, 1]
    more = [[7], [8, 9], [10], [11], [12, 13, 14], [15]]
    said = [[*ids, *new] for ids, new in zip(said, more, strict=True)]
    assert torch.allclose(rows.prefill(more), torch.stack([plain(tiny, ids)[-1] for ids in said]), atol=1e-3)
    assert rows.lengths == [len(ids) for ids in said]


class Narrow(LocalPolicy):
    """Has no memory for more than so many rows."""

    room = 2

    def _together(self, contexts: Any, heard: Any) -> Any:
        if len(contexts) > self.room:
            contexts[0].rng.random()
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: ...")
        return super()._together(contexts, heard)


def test_out_of_memory_makes_the_batch_smaller_and_is_said_once(
    tiny: LocalPolicy, caplog: pytest.LogCaptureFixture
) -> None:
    policy = Narrow("narrow", tiny.model, tiny.writer.tokenizer)
    with caplog.at_level(logging.WARNING):
        narrow = list(rollout(policy, "store-v0", range(6), batch=5))
    assert tokens_of(narrow) == tokens_of(list(rollout(tiny, "store-v0", range(6), batch=5)))
    assert [record.getMessage() for record in caplog.records] == [
        "narrow: out of memory; going on with a batch of 3 or less"
    ]
    assert policy.largest_batch == 2


def test_a_conversation_that_fits_nowhere_is_a_fault_and_another_error_is_none(
    tiny: LocalPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = Narrow("narrow", tiny.model, tiny.writer.tokenizer)
    monkeypatch.setattr(policy, "room", 0)
    (trajectory,) = rollout(policy, "store-v0", [0])
    assert trajectory.stop_reason == "infrastructure_fault"
    assert "out of memory with a single conversation" in trajectory.fault
    context = opened(0)
    with pytest.raises(InfrastructureFault):
        policy.act([context])
    monkeypatch.setattr(LocalPolicy, "_sample", lambda *_: (_ for _ in ()).throw(RuntimeError("a bug")))
    with pytest.raises(RuntimeError, match="a bug"):
        of(tiny).act([context])
    close([context])


def test_a_context_without_room_ends_its_own_episode(tiny: LocalPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = of(tiny)
    contexts = [opened(seed) for seed in range(4)]
    lengths = sorted(len(tiny.writer.first(context.messages, context.tools)) for context in contexts)
    monkeypatch.setattr(policy, "longest", lengths[1])
    replies = policy.act(contexts)
    assert sum(reply.turn is None for reply in replies) == 3
    for reply in replies:
        assert reply.too_long == (reply.turn is None)
    stops = {trajectory.stop_reason for trajectory in rollout(policy, "store-v0", range(4))}
    assert stops == {"token_limit"}
    close(contexts)


def test_the_benchmark_measures_all_ways_in_one_run(capsys: pytest.CaptureFixture[str]) -> None:
    BenchPolicy(n=2, batch=2, repeats=1, json=True)()
    record = json.loads(capsys.readouterr().out)
    assert min(record["tokens_per_s"], record["generate_tokens_per_s"]) > 0
    assert 0 < record["outside_model_share"] < 1
    BenchPolicy(n=1, batch=1, repeats=1)()
    assert "generate, first prompts" in capsys.readouterr().out
