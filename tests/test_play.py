"""A person acting: lines read as calls, moves and undoing them, what is shown, what is saved."""

import io
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from envs import StopReason, make, read_trajectories
from envs.env import Observation, State, ToolEnv
from envs.game import Change, Game, changes
from envs.line import COMMANDS, Command, completions, read_line
from envs.play import play
from envs.policies import ExpertPolicy
from envs.screen import Help
from envs.trajectory import Message
from tools import Tool, Toolset
from tools.command import InputError
from tools.screen import ToolTable, visible

ROOT = Path(__file__).parents[1]
SCHEMA = {
    "type": "object",
    "properties": {
        "order_id": {"type": "string"},
        "amount": {"type": "integer"},
        "method": {"type": "string", "enum": ["card", "gift card"]},
        "confirm": {"type": "boolean"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "either": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
    },
    "required": ["order_id"],
}
TOOLS = Toolset([Tool(name="refund", description="Pay back.", parameters=SCHEMA, function=dict)])


def screen(*lines: str, seed: int = 7, game: Game | None = None, width: int = 80) -> str:
    """What is shown when a person types `lines`."""
    game = game or Game("store-v0", seed=seed, split="test")
    console = Console(file=io.StringIO(), width=width, highlight=False)
    play(game, console, lines)
    game.close()
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def arguments_of(line: str) -> Any:
    """The arguments of the call that a line stands for."""
    message = read_line(line, TOOLS, "call_0")
    assert isinstance(message, dict)
    return json.loads(message["tool_calls"][0]["function"]["arguments"])


@pytest.mark.parametrize(
    ("line", "arguments"),
    [
        ("refund", {}),
        ("refund order_id=417", {"order_id": "417"}),
        ("refund amount=417", {"amount": 417}),
        ('refund amount="417"', {"amount": "417"}),
        ("refund amount='\"417\"'", {"amount": "417"}),
        ("refund order_id:=417", {"order_id": 417}),
        ("refund order_id='417'", {"order_id": "417"}),
        ("refund order_id='two words' amount=3", {"order_id": "two words", "amount": 3}),
        ('refund order_id="a \\"b\\" c" confirm=true', {"order_id": 'a "b" c', "confirm": True}),
        ('refund tags=["a", "b"] amount=2', {"tags": ["a", "b"], "amount": 2}),
        ("refund tags=[a", {"tags": "[a"}),
        ("refund order_id=", {"order_id": ""}),
        ("refund order_id=a=b", {"order_id": "a=b"}),
        ("refund either=3 other=4 word=x", {"either": 3, "other": 4, "word": "x"}),
        ("refund amount=NaN", {"amount": "NaN"}),
        ("refund method=1", {"method": "1"}),
        ("unknown a=1", {"a": 1}),
        ('{"name": "refund", "arguments": {"amount": "x"}}', {"amount": "x"}),
        ('{"name": "anything"}', {}),
    ],
)
def test_a_line_is_read_as_a_call(line: str, arguments: dict[str, Any]) -> None:
    assert arguments_of(line) == arguments


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("refund 417", r"'417' is no argument: write name=value \(order_id,"),
        ("refund order_id:=x", "after := comes JSON"),
        ("rfund", "did you mean 'refund'"),
        ("I did it", "answer TEXT"),
        ("answer", "an answer needs a text"),
        (":udno", "did you mean ':undo'"),
        ("quit", "write  :quit"),
        ('{"name": "refund"', "so it was not sent"),
        ('{"arguments": {}}', "a call in JSON is"),
        ('{"name": "refund", "args": {}}', "a call in JSON is"),
        ("[" * 5000, "no tool"),
        ('{"name": ' + "[" * 100_000, "so it was not sent"),
    ],
)
def test_a_line_that_is_nothing_is_answered_with_what_to_write(line: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        read_line(line, TOOLS, "call_0")


def test_answers_and_commands_are_read() -> None:
    assert read_line("answer  All is well. ", TOOLS, "call_0") == {"role": "assistant", "content": "All is well."}
    assert read_line(":save some file", TOOLS, "call_0") == Command(name=":save", text="some file")


def test_a_call_can_be_malformed_on_purpose() -> None:
    message = read_line('{"name": "refund", "arguments": "{oops"}', TOOLS, "call_0")
    assert isinstance(message, dict)
    assert message["tool_calls"][0]["function"]["arguments"] == "{oops"


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("re", ["refund "]),
        ("", ["refund ", "answer ", *(f"{command.split()[0]} " for command in COMMANDS)]),
        (":s", [":schema ", ":state ", ":save "]),
        (":schema ", ["refund "]),
        ("refund order_id=1 a", ["amount="]),
        ("refund method=", ["method=card ", 'method="gift card" ']),
        ("refund confirm=t", ["confirm=true "]),
        ("refund order_id=", []),
        ("unknown ", []),
    ],
)
def test_the_tab_key_completes(before: str, expected: list[str]) -> None:
    assert completions(before, TOOLS) == expected


def test_the_expert_solves_a_task_move_by_move() -> None:
    shown = screen(":expert", ":expert", ":expert")
    assert "Look at order #418" in shown
    assert "changed: new refund: order_id 418, amount 192, method voucher" in shown
    assert "solved: reward 1, answered" in shown
    assert "not solved" not in shown


def test_hand_written_calls_solve_a_task() -> None:
    shown = screen(
        "find_order order_id=418",
        '{"name": "refund_order", "arguments": {"order_id": "418", "amount": 192, "method": "coupon"}}',
        "answer Paid back.",
    )
    assert '"shipment_id": 717' in shown
    assert shown.rstrip().startswith("store-v0, split test, task 7")
    assert "\nsolved: reward 1" in shown


def test_an_early_answer_does_not_solve_it_and_the_goal_stays_hidden() -> None:
    shown = screen("answer I don't know.", ":expert", "find_order order_id=418")
    assert "not solved: reward 0, answered" in shown
    assert shown.count("the episode has ended") == 2
    assert "192" not in shown


def test_errors_are_marked_with_what_was_expected_and_what_came() -> None:
    shown = screen(
        "find_ordr order_id=1",
        "refund_order order_id:=418 amont=3 method=coupn",
        "refund_order order_id=418 amount=9999 method=cash",
    )
    for text in ("nonexistent_tool", "did you mean 'find_order'?", "missing_argument", "$.amount", "wrong_type", "418"):
        assert text in shown
    for text in ("did you mean 'amount'?", "did you mean 'coupon'?", "at most 192 can be refunded", "error 3 of 3"):
        assert text in shown
    assert "not solved: reward 0, error_limit" in shown


def test_undo_takes_moves_back_even_the_last_one() -> None:
    shown = screen(":expert", "answer Too early.", ":undo", ":undo", ":undo", ":expert", ":expert", ":expert")
    assert shown.count("undone: ") == 2
    assert "there is nothing to undo" in shown
    assert "\nsolved: reward 1" in shown


def test_undo_gives_the_world_as_it_was() -> None:
    game = Game("store-v0", seed=7, split="test")
    start = game.env.state()
    game.let(ExpertPolicy())
    before = game.env.state()
    game.let(ExpertPolicy())
    assert game.env.state() != before
    game.undo()
    assert game.env.state() == before == start
    assert len(game.moves) == game.env.turns == 1
    game.close()


def test_commands_show_what_they_say() -> None:
    shown = screen(":help", ":task", ":schema find_order", ":schema nothing", ":state", ":tools", ":quit", ":expert")
    assert shown.count("Look at order #418") == 2
    assert '"required": [' in shown
    assert "no tool 'nothing'" in shown
    assert "reservation: empty" in shown
    assert "expert: " not in shown
    for command in COMMANDS:
        assert command in shown


def test_only_an_ended_episode_is_saved(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    shown = screen(f":save {path}", ":save", width=200)
    assert "still going on" in shown
    assert "give a file" in shown
    assert not path.exists()
    screen("answer No.", f":save {path}")
    screen(":expert", "answer No.", f":save {path}")
    first, second = read_trajectories(path)
    assert (first.id, second.id) == ("store-v0/test/7/person0", "store-v0/test/7/person1")
    assert (first.policy, second.policy) == ("person", "person with expert")
    assert (first.stop_reason, first.success) == (StopReason.ANSWERED, False)
    assert [message["role"] for message in second.messages] == ["system", "user", "assistant", "tool", "assistant"]


def test_a_failed_save_is_told_and_the_game_goes_on(tmp_path: Path) -> None:
    shown = screen("answer No.", f":save {tmp_path}", ":undo", width=300)
    assert "give the path of a JSONL file" in shown
    assert "undone: answer No." in shown


def test_nothing_of_the_world_moves_the_cursor_or_is_read_as_markup() -> None:
    assert visible("a\x1b[2Jb\nc\u202ed\te") == "a\\x1b[2Jb\nc\\u202ed\\te"
    game = Game("store-v0", seed=7, split="test")
    game.opening = ({"role": "user", "content": "[bold]hi[/] \x1b[31m [/nothing]"},)
    shown = screen('find_order order_id=1 x="[/red]\x1b]0;x\x07"', game=game, width=200)
    assert "[bold]hi[/] \\x1b[31m [/nothing]" in shown
    assert "[/red]" in shown
    assert "\x1b" not in shown
    assert "\x07" not in shown


@pytest.mark.parametrize("width", [40, 80])
def test_what_is_shown_fits_the_screen(width: int) -> None:
    shown = screen(":help", ":tools", ":state", ":expert", ":expert", "refund_order x=1", width=width)
    assert max(map(len, shown.splitlines())) <= width


def test_tools_of_any_schema_are_shown() -> None:
    console = Console(file=io.StringIO(), width=100)
    console.print(ToolTable(TOOLS.offered.values()))
    console.print(Help([]))
    console.print(ToolTable([Tool(name="bare", description="", parameters={})]))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    for text in ("card | gift card", "list of string", "string or integer", "amount: integer (optional)", "none"):
        assert text in shown
    assert "order_id: string (optional)" not in shown


def test_changes_pair_rows_by_their_first_column() -> None:
    before: State = {
        "order": [{"id": 1, "status": "open"}, {"id": 2, "status": "open"}],
        "refund": [{"order": 1, "amount": 3}],
    }
    after: State = {
        "order": [{"id": 1, "status": "shipped"}],
        "refund": [{"order": 1, "amount": 3}] * 2,
        "new": [{"a": 1}],
    }
    assert changes(before, after) == [
        Change(table="order", before={"id": 2, "status": "open"}, after=None),
        Change(table="order", before={"id": 1, "status": "open"}, after={"id": 1, "status": "shipped"}),
        Change(table="refund", before=None, after={"order": 1, "amount": 3}),
        Change(table="new", before=None, after={"a": 1}),
    ]
    assert changes(after, after) == []


def test_a_world_that_does_not_show_its_state_can_be_played() -> None:
    class Silent(ToolEnv):
        def begin(self, seed: int) -> Observation:
            self.toolset = TOOLS
            return ({"role": "user", "content": "Do."},)

        def is_solved(self) -> bool:
            return True

        def task_record(self) -> dict[str, Any]:
            return {"seed": 0, "split": self.split}

        def expert_action(self, habits: Collection[str] = ()) -> Message:
            return {"role": "assistant", "content": "Yes."}

    assert Silent().state() == {}
    game = Game("store-v0", seed=7, split="test")
    game.close()
    game.env = Silent()
    game._begin()
    assert "doesn't show its state" in screen(":state", "refund order_id=1", "answer Yes.", game=game)


def test_the_store_shows_its_tables() -> None:
    env = make("store-v0")
    assert env.state() == {}
    env.reset(seed=3)
    state: State = env.state()
    assert list(state) == ["customer", "stock", "order", "shipment", "refund", "reservation", "ticket"]
    assert set(state["customer"][0]) == {"id", "name", "city"}
    assert json.loads(json.dumps(state)) == state
    env.close()


def test_the_user_comes_back_and_each_line_of_an_order_is_a_change() -> None:
    game = Game("store-v1", seed=7, split="test")
    moves = (":hint", ":expert", ":expert", ":hint", ":expert", ":hint", "answer It is cancelled.", ":expert")
    shown = screen(*moves, game=game)
    assert "call search_customer; :schema search_customer shows what it takes" in shown
    assert "call cancel_order" in shown
    assert "all is done: write  answer TEXT" in shown
    assert "changed: line O56255: status sent -> cancelled" in shown
    assert "gone line" not in shown
    assert "user: The winter coat of order O43987 goes back" in shown
    assert "expert: order_details" in shown


def test_a_model_makes_a_move_wherever_the_game_stands() -> None:
    game = Game("store-v0", seed=7, split="test")
    shown = screen(":expert", ":model tiny", ":model", ":undo", ":model nowhere", game=game)
    assert shown.count("tiny: ") == 2
    assert "no policy 'nowhere'" in shown
    assert [move.by for move in game.moves] == ["expert", "tiny"]


def test_a_file_is_shown_line_by_line() -> None:
    game = Game("workspace-v0", seed=3, split="test")
    shown = screen(":expert", ":expert", game=game).splitlines()
    assert "    def to_cents(text: str) -> int:" in [line.rstrip() for line in shown]
    assert any('"path": "cobalt/money.py"' in line for line in shown)
