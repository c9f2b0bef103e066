"""One update from anywhere: the README's example as it is shown, messages without token ids, stale rollouts, export."""

import json
import sys
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from msgspec.structs import replace

from critics import Criticized, criticize
from critics.finding import Finding
from distill.actors import actor_for, trainable
from distill.config import Config, Update
from distill.export import Export, export
from distill.learner import Learner, update
from distill.rendered import with_tokens
from distill.stale import restate
from distill.watched import watched
from envs import Archive, Trajectory, read_records
from envs.policies.hf import TINY, LocalPolicy
from envs.rollout import rollout
from tools.command import InputError

ROOT = Path(__file__).parents[1]
NO_THOUGHTS = "<think>\n\n</think>\n\n"
"""What Qwen3's form writes at the start of a last turn without reasoning; the embedded model doesn't say it."""


@pytest.fixture(scope="module")
def policy() -> LocalPolicy:
    return LocalPolicy.load("tiny")


@pytest.fixture(scope="module")
def criticized(policy: LocalPolicy) -> list[Criticized]:
    return [(trajectory, criticize(trajectory)) for trajectory in rollout(policy, "store-v0", range(6), split="train")]


def bare(criticized: Sequence[Criticized]) -> list[Criticized]:
    """The same as another program would have written it: messages, and findings about them."""
    without = [replace(trajectory, turns=()) for trajectory, _ in criticized]
    return [(trajectory, criticize(trajectory)) for trajectory in without]


def said(trajectory: Trajectory, findings: Sequence[Finding]) -> list[str]:
    """What the findings' spans hold, without the quotes that a span in JSON may have."""
    turns = [trajectory.turns[trajectory.turn_at(finding.message_index) or 0] for finding in findings]
    return [
        turn.raw[slice(*finding.span)].strip('" ').removeprefix(NO_THOUGHTS)
        for turn, finding in zip(turns, findings, strict=True)
    ]


def test_the_readmes_example_runs_as_it_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    blocks = (ROOT / "distill" / "README.md").read_text(encoding="utf-8").split("```python\n")
    [code] = [text for block in blocks if "import update" in (text := block.partition("```")[0])]
    assert len(code.splitlines()) <= 40
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(TINY)).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(TINY).save_pretrained(tmp_path)
    exec(compile(code.replace("YOUR-MODEL", str(tmp_path)), "README", "exec"), {"__name__": "example"})
    assert "1 corrections, 1 admitted" in capsys.readouterr().out


def test_messages_get_the_tokens_that_the_model_would_have_sampled(
    policy: LocalPolicy, criticized: list[Criticized]
) -> None:
    rendered, dropped = with_tokens(bare(criticized), policy.writer)
    assert not dropped
    for (ours, findings), (theirs, sampled) in zip(rendered, criticized, strict=True):
        assert not ours.token_exact
        raws = [[turn.raw.replace(NO_THOUGHTS, "") for turn in trajectory.turns] for trajectory in (ours, theirs)]
        assert raws[0] == raws[1]
        assert said(ours, findings) == said(theirs, sampled)


def test_an_update_from_messages_lowers_the_errors(policy: LocalPolicy, criticized: list[Criticized]) -> None:
    model = deepcopy(policy.model)
    figures = update(model, policy.writer.tokenizer, bare(criticized), config=Update(epochs=2))
    assert figures.admitted > 0
    assert figures.losses[-1] < figures.losses[0]
    pairs = zip(model.parameters(), policy.model.parameters(), strict=True)
    assert not all(torch.equal(one, other) for one, other in pairs)


def test_what_a_chat_form_refuses_is_counted(policy: LocalPolicy, criticized: list[Criticized]) -> None:
    [trajectory, *_] = bare(criticized)
    strange = replace(trajectory[0], messages=[{"role": "assistant", "content": ""}], id="strange")
    figures = update(deepcopy(policy.model), policy.writer.tokenizer, [(strange, [])])
    assert figures.corrections == 0


def test_stale_tokens_count_by_how_likely_they_are_to_the_student_and_at_most_twice(
    policy: LocalPolicy, criticized: list[Criticized]
) -> None:
    trajectories = [trajectory for trajectory, _ in criticized]
    own = restate(policy.model, trajectories, longest=policy.longest)
    assert own.gap < 1e-4
    ratios = [ratio for by_position in own.ratios.values() for ratio in by_position.values()]
    assert ratios == pytest.approx([1.0] * len(ratios), abs=1e-3)
    shifted = [
        replace(t, turns=tuple(replace(turn, logprobs=[score - 3 for score in turn.logprobs]) for turn in t.turns))
        for t in trajectories
    ]
    stale = restate(policy.model, shifted, longest=policy.longest)
    assert stale.gap == pytest.approx(3.0, abs=1e-3)
    assert {ratio for by_position in stale.ratios.values() for ratio in by_position.values()} == {2.0}
    assert [t.turns[0].logprobs for t in stale.trajectories] == [t.turns[0].logprobs for t in own.trajectories]

    def after(ratio: float) -> float:
        student = Learner(deepcopy(policy.model), policy.writer, Update(epochs=1, anchor=0))
        chosen = {name: dict.fromkeys(by_position, ratio) for name, by_position in own.ratios.items()}
        return student.learn(criticized, ratios=chosen)[1].losses[0]

    assert after(0.5) == pytest.approx(0.5 * after(1.0), rel=1e-4)


def test_the_figures_that_are_watched(policy: LocalPolicy, criticized: list[Criticized]) -> None:
    from random import Random

    corrections, _, _ = Learner(deepcopy(policy.model), policy.writer, Update()).prepare(criticized, Random(0))
    seen = watched(criticized, corrections)
    assert 0 < seen.entropy < 1
    assert seen.turn_tokens > 5
    assert seen.gap > 1
    assert seen.echoes == 0
    assert watched([], []).entropy == 0


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("openai:m@http://localhost:1/v1", "--rollouts-by openai:m@http"),
        ("vllm:folder", "--rollouts-by vllm:folder"),
        ("replay:f.jsonl", "--trajectories"),
        ("human", "it is no model"),
        ("habitual@0.1", "it is no model"),
    ],
)
def test_a_policy_that_can_not_be_trained_says_what_to_do(name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        trainable(name)


def test_names_of_policies_that_can(policy: LocalPolicy, tmp_path: Path) -> None:
    assert (trainable("tiny"), trainable("hf:some/model"), trainable("folder")) == ("tiny", "some/model", "folder")
    assert not actor_for(Config(out=tmp_path), policy).stale
    with pytest.raises(InputError, match="without token ids; roll it out"):
        actor_for(Config(out=tmp_path, rollouts_by="expert"), policy)
    assert actor_for(Config(out=tmp_path, rollouts_by="tiny"), policy).stale


def test_corrections_go_out_as_a_data_set(
    policy: LocalPolicy, criticized: list[Criticized], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from random import Random

    corrections, _, _ = Learner(deepcopy(policy.model), policy.writer, Update()).prepare(criticized, Random(0))
    run, out = tmp_path / "run", tmp_path / "out"
    with Archive(run / "corrections.jsonl") as archive:
        for correction in corrections:
            archive.write(correction.to_json())
    (run / "manifest.json").write_text(json.dumps({"config": {"policy": "tiny"}}))
    monkeypatch.setitem(sys.modules, "datasets", None)
    monkeypatch.setattr("distill.export.find_spec", lambda name: None)
    assert export(Export(run=run, folder=out)) == len(corrections)
    rows: list[dict[str, Any]] = list(read_records(out / "train.jsonl"))
    for row, correction in zip(rows, corrections, strict=True):
        assert correction.hint in row["hinted_text"]
        assert correction.hint not in row["plain_text"]
        assert row["turn_text"] == policy.writer.decode(correction.plain_ids[slice(*correction.target)])
    with pytest.raises(InputError, match=r"no corrections\.jsonl"):
        export(Export(run=out, folder=tmp_path / "other"))
    with pytest.raises(InputError, match="is there already"):
        export(Export(run=run, folder=out))
