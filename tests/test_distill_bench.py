"""The benchmark: ways that agree, figures that are there, and nothing needed but torch and transformers."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from distill.bench import main, parameters, sizes

SMALL = ["--model", "random:200K", "--tokens", "200", "--errors", "3", "--hint-tokens", "5", "--turn-tokens", "10"]
FORBIDDEN = (
    "pydantic",
    "tyro",
    "rich",
    "gymnasium",
    "jsonschema",
    "accelerate",
    "renderers",
    "tools",
    "envs",
    "critics",
)


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    """As another program sees them: from a process that has nothing but what is needed."""
    blocked = f"import sys; sys.modules.update(dict.fromkeys({FORBIDDEN}))"
    code = f"{blocked}; from distill.bench import main; main({[*SMALL, '--repeats', '1', '--json']})"
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "random:200K, " in done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def test_a_row_for_each_way_says_what_it_costs(rows: list[dict[str, Any]]) -> None:
    methods = [row["method"] for row in rows]
    assert len(methods) == len(set(methods)) == 13
    for row in rows:
        assert (row["tokens"], row["errors"]) == (200, 3)
        assert row["seconds"] > 0
        assert row["relative"] == pytest.approx(row["seconds"] / rows[0]["seconds"])
        assert {"peak_bytes", "max_abs_diff"} < row.keys()


def test_all_ways_agree_with_the_naive_one(rows: list[dict[str, Any]]) -> None:
    apart = {row["method"]: row["max_abs_diff"] for row in rows}
    said = {method for method, difference in apart.items() if difference is not None}
    assert {method for method in apart if method not in said} == {
        "plain forward and backward",
        "loss alone: logits whole",
        "loss alone: logits in chunks",
    }
    assert max(apart[method] for method in said) < 1e-5


def test_some_ways_may_be_measured_alone(capsys: pytest.CaptureFixture[str]) -> None:
    main([*SMALL, "--only", "chunks,whole", "--vocabulary", "1000", "--repeats", "1"])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("loss alone")]
    assert len(lines) == 2


def test_a_detached_prefix_says_how_far_its_gradient_is_off(rows: list[dict[str, Any]]) -> None:
    (cosine,) = (row["gradient_cosine"] for row in rows if "gradient_cosine" in row)
    assert 0 < cosine < 1


def test_the_table_is_a_command_of_distill(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from distill.__main__ import main as distill

    monkeypatch.setattr(sys, "argv", ["distill", "bench", *SMALL, "--repeats", "0", "--recompute"])
    distill()
    shown = capsys.readouterr().out
    assert "200 tokens, 3 errors" in shown
    assert "gradient cosine" in shown
    assert "times cheaper than naive" in shown


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--tokens", "20"], "don't fit"),
        (["--errors", "0"], "from 1"),
        (["--model", "random:many"], "a size like random:100M"),
        (["--model", "nowhere"], "no model folder"),
    ],
)
def test_what_can_not_be_measured_is_refused(wrong: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(wrong)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("name", ["random:5M", "random:100M", "random:0.5B", "random:4B"])
def test_a_random_model_is_about_as_large_as_it_was_asked_to_be(name: str) -> None:
    config = sizes(parameters(name))
    counted = (
        config["vocab_size"] * config["hidden_size"] + 12 * config["num_hidden_layers"] * config["hidden_size"] ** 2
    )
    assert 0.7 < counted / parameters(name) < 1.4
    assert config["num_attention_heads"] % config["num_key_value_heads"] == 0


def test_beside_trl_says_how_to_get_trl_where_it_is_not(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from distill import beside_trl

    monkeypatch.setattr(beside_trl, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as ended:
        beside_trl.main([])
    assert ended.value.code == 2
    assert "trl and jinja2 not installed here; `make bench-trl`" in capsys.readouterr().err


def test_trl_is_given_the_tokens_of_our_correction() -> None:
    from distill.beside_trl import corrections
    from distill.prefill import Branch, Trunk

    trunk = Trunk([5, 6, 7, 8, 9], [3, 4], [Branch(3, [2, 3, 8, 9], [5, 6])])
    assert corrections(trunk) == ([{"prompt": "<5> <6> <7>", "privileged_context": "<2> <3>"}], [[8, 9]])
