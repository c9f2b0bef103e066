"""The command line on files of real environments: what it finds, what it writes, and how it fails."""

import json
import os
import subprocess
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

import critics.__main__ as command_line
from critics import Finding, criticize, measure, read_findings, text_of, write_findings
from envs import Archive, Message, StopReason, ToolEnv, Trajectory, Turn, calls_of, make, read_trajectories
from tools import ErrorCode
from tools.command import InputError

ROOT = Path(__file__).parents[1]
SAMPLES = ROOT.parent / "shared" / "samples" / "real-agents.jsonl"


def raw_of(message: Message) -> str:
    """A turn as a model of the Qwen family writes it."""
    functions = [call["function"] for call in calls_of(message)]
    blocks = [
        f'<tool_call>\n{{"name": "{function["name"]}", "arguments": {function["arguments"]}}}\n</tool_call>'
        for function in functions
    ]
    return "\n".join([*filter(None, [message["content"]]), *blocks]) + "<|im_end|>"


def play(env: ToolEnv, seed: int, habits: Collection[str] = ()) -> tuple[Trajectory, dict[int, list[str]]]:
    """An expert's episode with every mistake that `habits` make possible, each made once and then corrected.

    Also the codes that the world answered each mistaken turn with, by message.
    """
    opening, info = env.reset(seed=seed)
    messages: list[Message] = [*opening]
    turns: list[Turn] = []
    planted: dict[int, list[str]] = {}
    ended, mistaken = False, False
    reward = 0.0
    while not ended:
        right = env.expert_action()
        wrong = right if mistaken else env.expert_action(habits)
        mistaken = wrong != right
        turns.append(Turn(message_index=len(messages), prompt_ids=[], token_ids=[], logprobs=[], raw=raw_of(wrong)))
        results, reward, terminated, truncated, step = env.step(wrong)
        if mistaken:
            planted[len(messages)] = sorted(violation["code"] for violation in step["violations"][0])
        messages += [wrong, *results]
        ended = terminated or truncated
    trajectory = Trajectory(
        id=f"{env.split}/{seed}",
        env="store-v0",
        task=info["task"],
        policy="expert",
        tools=info["tools"],
        messages=messages,
        turns=turns,
        reward=reward,
        success=step["success"],
        stop_reason=step["stop_reason"],
    )
    return trajectory, planted


def episodes(number: int, *habits: str, **options: Any) -> Iterator[tuple[Trajectory, dict[int, list[str]]]]:
    for seed in range(number):
        env = make("store-v0", split=("test", "held_out")[seed % 2], **options)
        yield play(env, seed, habits)
        env.close()


def test_an_expert_makes_no_error() -> None:
    assert [part for trajectory, _ in episodes(200) for part in criticize(trajectory)] == []


def marked(trajectory: Trajectory, finding: Finding) -> str:
    return text_of(trajectory, finding)[slice(*finding.span)]


@pytest.mark.parametrize(
    ("habit", "codes"),
    [
        ("name", {ErrorCode.NONEXISTENT_TOOL}),
        ("enum", {ErrorCode.INVALID_VALUE}),
        ("type", {ErrorCode.WRONG_TYPE}),
        ("missing", {ErrorCode.MISSING_ARGUMENT}),
    ],
)
def test_every_planted_error_is_found(habit: str, codes: Collection[ErrorCode]) -> None:
    number = 0
    for trajectory, planted in episodes(60, habit, max_turns=30, max_errors=30):
        findings = criticize(trajectory)
        number += len(planted)
        assert {part.message_index for part in findings} == set(planted)
        for finding in findings:
            assert finding.code in codes
            (call,) = calls_of(trajectory.messages[finding.message_index])
            name, arguments = call["function"]["name"], json.loads(call["function"]["arguments"])
            argument = finding.path.removeprefix("$.")
            text = marked(trajectory, finding)
            if habit == "name":
                assert text == name
            elif habit == "missing":
                assert argument not in arguments
                assert text_of(trajectory, finding)[finding.span[0] :] == "}}\n</tool_call><|im_end|>"
            else:
                assert text == json.dumps(arguments[argument])
    assert number > 30


def test_critics_and_worlds_find_the_same() -> None:
    number = 0
    for trajectory, planted in episodes(100, "enum", "type", "missing", max_turns=30, max_errors=30):
        found: dict[int, list[str]] = {}
        for finding in criticize(trajectory):
            found.setdefault(finding.message_index, []).append(str(finding.code))
        assert {index: sorted(codes) for index, codes in found.items()} == planted
        number += sum(map(len, planted.values()))
    assert number > 200


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Ten episodes with a wrong word each where that is possible, one of them with a fault."""
    path = tmp_path / "trajectories.jsonl"
    with Archive(path) as archive:
        for number, (trajectory, _) in enumerate(episodes(10, "enum")):
            reason = StopReason.INFRASTRUCTURE_FAULT if number == 0 else trajectory.stop_reason
            archive.write(replace(trajectory, stop_reason=reason).to_json())
    return path


def criticized_in(path: Path) -> list[tuple[Trajectory, list[Finding]]]:
    return [(trajectory, criticize(trajectory)) for trajectory in read_trajectories(path)]


def run_command(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "critics", *map(str, arguments)]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, encoding="utf-8", timeout=60
    )


def test_the_table_fits_in_80_columns(file: Path) -> None:
    done = run_command(file, COLUMNS="80")
    assert (done.returncode, done.stderr) == (0, "")
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "invalid_value" in done.stdout
    assert '>>"' in done.stdout
    assert "9 tasks" in done.stdout
    assert "and 1 with infrastructure faults, not counted" in done.stdout
    assert "\x1b" not in done.stdout


def test_the_figures_as_json(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command_line.main([str(file), "--json"])
    figures = measure(criticized_in(file)).to_json()
    assert figures.items() <= json.loads(capsys.readouterr().out).items()


def test_findings_are_written_and_read(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "findings.jsonl"
    for _ in range(2):  # a second run replaces what the first one wrote
        command_line.main([str(file), "--jsonl", str(out)])
    criticized = criticized_in(file)
    assert list(read_findings(out)) == [(trajectory.id, findings) for trajectory, findings in criticized]
    assert [path.name for path in out.parent.iterdir()] == ["findings.jsonl"]
    assert "invalid calls" in capsys.readouterr().out


def test_an_option_that_is_wrong_leaves_nothing_behind(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "findings.jsonl"
    for wrong in (["--format", "tau"], ["--tools", "none.json"], ["--fail-on", "all"]):
        with pytest.raises(InputError):
            command_line.main([str(file), "--jsonl", str(out), *wrong])
    assert not out.parent.exists()


def test_the_input_is_never_overwritten(file: Path) -> None:
    before = file.read_bytes()
    with pytest.raises(InputError, match="write the findings to another file"):
        command_line.main([str(file), "--jsonl", str(file.parent / "." / file.name)])
    assert file.read_bytes() == before


def test_findings_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "blocked").write_text("a file, not a folder")
    with pytest.raises(InputError, match="can't be written"):
        write_findings(tmp_path / "blocked" / "findings.jsonl", [])


def test_findings_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "findings.jsonl"
    for record in ('{"id": 1}', '{"id": 1, "findings": [{"code": "dull"}]}', '{"id": 1, "findings": [7]}'):
        path.write_text(f'{{"id": 0, "findings": []}}\n{record}\n')
        with pytest.raises(InputError, match="object 2: no findings"):
            list(read_findings(path))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{oops", "no JSON"),
        ("[1]", "came list"),
        ('{"id": "a"}', "no trajectory"),
        ('{"id": "a", "tools": [7], "messages": []}', "expected tools to be a list of objects"),
        (
            '{"id": "a", "tools": [{"name": "x", "parameters": 7}],'
            '"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "x"}}]}]}',
            "expected a JSON Schema",
        ),
    ],
)
def test_a_corrupt_line_is_named_and_the_rest_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, said: str
) -> None:
    path = tmp_path / "corrupt.jsonl"
    whole = '{"id": "%s", "tools": [], "messages": []}'
    path.write_text(f"{whole % 'a'}\n{line}\n{whole % 'b'}\n")
    assert command_line.main([str(path), "--json"]) == 2
    shown = json.loads(capsys.readouterr().out)
    assert (shown["tasks"], shown["unread"]) == (2, 1)
    (refused,) = shown["unreadable"]
    assert (refused["file"], refused["line"]) == (str(path), 2)
    assert said in refused["reason"]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    done = run_command(tmp_path / "none.jsonl")
    assert (done.returncode, done.stdout) == (2, "")
    assert "is no file" in done.stderr


def test_plain_openai_form_with_text_that_would_move_the_cursor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "\x1b[2J[red]\u202e\ud800\nx", "arguments": "{}"}}
    record = {"id": "a", "tools": [], "messages": [{"role": "assistant", "tool_calls": [call]}]}
    path = tmp_path / "plain.jsonl"
    path.write_text(json.dumps(record))
    command_line.main([str(path)])
    shown = capsys.readouterr().out
    assert r">>\x1b[2J[red]\u202e\ud800\nx<<" in shown
    assert "success not known" in shown


def test_an_empty_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "empty.jsonl"
    path.write_text("")
    command_line.main([str(path)])
    assert "0 tasks, 0 calls" in capsys.readouterr().out


def test_a_reader_that_leaves(file: Path) -> None:
    command = f"{sys.executable} -m critics {file} | true"
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""


def test_help_names_every_option() -> None:
    done = run_command("--help")
    assert done.returncode == 0
    assert all(option in done.stdout for option in ("FILE", "--jsonl", "--json", "one object a"))


@pytest.mark.skipif(not SAMPLES.is_file(), reason="the samples of real agents are not here")
def test_real_agents() -> None:
    for trajectory, findings in criticized_in(SAMPLES):
        for finding in findings:
            start, end = finding.span
            assert 0 <= start < end <= len(text_of(trajectory, finding))
