"""The player: what each key shows, how it plays by itself, and a real terminal that gets its screen back."""

import contextlib
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import ConsoleDimensions

from eval.film import Film, Wanted, evaluations
from eval.keys import keys_in
from eval.player import Player
from eval.replay import Window
from tests.replayed import MESSAGES, screen, trajectory, write, write_run
from tools.command import InputError

ROOT = Path(__file__).parents[1]


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
    assert "file.jsonl:6isnoJSON" in "".join(sitting("t").split())
    assert sitting.at == (4, 0)


def test_keys_are_known_by_name() -> None:
    assert keys_in("n\x1b[C\x1b[6~\r") == ["n", "right", "pagedown", "enter"]
    assert keys_in("\x1bé\x7f") == ["escape", "é", "backspace"]
    assert keys_in("\x1b[200~\x00") == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs termios")
def test_a_terminal_shows_the_player_and_gets_its_screen_back(tmp_path: Path) -> None:
    import pty

    pid, descriptor = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.environ |= {"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
        os.execv(sys.executable, [sys.executable, "-m", "eval", "replay", str(write_run(tmp_path))])
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
