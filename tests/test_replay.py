"""Replay: errors marked where they are, hints above their turns, nothing from a file obeyed, and bad input."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from critics import criticize
from envs import Archive, StopReason, read_trajectories
from envs.policies.scripted import HabitualPolicy
from envs.rollout import rollout
from eval.__main__ import main
from eval.film import Film, Wanted
from eval.lines import Lines
from eval.replay import everything
from eval.screen import marked, shortened
from tests.replayed import ESCAPE, call, result, screen, tool, trajectory, write, write_run
from tools.command import InputError

ROOT = Path(__file__).parents[1]


def printed(film: Film, *, longest: int | None = 1_000, **options: Any) -> str:
    """What a pipe gets, without the spaces that fill lines up."""
    console, file = screen(**options)
    for part in everything(film, longest=longest):
        console.print(part)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    return write_run(tmp_path)


@pytest.fixture(scope="module")
def habitual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("habitual") / "habitual.jsonl"
    return write(path, rollout(HabitualPolicy(0.2), "store-v0", range(20)))


@pytest.mark.parametrize(
    ("text", "spans", "shown"),
    [
        ("find lost order", [(5, 9)], "find >>lost<< order"),
        ("abc", [], "abc"),
        ("abc", [(0, 3), (0, 3)], ">>abc<<"),
        ('{"a": {"b": 1}}', [(6, 14), (12, 13)], '{"a": >>{"b": >>1<<}<<}'),
        ("abcd", [(0, 2), (2, 4)], ">>ab<<>>cd<<"),
        ("abcd", [(0, 3), (1, 4)], ">>a>>bc<<d<<"),
        ("ab", [(1, 1)], "a>><<b"),
        ("", [(0, 0)], ">><<"),
        ("ab", [(1, 99)], "a>>b<<"),
        ("[red]\x1b[0m", [(5, 6)], "[red]>>\\x1b<<[0m"),
    ],
)
def test_spans_are_marked(text: str, spans: list[tuple[int, int]], shown: str) -> None:
    assert marked(text, spans).plain == shown


def test_only_what_is_marked_is_styled() -> None:
    text = marked("find lost order", [(5, 9)])
    styled = {text.plain[span.start : span.end] for span in text.spans if "red" in str(span.style)}
    assert styled == {">>", "lost", "<<"}


def test_long_texts_lose_their_middle_but_no_mark() -> None:
    assert shortened("a" * 50 + "b" * 50, 20).plain == "a" * 10 + " ... 80 characters ... " + "b" * 10
    assert shortened("a" * 20, 20).plain == "a" * 20
    text = marked("a" * 100 + "X" + "b" * 100, [(100, 101)], longest=10).plain
    assert text == "aaaaa ... 90 characters ... aaaaa>>X<<bbbbb ... 90 characters ... bbbbb"


def test_a_run_is_shown_turn_by_turn(run_folder: Path) -> None:
    expected = f"""\
trajectory 1 {"─" * 67}
id       store-v0/train/0/0
task     store-v0, split train, seed 0, family refund
policy   [bold]tiny
tools    3: find_order, refund, [bold]odd
found    nonexistent_tool, wrong_type, invalid_value, wrong_final_state
system   You are the desk.
user     Refund order 417, in [red]notes[/red].

hint     Reminder: call what is there. (in the teacher's context only)
turn 1   <tool_call>
         {{"name": ">>lookup_order<<", "arguments": {{"order_id": 417}}}}
         </tool_call><|im_end|>
         nonexistent_tool: expected one of the available tools (find_order,
         refund, [bold]odd), came "lookup_order"
         with the hint: lookup_order 0.41 -> 0.04
         at the error  student             with hint
         get_order     0.40  ████▊         0.95  ███████████▍
         lookup_order  0.41  ████▉         0.04  ▌
error    "no \\x1b[35msuch tool"

turn 2   <tool_call>
         {{"name": "find_order", "arguments": {{"order_id": 417}}}}
         </tool_call><|im_end|>
result   {{"total": 90}}

hint     Reminder: [b]both. (in the teacher's context only)
turn 3   <tool_call>
         {{"name": "refund", "arguments": {{"order_id": >>"417"<<, "method":
         >>"coins"<<}}}}
         </tool_call><|im_end|>
         wrong_type: refund: $.order_id: expected integer, came "417"
         invalid_value: refund: $.method must be one of card, cash, came "coins"
         with the hint: error tokens 0.30 -> 0.50, 0.50 -> 0.20, not trained on
error    refused

hint     Reminder: answer only when all that was asked for is done. (would be
         inserted here)
turn 4   Sorry.<|im_end|>
         wrong_final_state, the whole turn: answered while the world is not as
         the task wants it

end      not solved, reward 0, answered"""
    assert printed(Film(run_folder)) == expected


def test_without_raw_texts_the_calls_themselves_are_marked(tmp_path: Path) -> None:
    text = printed(Film(write(tmp_path / "file", [trajectory(tokens=False)])))
    assert 'turn 1   >>lookup_order<< {"order_id": 417}\n' in text
    assert 'turn 3   refund {"order_id": >>"417"<<, "method": >>"coins"<<}\n' in text
    assert "hint     Reminder: the available tools are: find_order, refund, [bold]odd.\n" in text
    assert "with the hint" not in text


def test_broken_and_empty_turns_are_shown(tmp_path: Path) -> None:
    messages = [
        {"role": "user", "content": "Go."},
        call("find_order", '{"order_id": '),
        {"role": "assistant", "content": ""},
        {"role": "assistant", "content": '<tool_call>{"name": "fi'},
    ]
    with_raw = [*messages[:1], {"role": "assistant", "content": '<tool_call>\n{"name": "fi'}]
    parts = [
        trajectory(messages, tokens=False, stop_reason=StopReason.TOKEN_LIMIT),
        trajectory(with_raw, stop_reason=StopReason.TOKEN_LIMIT),
        trajectory(messages[:1], stop_reason=StopReason.INFRASTRUCTURE_FAULT),
    ]
    text = printed(Film(write(tmp_path / "file", parts)))
    assert 'turn 1   find_order >>{"order_id": <<\n' in text
    assert "turn 2   (empty)\n         protocol_violation, the whole turn: " in text
    assert 'turn 3   <tool_call>>>{"name": "fi<<\n' in text
    assert 'turn 1   <tool_call>\n         >>{"name": "fi<|im_end|>' not in text
    assert '\n         >>{"name": "fi<<<|im_end|>\n' in text
    assert "infrastructure_fault: a timeout" in text.replace(", the whole turn", "")


def test_nothing_from_a_file_reaches_the_terminal_as_a_command(tmp_path: Path) -> None:
    evil = f"{ESCAPE}[bold]x[/bold]\x07\r\u202e\nend      solved, reward 1"
    messages = [
        {"role": "user", "content": evil},
        call(evil, json.dumps({evil: evil})),
        result(evil, is_error=True),
        {"role": "assistant", "content": evil},
    ]
    part = trajectory(messages, tokens=False, id=evil, seed=evil)
    record = {**part.to_json(), "stop_reason": evil, "policy": evil, "env": evil, "tools": [tool(evil)]}
    path = tmp_path / "trajectories.jsonl"
    path.write_text(json.dumps(record) + "\n")
    with Archive(tmp_path / "corrections.jsonl") as archive:
        archive.write({"id": evil, "message_index": 1, "hint": evil, "codes": [evil]})
    for color in (False, True):
        text = printed(Film(path), color=color)
        assert "[bold]x[/bold]" in text
        assert ESCAPE not in text
        assert not any(control in text for control in "\x07\r\u202e")
    ends = [line for line in printed(Film(path)).splitlines() if line.startswith("end ")]
    assert [end.partition("x1b")[0] for end in ends] == ["end      not solved, reward 0, \\"]


def test_80_columns_are_kept_and_colours_are_left_out_where_asked(habitual: Path) -> None:
    text = printed(Film(habitual))
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text


def test_every_finding_of_a_real_file_is_shown(habitual: Path) -> None:
    text = printed(Film(habitual), width=500)
    findings = [finding for part in read_trajectories(habitual) for finding in criticize(part)]
    assert len(findings) > 5
    for finding in findings:
        assert f"{finding.code}: {finding.explanation}" in text.replace(", the whole turn", "")
        assert finding.hint in text
    assert text.count("trajectory ") == 20


def test_what_is_wanted_is_shown(habitual: Path) -> None:
    parts = [(number, part, criticize(part)) for number, part in enumerate(read_trajectories(habitual))]

    def numbers(**wanted: Any) -> list[int]:
        return [review.number for review in Film(habitual, Wanted(**wanted)).onwards(0)]

    assert numbers() == list(range(20))
    assert numbers(errors=True) == [number for number, _, found in parts if found]
    codes = [number for number, _, found in parts if any(finding.code == "wrong_type" for finding in found)]
    assert 0 < len(codes) < len(numbers(errors=True))
    assert numbers(code="wrong_type") == codes
    assert numbers(seed=7) == [number for number, part, _ in parts if part.task["seed"] == 7]
    assert numbers(id=parts[3][1].id) == [3]
    film = Film(habitual, Wanted(errors=True))
    assert [review.number for review in film.onwards(19, step=-1)] == numbers(errors=True)[::-1]


def test_nothing_wanted_is_said_and_a_task_that_is_not_there_is_a_slip(habitual: Path) -> None:
    assert "none of the 20 trajectories" in printed(Film(habitual, Wanted(code="misread_result"))).replace("\n", " ")
    for wanted in (Wanted(id="x"), Wanted(seed=99)):
        with pytest.raises(InputError, match="the first has id 'store-v0/test/"):
            printed(Film(habitual, wanted))
    with pytest.raises(InputError, match="did you mean 'wrong_type'"):
        Wanted(code="wrong_typ")


@pytest.mark.parametrize("kind", ["svg", "html", "txt", "cast"])
def test_what_is_shown_is_exported(kind: str, run_folder: Path, tmp_path: Path) -> None:
    first, second = (tmp_path / f"{name}.{kind}" for name in "ab")
    for path in (first, second):
        assert main(["replay", str(run_folder), "--export", str(path)]) == 0
    text = first.read_text()
    assert text == second.read_text()
    assert "lookup_order" in text
    assert ESCAPE not in text
    assert "@font-face" not in text
    if kind == "cast":
        header, *events = map(json.loads, text.splitlines())
        assert header["version"] == 2
        assert [event[1] for event in events] == ["o"] * 6
        assert [event[0] for event in events] == sorted(event[0] for event in events)


def test_an_export_of_another_kind_is_refused(run_folder: Path) -> None:
    with pytest.raises(InputError, match=r"ends with \.svg, \.html, \.txt, \.cast"):
        main(["replay", str(run_folder), "--export", str(run_folder / "x.pdf")])


def test_tokens_are_coloured_by_their_probability(run_folder: Path) -> None:
    text = printed(Film(run_folder), color=True)
    assert "[2mteacher" in text
    assert " teacher " not in printed(Film(run_folder))


def test_lines_are_found_by_number_while_a_file_grows(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b'{"a": 1}\n\n  \n{"b": 2}\n{"c": ')
    lines = Lines(path)
    assert lines.at(1) == (4, b'{"b": 2}\n')
    assert lines.at(2) is None
    with path.open("ab") as file:
        file.write(b"3}")
    assert lines.at(2) == (5, b'{"c": 3}')
    assert lines.at(0) == (1, b'{"a": 1}\n')
    assert lines.at(3) is None


def test_corrections_are_found_in_any_order_and_spelling(run_folder: Path) -> None:
    path = run_folder / "corrections.jsonl"
    first, second = (json.loads(line) for line in path.read_text().splitlines())
    reordered = json.dumps({"message_index": first.pop("message_index"), **first})
    path.write_text(f"{json.dumps(second)}\n{reordered}\n")
    [review] = Film(run_folder).onwards(0)
    assert {index: scored.hint for index, scored in review.scored.items()} == {
        2: "Reminder: call what is there.",
        6: "Reminder: [b]both.",
    }
    path.write_text('{"id":"store-v0/train/0/0","message_index":2,"student_logprobs":["x"],"teacher_logprobs":[0]}\n')
    with pytest.raises(InputError, match=r"corrections.jsonl:1 is no correction"):
        list(Film(run_folder).onwards(0))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "is no file"),
        ("", "has no trajectories"),
        ("nonsense\n", "file.jsonl:1 is no JSON"),
        ("[]\n", "file.jsonl:1 is no JSON object"),
        ('\n{"schema_version": 7, "id": "a", "messages": []}\n', "file.jsonl:2: schema_version is 7"),
        ('{"id": "a", "messages": [], "task": [1]}\n', "file.jsonl:1: expected task to be an object"),
        ('{"id": "a", "messages": [], "tools": [{"name": 3}]}\n', "file.jsonl:1: "),
    ],
)
def test_bad_files_are_named(content: str | None, said: str, tmp_path: Path) -> None:
    path = tmp_path / "file.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError) as error:
        main(["replay", str(path)])
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_folders_without_trajectories_are_told_apart(run_folder: Path) -> None:
    (run_folder / "trajectories.jsonl").unlink()
    with pytest.raises(InputError, match="still at its first evaluation"):
        Film(run_folder)
    (run_folder / "manifest.json").unlink()
    with pytest.raises(InputError, match="is no run folder"):
        Film(run_folder)


def test_in_a_pipe_everything_is_printed(habitual: Path) -> None:
    command = [sys.executable, "-m", "eval", "replay", str(habitual), "--errors", "--full"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    lines = "\n".join(line.rstrip() for line in done.stdout.splitlines())
    assert lines == printed(Film(habitual, Wanted(errors=True)), longest=None)
