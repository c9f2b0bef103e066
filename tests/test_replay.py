"""Replay: errors marked where they are, hints above their turns, nothing from a file obeyed; stepping and bad input."""

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from math import log
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console, ConsoleDimensions

from critics import criticize
from envs import Archive, StopReason, Trajectory, Turn, read_trajectories
from envs.policies.scripted import HabitualPolicy
from envs.rollout import rollout
from eval.__main__ import main
from eval.film import Film, Wanted, evaluations
from eval.keys import keys_in
from eval.lines import Lines
from eval.player import Player
from eval.replay import Window, everything
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
    alternatives = {
        "token": 1,
        "student": [{"text": "lookup_order", "logprob": log(0.41)}, {"text": "get_order", "logprob": log(0.4)}],
        "teacher": [{"text": "get_order", "logprob": log(0.95)}, {"text": "lookup_order", "logprob": log(0.04)}],
    }
    pictured = {"pieces": ["lookup_order", '"'], "alternatives": alternatives}
    one, two = ["nonexistent_tool"], ["invalid_value", "wrong_type"]
    rows: list[tuple[int, list[str], str, list[float], list[float], bool, dict[str, Any]]] = [
        (2, one, "Reminder: call what is there.", [log(0.41), 0.0], [log(0.04), 0.0], True, pictured),
        (6, two, "Reminder: [b]both.", [log(0.3), log(0.5)], [log(0.5), log(0.2)], False, {}),
    ]
    with Archive(tmp_path / "corrections.jsonl") as archive:
        for index, codes, hint, student, teacher, admitted, beside in rows:
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
                    **beside,
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


class Sitting:
    """A person at a player: what each key shows."""

    def __init__(self, film: Film, *, width: int = 80, height: int = 60, **options: Any) -> None:
        self.console, self.file = screen(width)
        self.console.size = ConsoleDimensions(width, height)
        self.player = Player(film, **options)

    def __call__(self, *keys: str) -> str:
        """The screen after some keys."""
        for key in keys:
            assert self.player.press(key)
        return self.shown

    @property
    def shown(self) -> str:
        self.file.truncate(self.file.seek(0))
        self.console.print(Window(self.player), end="")
        return self.file.getvalue()

    @property
    def at(self) -> tuple[int, int]:
        return self.player.review.number, self.player.turn


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """Two trajectories with errors, and one without between them."""
    clean = trajectory([*MESSAGES[:2], {"role": "assistant", "content": "Hello."}], id="b", seed=1)
    return write(tmp_path / "three", [trajectory(id="a"), clean, trajectory(id="c", seed=2)])


def test_a_person_steps_through_a_film(three: Path) -> None:
    sitting = Sitting(Film(three, Wanted(code="wrong_type")))
    assert sitting.at == (0, 0)
    assert "trajectory 1 " in sitting.shown
    assert "turn 2 " in sitting("enter")
    assert sitting("right").count("turn 3 ") == 1
    assert "end " in sitting(" ")
    assert "trajectory 3 " in sitting("n")
    assert "last trajectory" in sitting("t")
    assert sitting.at == (2, 0)
    assert "turn 4 " in sitting("left")
    assert sitting.at == (0, 3)
    assert "turn 3 " in sitting("e")
    assert sitting.at == (2, 2)
    assert "no further error" in sitting("e")
    sitting("E")
    assert sitting.at == (0, 2)
    sitting("T", "p", "p", "p", "p")
    assert "first turn" in sitting("p")
    assert sitting.at == (0, 0)


def test_a_person_goes_to_a_turn(three: Path) -> None:
    sitting = Sitting(Film(three))
    for typed, at in (("3", (0, 2)), ("2:", (1, 0)), ("3:4", (2, 3)), (":2", (2, 1))):
        sitting("g", *typed, "enter")
        assert sitting.at == at
    slips = {"9": "there is no turn 9", "4:": "the file has 3", "0:": "no trajectory 0", "x": "type 4 for turn 4"}
    for typed, said in slips.items():
        assert said in sitting("g", *typed, "enter")
    assert "go to turn, trajectory: or trajectory:turn: 12_" in sitting("g", "1", "3", "backspace", "2")
    assert sitting("escape") == sitting.shown
    assert sitting.at == (2, 1)
    assert not sitting.player.press("q")


def test_a_person_searches_and_filters(three: Path) -> None:
    sitting = Sitting(Film(three))
    sitting("/", *"HELLO", "enter")
    assert sitting.at == (1, 0)
    assert "no later turn says 'HELLO'" in sitting("/", "enter")
    sitting("f", *"wrong_type", "enter")
    assert sitting.at == (0, 2)
    sitting("t")
    assert sitting.at == (2, 0)
    assert "did you mean" in sitting("f", *"wrong_typ", "enter")
    assert "no trajectory has misread_result" in sitting("f", *"misread_result", "enter")
    assert "with wrong_type" in sitting("home")
    sitting("f", "enter")
    assert "with wrong_type" not in sitting.shown


def test_it_plays_by_itself_until_the_end(three: Path) -> None:
    sitting = Sitting(Film(three))
    assert sitting.player.pause is None
    sitting("a")
    assert sitting.player.pause == 1
    sitting("+")
    assert sitting.player.pause == 0.5
    for _ in range(20):
        sitting.player.tick()
    assert sitting.at == (2, 3)
    assert sitting.player.pause is None


def test_a_small_window_scrolls(three: Path) -> None:
    for width, height in ((80, 12), (40, 8), (20, 4)):
        sitting = Sitting(Film(three), width=width, height=height)
        lines = sitting.shown.splitlines()
        assert len(lines) == height
        assert {len(line) for line in lines} == {width}
        assert lines[0].startswith("trajectory 1 ")
        sitting("pagedown")
        assert not sitting.shown.startswith("trajectory 1 ")
        sitting("end")
        assert sitting.player.top == sitting.player.tall - height + 1
        sitting("home", "up")
        assert sitting.player.top == 0


def test_tools_unfold_and_help_closes(three: Path) -> None:
    sitting = Sitting(Film(three))
    assert "card | cash" not in sitting.shown
    assert "card | cash" in sitting("o")
    assert "next, previous error" in sitting("h")
    assert "next, previous error" not in sitting("q")
    assert "h shows the keys" in sitting("x")


def test_the_same_task_stands_before_and_after_side_by_side(tmp_path: Path) -> None:
    fixed = [*MESSAGES[:2], *MESSAGES[4:6], {"role": "assistant", "content": "It is 90."}]
    before = write(tmp_path / "evaluation" / "before-test.jsonl", [trajectory(id="a"), trajectory(id="b")])
    write(tmp_path / "evaluation" / "after-test.jsonl", [trajectory(id="c"), trajectory(fixed, id="a")])
    sitting = Sitting(Film(before), width=100, pairs=lambda: evaluations(tmp_path))
    assert any(line.split()[:2] == ["before", "after"] for line in sitting("s").splitlines())
    assert sitting.at == (0, 0)
    text = sitting.shown
    assert "before" in text
    assert "It is 90." in text
    assert "this task is not in the other file" in sitting("n")
    assert "turn 1/4" in sitting("s")
    narrow = Sitting(Film(before), width=60, height=200, pairs=lambda: evaluations(tmp_path), paired=True)
    shown = narrow.shown
    assert shown.index("Sorry.") < shown.index("It is 90.")
    with pytest.raises(InputError, match="has no evaluation"):
        evaluations(tmp_path / "evaluation")
    assert "--after" in Sitting(Film(before))("s")


def test_a_film_is_read_as_far_as_it_is_shown(tmp_path: Path) -> None:
    path = write(tmp_path / "file.jsonl", [trajectory(id=str(number)) for number in range(5)])
    path.write_bytes(path.read_bytes() + b"nonsense\n")
    film = Film(path)
    sitting = Sitting(film)
    sitting("t")
    assert film.lines.end < path.stat().st_size / 2
    sitting("g", "5", ":", "enter")
    assert "file.jsonl:6 is no JSON" in " ".join(sitting("t").split())
    assert sitting.at == (4, 0)


def test_keys_are_known_by_name() -> None:
    assert keys_in("n\x1b[C\x1b[6~\r") == ["n", "right", "pagedown", "enter"]
    assert keys_in("\x1bé\x7f") == ["escape", "é", "backspace"]
    assert keys_in("\x1b[200~\x00") == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs termios")
def test_a_terminal_shows_the_player_and_gets_its_screen_back(run_folder: Path) -> None:
    import pty

    pid, descriptor = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.environ |= {"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
        os.execv(sys.executable, [sys.executable, "-m", "eval", "replay", str(run_folder)])
    sent = b""
    for key in (b"", b"n", b"q"):
        os.write(descriptor, key)
        while b"h help" not in sent.split(b"\x1b[H")[-1]:
            sent += os.read(descriptor, 65536)
        if key != b"q":
            sent += b"\x1b[H" * (key == b"")
    with contextlib.suppress(OSError):
        while part := os.read(descriptor, 65536):
            sent += part
    assert os.waitpid(pid, 0)[1] == 0
    assert b"\x1b[?1049h" in sent
    assert sent.rstrip().endswith(b"\x1b[?25h")
    assert b"lookup_order" in sent
    assert b"turn 2/4" in sent


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
