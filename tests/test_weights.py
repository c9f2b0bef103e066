"""Where a model's weights come from: a folder, the hub's cache, and new ones for a policy that acts already."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from envs.policies import load_policy
from envs.policies.hf import TINY, LocalPolicy
from envs.policies.loading import load_model
from envs.policies.untied import shapes, untied
from envs.rollout import rollout
from tools.command import InputError


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, which can't be reached."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path


def tokens_and_scores(policy: Any, tasks: int = 3) -> list[Any]:
    trajectories = rollout(policy, "store-v0", range(tasks))
    return [(turn.token_ids, turn.logprobs) for trajectory in trajectories for turn in trajectory.turns]


def test_a_hub_name_is_found_in_the_cache(cache: Path) -> None:
    snapshots = cache / "models--someone--tiny"
    (snapshots / "refs").mkdir(parents=True)
    (snapshots / "refs" / "main").write_text("0" * 40)
    (snapshots / "snapshots").mkdir()
    (snapshots / "snapshots" / ("0" * 40)).symlink_to(TINY)
    policy = load_policy("hf:someone/tiny", temperature=0.5)
    assert isinstance(policy, LocalPolicy)
    assert policy.name == "someone/tiny@0.5"
    assert policy.folder == snapshots / "snapshots" / ("0" * 40)


def test_a_hub_name_that_is_nowhere_is_said_to_be(cache: Path) -> None:
    with pytest.raises(InputError, match="no folder someone/else, and no model of that name on the hub: it is not in"):
        load_policy("hf:someone/else")


@pytest.mark.parametrize("name", ["tinny", "hf:tinny", "vllm:tinny"])
def test_a_mistyped_name_is_not_looked_for_on_the_hub(name: str) -> None:
    with pytest.raises(InputError, match="did you mean 'tiny'"):
        load_policy(name)


def test_only_what_is_said_to_be_a_model_is_looked_for_on_the_hub() -> None:
    with pytest.raises(InputError, match="no folder of that path"):
        load_policy("runs/nowhere")


def test_vllm_where_there_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("envs.policies.engine.is_installed", lambda: False)
    with pytest.raises(InputError, match=r"hintsight\[vllm\]"):
        load_policy("vllm:tiny")


def test_new_weights_are_those_of_a_fresh_policy(tmp_path: Path) -> None:
    model, tokenizer = load_model("tiny")
    torch.manual_seed(1)
    with torch.no_grad():
        for part in model.parameters():
            part.add_(0.2 * torch.randn_like(part) * part.std())
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    policy = LocalPolicy.load("tiny")
    old, trained = tokens_and_scores(policy), policy.model
    policy.reload(tmp_path)
    new = tokens_and_scores(policy)
    assert new != old
    assert new == tokens_and_scores(LocalPolicy.load(tmp_path))
    assert policy.model is not trained
    policy.reload("tiny")
    assert tokens_and_scores(policy) == old


def test_another_model_has_no_weights_for_this_one(tmp_path: Path) -> None:
    model, tokenizer = load_model("tiny")
    model.resize_token_embeddings(len(tokenizer) + 8)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    policy = LocalPolicy.load("tiny")
    before = policy.model
    with pytest.raises(InputError, match="another model than the one that acts: it has another shape"):
        policy.reload(tmp_path)
    assert policy.model is before


@pytest.mark.parametrize("shard", ["10MB", "1MB"])
def test_tied_embeddings_are_spelt_out_without_a_copy_of_the_rest(tmp_path: Path, shard: str) -> None:
    model, tokenizer = load_model("tiny")
    model.save_pretrained(tmp_path / "tied", max_shard_size=shard)
    tokenizer.save_pretrained(tmp_path / "tied")
    folder = untied(tmp_path / "tied", tmp_path / "untied")
    assert json.loads((folder / "config.json").read_text())["tie_word_embeddings"] is False
    own = [file for file in folder.glob("*.safetensors") if not file.is_symlink()]
    assert [list(load_file(file)) for file in own] == [["lm_head.weight"]]
    assert shapes(folder).keys() - shapes(tmp_path / "tied").keys() == {"lm_head.weight"}
    assert untied(folder, tmp_path / "again") == folder
    if shard == "1MB":  # with an index, transformers reads all files too
        loaded = AutoModelForCausalLM.from_pretrained(folder)
        assert loaded.lm_head.weight is not loaded.model.embed_tokens.weight
        ids = torch.tensor([[1, 2, 3]])
        assert torch.equal(loaded.eval()(ids).logits, model(ids).logits)


def test_tied_embeddings_of_an_unknown_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text((TINY / "config.json").read_text())
    with pytest.raises(InputError, match=r"no weights in it are called embed_tokens\.weight"):
        untied(tmp_path / "model", tmp_path / "untied")
