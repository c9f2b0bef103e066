"""Leaderboards through the command line: policies that are tried first, suites, bars, what it cost, and other forms."""

import csv
import html
import io
import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from envs import Archive, read_trajectories
from envs.manifest import read_manifest
from envs.policies import ExpertPolicy
from envs.rollout import rollout
from eval.__main__ import main
from eval.leaderboard import leaderboards
from eval.running import Trial
from tests.chat_endpoint import Answer, endpoint
from tools.command import InputError

FORMS = ("--json", "--csv", "--markdown", "--html")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where two policies were tried, four times on each of five tasks."""
    folder = tmp_path_factory.mktemp("out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", io.StringIO())
        main(asked(folder))
    return folder


def asked(out: Path, *more: str, tasks: int = 5, k: int = 4) -> list[str]:
    policies = ["--policy", "expert", "--policy", "habitual"]
    return ["--env", "store-v0", *policies, "--tasks", str(tasks), "-k", str(k), "--out", str(out), *more]


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[str, str]:
    main(arguments)
    done = capsys.readouterr()
    return done.out, done.err


def refused(*arguments: str) -> str:
    with pytest.raises(InputError) as error:
        main(arguments)
    return str(error.value)


def rows_of(text: str) -> dict[str, dict[str, Any]]:
    [board] = json.loads(text)["leaderboards"]
    return {row["policy"]: row for row in board["rows"]}


def test_nothing_is_done_twice(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = sorted(path for path in out.rglob("*") if path.is_file())
    assert [path.name for path in files if path.suffix == ".jsonl"] == ["expert.jsonl", "habitual.jsonl"]
    before = {path: path.read_bytes() for path in files}
    first, told = said(capsys, *asked(out))
    assert told.count("0 trajectories (20 skipped: already there)") == 2
    assert "0.0/s" not in told
    assert {path: path.read_bytes() for path in files} == before
    assert said(capsys, *asked(out))[0] == first


def test_only_what_is_asked_for_counts(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fewer = rows_of(said(capsys, *asked(out, "--json", tasks=3, k=2))[0])
    fresh = rows_of(said(capsys, *asked(tmp_path, "--json", tasks=3, k=2))[0])
    for policy, row in fewer.items():
        assert (row["tasks"], row["different_tasks"]) == (6, 3)
        assert list(row["passes"]) == ["1", "2"]
        assert {**row, "files": {}} == {**fresh[policy], "files": {}}


def test_an_interrupted_trial_goes_on(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(asked(tmp_path, tasks=2))
    path = tmp_path / "store-v0" / "test" / "habitual.jsonl"
    path.write_bytes(path.read_bytes()[:-100])
    capsys.readouterr()
    text, told = said(capsys, *asked(tmp_path, "--json"))
    assert "13 trajectories (7 skipped: already there)" in told
    assert len(list(read_trajectories(path))) == 20
    whole = rows_of(said(capsys, *asked(out, "--json"))[0])
    figures = rows_of(text)["habitual"]
    assert figures["codes"] == whole["habitual"]["codes"]


def test_the_command_below_a_table_prints_it_again(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, _ = said(capsys, *asked(out, "--by", "turn", tasks=3, k=2))
    command = next(line for line in text.splitlines() if "python -m eval " in line).partition("python -m eval ")[2]
    assert said(capsys, *shlex.split(command))[0] == text
    assert "seeds 0 to 4, sampling seeds 0 to 3, commit" in text


def test_worlds_and_splits_have_tables_of_their_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--env", "store-v0", "--env", "store-v1", "--split", "test", "--split", "held_out"]
    text, _ = said(capsys, *where, "--policy", "expert", "--tasks", "2", "--out", str(tmp_path), "--json")
    boards = [(board["env"], board["split"]) for board in json.loads(text)["leaderboards"]]
    assert boards == [(env, split) for env in ("store-v0", "store-v1") for split in ("test", "held_out")]


def test_odd_names_make_different_files_below_the_folder(tmp_path: Path) -> None:
    names = ["runs/a/checkpoint", "runs-a/checkpoint", "../x", "..", "a b", "a_b", "é" * 300, "openai:m/n@http://h/v1"]
    trial = Trial(envs=["../w"], policies=names, out=tmp_path)
    paths = [rollout.out.resolve() for rollout in trial.rollouts()]
    assert len(set(paths)) == len(names)
    assert all(tmp_path.resolve() in path.parents for path in paths)
    assert max(len(part.encode()) for path in paths for part in path.parts) < 255


def test_every_form_has_the_same_figures(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = {form: said(capsys, *asked(out, form, "--by", "tools"))[0] for form in FORMS}
    rows = rows_of(texts["--json"])
    for line in csv.DictReader(io.StringIO(texts["--csv"])):
        row = rows[line["policy"]]
        assert line["best"] == str(row["best"])
        assert float(line["invalid_per_100_high"]) == row["invalid_per_100"]["high"]
        assert float(line["pass^4"]) == row["passes"]["4"]["pass_hat_k"]
        assert float(line["wrong_type"]) == row["codes"].get("wrong_type", {"rate": 0})["rate"]
        assert float(line["tools_6"]) == row["groups"]["tools"]["6"]["rate"]
    marked, page = tables_of_markdown(texts["--markdown"]), tables_of_html(texts["--html"])
    assert marked == page
    for row, cells in zip(rows.values(), marked[0][1:], strict=True):
        figures = dict(zip(marked[0][0], cells, strict=True))
        rate = row["invalid_per_100"]
        assert figures["policy"] == row["policy"] + " (best)" * row["best"]
        assert figures["tasks"] == "5x4"
        assert figures["invalid calls per 100"] == f"{rate['rate']:.1f} ({rate['low']:.1f} to {rate['high']:.1f})"
    for form in FORMS:
        assert "commit" in texts[form] or form == "--csv"


def tables_of_markdown(text: str) -> list[list[list[str]]]:
    tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    return [
        [
            [cell.replace("\\", "").replace("_", " ") for cell in line[2:-2].split(" | ")]
            for line in table.splitlines()
            if not line.startswith("|---")
        ]
        for table in tables
    ]


def tables_of_html(text: str) -> list[list[list[str]]]:
    tables = re.findall(r"<table>.*?</table>", text, re.DOTALL)
    return [
        [
            [html.unescape(re.sub(r"<[^>]*>", "", cell)) for cell in re.findall(r"<t[hd].*?</t[hd]>", row)]
            for row in re.findall(r"<tr>.*?</tr>", table)
        ]
        for table in tables
    ]


def test_nothing_in_a_name_is_markup(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "file.jsonl"
    with Archive(path) as archive:
        for trajectory in rollout(ExpertPolicy(), "store-v0", range(2)):
            archive.write({**trajectory.to_json(), "policy": "<b>|*x*\x1b[31m"})
    page, _ = said(capsys, str(path), "--html")
    assert "&lt;b&gt;|*x*\\x1b[31m" in page
    marked, _ = said(capsys, str(path), "--markdown")
    assert "| \\<b\\>\\|\\*x\\*\\\\x1b\\[31m |" in marked
    assert "\x1b" not in page + marked + said(capsys, str(path), "--csv")[0].replace("\x1b[31m", "")


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_no_table_is_wider_than_the_terminal(
    width: int, out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    text, _ = said(capsys, *asked(out, "--by", "turn", "--by", "tools"))
    tables = text.partition("20 + 20 trajectories")[0]
    assert max(map(len, tables.splitlines())) <= width
    assert "nonexistent" in tables


SUITE = """
env = ["store-v0"]
policy = ["expert", "habitual"]
tasks = 5
k = 4
out = '{out}'
max_error_rate = {{ nonexistent_tool = 0.01, invalid = 0.9 }}
"""


def test_a_suite_is_the_same_as_its_options(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    suite = tmp_path / "nightly.toml"
    suite.write_text(SUITE.format(out=out))
    assert main(["--suite", str(suite)]) == 1
    done = capsys.readouterr()
    assert done.out == said(capsys, *asked(out))[0]
    [line] = [line for line in done.err.splitlines() if line.startswith("too many errors: ")]
    assert line.startswith("too many errors: habitual in store-v0 (test): nonexistent_tool in 0.")
    assert line.endswith("allowed 0.01")
    assert rows_of(said(capsys, f"--suite={suite}", "--tasks", "2", "--json")[0])["expert"]["different_tasks"] == 2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("tsks = 3", "no option 'tsks' to give: did you mean 'tasks'?"),
        ('policy = "expert"', "policy: expected a list, came 'expert'"),
        ('tasks = "many"', "tasks: expected a valid integer"),
        ('by = ["world"]', "by: expected 'turn' or 'tools', came 'world'"),
        ("tasks = ", "is no TOML"),
        ("max_error_rate = { invalid = 5 }", "expected a share of the calls from 0 to 1, came 'invalid=5'"),
        ("max_error_rate = { nonexistent_tol = 0.1 }", "did you mean 'nonexistent_tool'?"),
        ("k = 0", "--k must be at least 1, came 0"),
    ],
)
def test_bad_suites_are_told_what_is_wrong(text: str, told: str, tmp_path: Path) -> None:
    suite = tmp_path / "suite.toml"
    suite.write_text(text)
    out = ["--env", "store-v0", "--policy", "expert", "--out", str(tmp_path / "out")]
    assert told in refused("--suite", str(suite), *out)
    assert "can't be read" in refused("--suite", str(tmp_path / "none.toml"))


def test_what_makes_no_sense_is_refused_before_anything_is_tried(tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "out")]
    assert "go together" in refused("--env", "store-v0", *out)
    expert = ["--env", "store-v0", "--policy", "expert"]
    assert "one form at a time" in refused(*expert, "--json", "--csv", *out)
    assert "policy 'expert' is given twice" in refused(*expert, "--policy", "expert", *out)
    twins = ["--policy", "openai:m@http://a/v1", "--policy", "openai:m@http://b/v1"]
    assert "are the same model" in refused("--env", "store-v0", *twins, *out)
    assert "did you mean 'random'" in refused(*expert, "--policy", "rndom", *out)
    assert "did you mean 'store-v0'" in refused(*expert, "--env", "stor-v0", *out)
    assert "no split 'tst'" in refused(*expert, "--split", "test", "--split", "tst", *out)
    assert "no error code" in refused(*expert, "--max-error-rate", "lost=1", *out)
    assert not (tmp_path / "out").exists()


def test_bars_are_about_the_rate_and_end_with_1(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expert, habitual = (str(out / "store-v0" / "test" / f"{name}.jsonl") for name in ("expert", "habitual"))
    assert main([expert, "--max-error-rate", "invalid=0"]) == 0
    assert main([habitual, "--max-error-rate", "invalid=0.99"]) == 0
    assert main([habitual, "--max-error-rate", "invalid=0.01", "--max-error-rate", "protocol_violation=0"]) == 1
    assert capsys.readouterr().err.count("too many errors") == 1


def test_a_policy_without_calls_passes_no_bar(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "silent.jsonl"
    path.write_text(json.dumps({"id": "a", "messages": [{"role": "user", "content": "Hi."}]}) + "\n")
    assert main([str(path), "--max-error-rate", "invalid=1"]) == 1
    assert "no calls, so nothing is known of its errors" in capsys.readouterr().err


def test_a_line_that_is_being_written_is_not_there_yet(out: Path, tmp_path: Path) -> None:
    lines = (out / "store-v0" / "test" / "habitual.jsonl").read_bytes().splitlines(keepends=True)
    path = tmp_path / "running.jsonl"
    path.write_bytes(b"".join(lines[:3]) + lines[3][:-50])
    [board] = leaderboards([path])
    assert board.rows[0].measured.tasks == 3
    path.write_bytes(lines[0] + lines[1][:-50] + b"\n" + lines[2])
    with pytest.raises(InputError, match=r"running.jsonl:2: "):
        leaderboards([path])


def test_logs_of_other_forms_stand_beside_our_own(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Anthropic's messages, whose calls are blocks, in a file without a policy's name."""
    path = tmp_path / "claude.jsonl"
    names = ["find", "lost", "find"]
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Go."}]
    for place, name in enumerate(names):
        use = {"type": "tool_use", "id": f"c{place}", "name": name, "input": {}}
        answer = {"type": "tool_result", "tool_use_id": f"c{place}", "content": f"{place}"}
        messages += [{"role": "assistant", "content": [use]}, {"role": "user", "content": [answer]}]
    tools = [{"name": "find", "description": "", "input_schema": {"type": "object", "properties": {}}}]
    path.write_text(json.dumps({"id": "a", "tools": tools, "messages": messages}) + "\n")
    ours = out / "store-v0" / "test" / "expert.jsonl"
    text, _ = said(capsys, str(ours), str(path), "--json")
    boards = json.loads(text)["leaderboards"]
    assert [board["env"] for board in boards] == ["store-v0", ""]
    [row] = boards[1]["rows"]
    assert (row["policy"], row["calls"], row["codes"]["nonexistent_tool"]["rate"]) == (
        "claude.jsonl",
        3,
        pytest.approx(100 / 3),
    )


def test_a_zero_says_how_little_few_calls_say(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, _ = said(capsys, *asked(out, tasks=1, k=1))
    line = next(line for line in text.splitlines() if re.match(r"\d expert", line))
    assert re.search(r" 0\.0 0\.0\.\.\d\d\.\d ", line)
    assert "no best" in text


def test_a_server_says_what_a_task_cost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def answer(body: Mapping[str, Any]) -> Answer:
        return "I can't."

    with endpoint(answer) as url:
        there = ["--env", "store-v0", "--tasks", "3", "--out", str(tmp_path), "--policy", f"openai:m@{url}"]
        prices = ["--price-in", "2", "--price-out", "10"]
        text, _ = said(capsys, *there, *prices, "--json")
        row = rows_of(text)["openai:m"]
        assert row["cost_per_task"] == pytest.approx((100 * 2 + 10 * 10) / 1e6)
        assert row["tokens_per_task"] == 10
        assert row["spent"]["prompt_tokens_per_task"] == 100
        more = ["--first-seed", "3"]
        beside, _ = said(capsys, *there, *more, "--policy", "expert", "--markdown")
    header, *rows = tables_of_markdown(beside)[0]
    assert [dict(zip(header, row, strict=True))["tokens per task"] for row in rows] == ["-", "10"]
    assert "cost per task" not in header  # a command without prices took part
    [path] = [path for path in tmp_path.rglob("*.jsonl") if path.name.startswith("openai")]
    assert [entry["trajectories"] for entry in read_manifest(path)["spent"]] == [3, 3]


def test_a_server_that_fails_has_faults_and_no_rates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def answer(body: Mapping[str, Any]) -> Answer:
        return 500, "out of order"

    with endpoint(answer) as url:
        there = ["--env", "store-v0", "--tasks", "3", "--out", str(tmp_path), "--policy", f"openai:m@{url}"]
        assert main([*there, "--tries", "1", "--json", "--max-error-rate", "invalid=1"]) == 1
    done = capsys.readouterr()
    row = rows_of(done.out)["openai:m"]
    assert (row["faults"], row["tasks"], row["calls"], row["codes"]) == (3, 0, 0, {})
    assert "no calls, so nothing is known of its errors" in done.err
    text, _ = said(capsys, *map(str, tmp_path.rglob("*.jsonl")))
    assert re.search(r"1 +openai:m +0 +0 +- +- +- +3", text)
