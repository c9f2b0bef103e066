"""Replay: errors marked where they are, hints above their turns, nothing from a file obeyed; stepping and bad input."""

import io
import json
import subprocess
import sys
from collections.abc import Iterable
from math import log
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from critics import criticize
from envs import Archive, StopReason, Trajectory, Turn, read_trajectories
from envs.policies.scripted import HabitualPolicy
from envs.rollout import rollout
from eval.__main__ import main
from eval.film import Film, Wanted
from eval.lines import Lines
from eval.replay import Player, everything
from eval.screen import marked, shortened
from tools.command import InputError

ROOT = Path(__file__).parents[1]
PARAMETERS = {
    "type": "object",
    "properties": {"order_id": {"type": "integer"}, "method": {"enum": ["card", "cash"]}},
    "required": ["order_id"],
}
ESCAPE = "\x1b[35m"


def tool(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "description": "", "parameters": PARAMETERS}}


def call(name: str, arguments: str) -> dict[str, Any]:
    made = {"id": "c", "type": "function", "function": {"name": name, "arguments": arguments}}
    return {"role": "assistant", "content": "", "tool_calls": [made]}


def result(content: str, **more: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": "c", "content": content, **more}


def raw(message: dict[str, Any]) -> str:
    """A message as a model of Qwen's family writes it."""
    if not message.get("tool_calls"):
        return f"{message['content']}<|im_end|>"
    function = message["tool_calls"][0]["function"]
    inner = f'{{"name": "{function["name"]}", "arguments": {function["arguments"]}}}'
    return f"<tool_call>\n{inner}\n</tool_call><|im_end|>"


MESSAGES = [
    {"role": "system", "content": "You are the desk."},
    {"role": "user", "content": "Refund order 417, in [red]notes[/red]."},
    call("lookup_order", '{"order_id": 417}'),
    result(f'"no {ESCAPE}such tool"', is_error=True),
    call("find_order", '{"order_id": 417}'),
    result('{"total": 90}'),
    call("refund", '{"order_id": "417", "method": "coins"}'),
    result("refused", is_error=True),
    {"role": "assistant", "content": "Sorry."},
]


def trajectory(messages: list[dict[str, Any]] = MESSAGES, *, tokens: bool = True, **fields: Any) -> Trajectory:
    turns = tuple(
        Turn(message_index=place, prompt_ids=[1], token_ids=[2], logprobs=[-0.1], raw=raw(message))
        for place, message in enumerate(messages)
        if message["role"] == "assistant"
    )
    return Trajectory(
        id=fields.get("id", "store-v0/train/0/0"),
        env="store-v0",
        task={"seed": fields.get("seed", 0), "split": "train", "family": "refund"},
        policy="[bold]tiny",
        tools=[tool("find_order"), tool("refund"), tool("[bold]odd")],
        messages=messages,
        turns=turns if tokens else (),
        stop_reason=fields.get("stop_reason", StopReason.ANSWERED),
    )


def write(path: Path, trajectories: Iterable[Trajectory]) -> Path:
    with Archive(path) as archive:
        for part in trajectories:
            archive.write(part.to_json())
    return path


def screen(width: int = 80, color: bool = False) -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    console = Console(
        file=file, width=width, highlight=False, markup=False, force_terminal=color, _environ={"TERM": "xterm"}
    )
    return console, file


def printed(film: Film, *, longest: int | None = 1_000, **options: Any) -> str:
    """What a pipe gets, without the spaces that fill lines up."""
    console, file = screen(**options)
    for part in everything(film, longest=longest):
        console.print(part)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A run with one trajectory and a correction of both of its erroneous turns."""
    write(tmp_path / "trajectories.jsonl", [trajectory()])
    (tmp_path / "manifest.json").write_text("{}")
    rows = [
        (2, ["nonexistent_tool"], "Reminder: call what is there.", [log(0.41), 0.0], [log(0.04), log(0.5)], True),
        (6, ["invalid_value", "wrong_type"], "Reminder: [b]both.", [log(0.3), log(0.2)], [log(0.5), log(0.2)], False),
    ]
    with Archive(tmp_path / "corrections.jsonl") as archive:
        for index, codes, hint, student, teacher, admitted in rows:
            archive.write(
                {
                    "id": "store-v0/train/0/0",
                    "message_index": index,
                    "codes": codes,
                    "hint": hint,
                    "plain_ids": [1, 2, 3],
                    "hinted_ids": [1, 9, 2, 3],
                    "target": [1, 3],
                    "error_tokens": [1, 2],
                    "student_logprobs": student,
                    "teacher_logprobs": teacher,
                    "admitted": admitted,
                }
            )
    return tmp_path


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
         with the hint: lookup_order 0.41 -> 0.02
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
         with the hint: "417" and "coins" 0.06 -> 0.10, not trained on
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


class Sitting:
    """A person at a player: what each typed line shows."""

    def __init__(self, film: Film) -> None:
        self.console, self.file = screen()
        self.player = Player(film, self.console)
        self.player.play([])

    def __call__(self, line: str) -> str:
        self.file.truncate(self.file.seek(0))
        self.player.respond(line)
        return self.file.getvalue()

    @property
    def at(self) -> tuple[int, int]:
        assert self.player.review is not None
        return self.player.review.number, self.player.turn


def test_a_person_steps_through_a_film(tmp_path: Path) -> None:
    clean = trajectory([*MESSAGES[:2], {"role": "assistant", "content": "Hello."}], id="b", seed=1)
    parts = [trajectory(id="a"), clean, trajectory(id="c", seed=2)]
    sitting = Sitting(Film(write(tmp_path / "file", parts), Wanted(code="wrong_type")))
    assert sitting.at == (0, 0)
    assert "trajectory 1 " in sitting.file.getvalue()
    assert "turn 2 " in sitting("")
    assert sitting("n").count("turn ") == 1
    assert "end " in sitting("")
    assert sitting.at == (0, 3)
    assert "trajectory 3 " in sitting("")
    with pytest.raises(InputError, match="last trajectory"):
        sitting("t")
    assert "turn 4 " in sitting("p")
    assert sitting.at == (0, 3)
    assert "turn 3 " in sitting("e")
    assert sitting.at == (2, 2)
    with pytest.raises(InputError, match="no further error"):
        sitting("e")
    assert "trajectory 2 " in sitting("g 2")
    assert sitting.at == (1, 0)
    assert "trajectory 1 " in sitting("p")
    sitting("p")
    sitting("g 1")
    slips = {"p": "first turn", "g 4": "the file has 3", "g 0": "no trajectory 0", "hm": "Enter next"}
    for line, said in slips.items():
        with pytest.raises(InputError, match=said):
            sitting(line)
    assert sitting.at == (0, 0)


def test_a_slip_of_a_person_ends_nothing(habitual: Path) -> None:
    console, file = screen()
    Player(Film(habitual), console).play(["nonsense", "g 99", "g 2", "q", "g 3"])
    text = file.getvalue()
    assert "there is no trajectory 99: the file has 20" in text
    assert "trajectory 2 " in text
    assert "trajectory 3 " not in text


def test_a_film_is_read_as_far_as_it_is_shown(tmp_path: Path) -> None:
    path = write(tmp_path / "file.jsonl", [trajectory(id=str(number)) for number in range(5)])
    path.write_bytes(path.read_bytes() + b"nonsense\n")
    film = Film(path)
    sitting = Sitting(film)
    sitting("t")
    assert film.lines.end < path.stat().st_size / 2
    sitting("g 5")
    with pytest.raises(InputError, match=r"file.jsonl:6 is no JSON"):
        sitting("t")
    assert sitting.at == (4, 0)


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
    path.write_text('{"id":"store-v0/train/0/0","message_index":2,"student_logprobs":["x"]}\n')
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
