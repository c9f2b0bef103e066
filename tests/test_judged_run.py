"""A judge's findings become gradient: the whole path from a server's words to the tokens that are trained on."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from critics import read_findings
from critics.judge import JUDGE_CODES
from distill.config import Band, Config
from distill.run import Run
from envs import Archive, read_records, read_trajectories
from envs.policies.hf import TINY, LocalPolicy
from tests.chat_endpoint import endpoint
from tests.scripted_judge import error
from tests.test_judge import no_proxy  # noqa: F401
from tools import INVALID_CALL_CODES
from tools.command import InputError


def strict(body: Mapping[str, Any]) -> str:
    """A judge for whom the last turn that it is asked about answers too early."""
    text = body["messages"][1]["content"]
    number = int(text.rsplit(" ", 1)[1].rstrip("."))
    turn = text[text.index(f"Turn {number}:\n") :]
    quote = turn.split("\n")[2][:12]
    code = "misread_result" if "tool_call" in quote else "premature_stop"
    return json.dumps({"errors": [error(code, number, None, quote)]})


SMALL = "--seed 3 --rounds 1 --rollouts 8 --tasks 2 --held-out-tasks 1 --band.tasks 0".split()


def small(out: Path, **options: Any) -> Config:
    sizes: dict[str, Any] = {"rounds": 1, "rollouts": 8, "tasks": 2, "held_out_tasks": 1, "band": Band(tasks=0)}
    return Config(out=out, **{"seed": 3, **sizes, **options})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run by the command, whose judge says something of every trajectory."""
    out = tmp_path_factory.mktemp("runs") / "judged"
    with endpoint(strict) as url:
        command = [sys.executable, "-m", "distill", "--out", str(out), "--critic", f"rules,judge:strict@{url}", *SMALL]
        finished = subprocess.run(command, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    for said in ("premature_stop", "judge: ", "answers from the cache", "tokens in"):
        assert said in finished.stdout
    return out


def test_what_a_judge_found_is_trained_on(run: Path) -> None:
    judged = {
        (id_, finding.message_index, finding.span)
        for id_, findings in read_findings(run / "findings.jsonl")
        for finding in findings
        if finding.code in JUDGE_CODES
    }
    corrections = list(read_records(run / "corrections.jsonl"))
    codes = {code for correction in corrections for code in correction["codes"]}
    assert codes & JUDGE_CODES
    assert codes & INVALID_CALL_CODES
    tokenizer = AutoTokenizer.from_pretrained(TINY)
    texts = {
        (trajectory.id, turn.message_index): turn.raw
        for trajectory in read_trajectories(run / "trajectories.jsonl")
        for turn in trajectory.turns
    }
    bound = 0
    for correction in corrections:
        for finding in correction["findings"]:
            if finding["code"] not in JUDGE_CODES:
                continue
            place = correction["id"], correction["message_index"]
            assert (*place, tuple(finding["span"])) in judged
            said = tokenizer.decode([correction["plain_ids"][token] for token in finding["tokens"]])
            marked = texts[place][slice(*finding["span"])]
            assert marked.strip() in said  # a token may reach over the span's end
            bound += 1
    assert bound >= 3
    trained, start = LocalPolicy.load(run / "checkpoint"), LocalPolicy.load("tiny")
    pairs = zip(trained.model.parameters(), start.model.parameters(), strict=True)
    assert any(not after.equal(before) for after, before in pairs)


def test_the_run_says_who_judged_and_what_it_cost(run: Path) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["config"]["critic"].startswith("rules,judge:strict@http://127.0.0.1:")
    [metrics] = read_records(run / "metrics.jsonl")
    assert metrics["critic"]["judge"]["windows"] >= 8
    assert metrics["critic"]["tokens"][0] == 100 * metrics["critic"]["judge"]["windows"]
    assert len(list(read_records(run / "judge.jsonl"))) == metrics["critic"]["judge"]["windows"]


def test_a_judges_findings_in_a_file_are_trained_on_where_that_is_asked_for(run: Path, tmp_path: Path) -> None:
    given = {"trajectories": run / "trajectories.jsonl", "findings": run / "findings.jsonl", "dry_run": True}
    trained = {}
    for critic in ("rules", "rules,judge", "judge"):
        out = tmp_path / critic
        Run(small(out, critic=critic, **given)).go()
        trained[critic] = {
            finding["code"]
            for correction in read_records(out / "corrections.jsonl")
            for finding in correction["findings"]
        }
    assert trained["rules"] <= INVALID_CALL_CODES
    assert trained["judge"] <= JUDGE_CODES
    assert trained["rules,judge"] == trained["rules"] | trained["judge"]


def test_a_hint_from_outside_that_gives_the_right_path_away_is_refused(run: Path, tmp_path: Path) -> None:
    from critics.gold import gold_values, leaked

    known = dict(read_findings(run / "findings.jsonl"))
    records, refused = [], 0
    for trajectory in read_trajectories(run / "trajectories.jsonl"):
        findings = []
        for finding in known[trajectory.id]:
            record = finding.to_json()
            for value in gold_values(trajectory):
                if finding.code in INVALID_CALL_CODES and leaked(
                    f"Reminder: {value}.", trajectory, finding.message_index
                ):
                    record["hint"] = f"Reminder: {value}."
                    refused += 1
                    break
            findings.append(record)
        records.append({"id": trajectory.id, "findings": findings})
    with Archive(tmp_path / "findings.jsonl") as archive:
        for record in records:
            archive.write(record)
    assert refused
    given = {"trajectories": run / "trajectories.jsonl", "findings": tmp_path / "findings.jsonl", "dry_run": True}
    summary = Run(small(tmp_path / "run", **given)).go()
    assert 0 < summary["dropped"]["the hint says what only the right path knows"] <= refused


def test_a_critic_that_is_none_ends_the_run_before_it_begins(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected rules, judge"):
        Run(small(tmp_path / "run", critic="rulez"))
    assert not (tmp_path / "run").exists()
