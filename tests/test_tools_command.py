"""`python -m tools`: tools and calls from files and modules, calls by hand, arguments as a person types them."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import pytest

import tools.__main__ as command_line
from tools import READ, DomainError, InfrastructureFault, Tool, Toolset, tool, tools_of
from tools.command import InputError, did_you_mean, run
from tools.line import properties_of, read_arguments, read_words
from tools.source import tools_from


@tool(READ)
def get_order(order_id: int, part: Literal["items", "total"] = "total", note: str = "") -> dict[str, Any]:
    """Look up an order."""
    if order_id != 417:
        raise DomainError("order not found")
    return {"order_id": order_id, "part": part, "note": note}


@tool(READ)
def lose() -> None:
    raise InfrastructureFault("the line is dead")


class Desk:
    def __init__(self, store: object) -> None:
        self.store = store

    @tool(READ)
    def look(self) -> str:
        return "seen"


class Kiosk:
    @tool(READ)
    def look(self) -> str:
        return "seen"


@pytest.fixture(autouse=True)
def shop(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("shop")
    found = {
        "get_order": get_order,
        "lose": lose,
        "Desk": Desk,
        "Kiosk": Kiosk,
        "desk": Desk(1),
        "both": [get_order, lose],
    }
    vars(module).update(found, closed=Toolset(tools_of([get_order]), catalogue={"lose"}))
    monkeypatch.setitem(sys.modules, "shop", module)


def main(*arguments: str) -> int | None:
    return command_line.main(arguments)


def written(path: Path, *lines: Any) -> str:
    path.write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    return str(path)


# call


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["shop", "get_order", "order_id=417"], {"order_id": 417, "part": "total", "note": ""}),
        (["shop:get_order", "get_order", '{"order_id": 417}'], {"order_id": 417, "part": "total", "note": ""}),
        (
            ["shop:both", "get_order", "order_id:=417", "note=two words"],
            {"order_id": 417, "part": "total", "note": "two words"},
        ),
        (["shop:closed", "get_order", "order_id=417", "note=5"], {"order_id": 417, "part": "total", "note": "5"}),
        (["shop:Kiosk", "look"], "seen"),
        (["shop:desk", "look"], "seen"),
    ],
)
def test_call_by_hand(words: list[str], answer: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main("call", *words) == 0
    assert json.loads(capsys.readouterr().out) == answer


@pytest.mark.parametrize(
    ("words", "code", "suggestion"),
    [
        (["shop", "get_ordr"], "nonexistent_tool", "get_order"),
        (["shop:closed", "lose"], "unavailable_tool", None),
        (["shop", "get_order", "order_id=417", "part=totl"], "invalid_value", "total"),
        (["shop", "get_order", "order_id=seven"], "wrong_type", None),
        (["shop", "get_order", "order_id=1"], "domain_rejection", None),
        (["shop", "get_order", "[1]"], "malformed_call", None),
    ],
)
def test_a_wrong_call_by_hand(
    words: list[str], code: str, suggestion: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main("call", *words) == 1
    (error,) = json.loads(capsys.readouterr().out)["errors"]
    assert (error["code"], error.get("suggestion")) == (code, suggestion)


def test_a_fault_is_said_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main("call", "shop", "lose") == 1
    assert capsys.readouterr() == ("", "infrastructure_fault: the line is dead\n")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["call", "shop:Desk", "look"], "Desk's constructor asks for more .*: give module:attribute of an instance"),
        (["call", "shop", "get_order", "417"], r"'417' is no argument: write name=value \(order_id, part, note\)"),
        (["call", "shop", "get_order", "order_id:=x"], "after := comes JSON"),
        (["show", "shop:desc"], "did you mean 'desk'"),
        (["show", "shopp"], "can't import 'shopp'"),
        (["check", "shop", "nothing.jsonl"], "nothing.jsonl is no file"),
    ],
)
def test_what_is_wrong_with_a_command(words: list[str], text: str) -> None:
    with pytest.raises(InputError, match=text):
        main(*words)


def test_a_schema_without_a_function_cant_be_called(tmp_path: Path) -> None:
    path = written(tmp_path / "tools.json", [tools_of(get_order)[0].to_openai()])
    with pytest.raises(InputError, match="schema without a function"):
        main("call", path, "get_order")


# show


def show(*arguments: str) -> None:
    main("show", *arguments)


def test_show_writes_schemas_that_can_be_shown_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "tools.json"
    show("envs.store.tools:StoreTools", "--json")
    path.write_text(capsys.readouterr().out)
    show(str(path), "--json")
    assert json.loads(capsys.readouterr().out) == json.loads(path.read_text())


def test_show_draws_a_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    show("envs.store.tools:StoreTools")
    table = capsys.readouterr().out
    assert "reason: damaged | late | unwanted" in table
    assert "confirm: boolean (else true)" in table


def test_nothing_in_a_schema_moves_the_cursor_or_is_read_as_markup(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "tools.json"
    path.write_text(json.dumps([{"name": "[bold]a", "description": "\x1b[2J \ud800", "parameters": {}}]))
    show(str(path))
    table = capsys.readouterr().out
    assert "[bold]a" in table
    assert "\\x1b[2J" in table
    assert "\x1b[2J" not in table


@pytest.mark.parametrize("source", ["shop:Kiosk", "shop:desk", "shop:closed", "shop:both", "shop:get_order", "shop"])
def test_show_takes_what_has_tools(source: str) -> None:
    known = {"shop:closed": ["get_order"], "shop:both": ["get_order", "lose"], "shop:get_order": ["get_order"]}
    known["shop"] = known["shop:both"]
    assert [tool.name for tool in tools_from(source)] == known.get(source, ["look"])


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("envs.store.tools:StoreTool", "did you mean 'StoreTools'"),
        ("envs.stor:StoreTools", "can't import 'envs.stor'"),
        (":StoreTools", "can't import ''"),
        ("envs.store.tools:NAMES", "expected a list of Tool"),
        ("json:loads", "loads is not marked: write @tool"),
        ("nothing.json", "is no file"),
    ],
)
def test_show_says_what_is_wrong_with_its_source(source: str, text: str) -> None:
    with pytest.raises(InputError, match=text):
        tools_from(source)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("{", "is no JSON"),
        ("{}", "with a 'name'"),
        ("7", "expected a JSON list"),
        ("[7]", "expected a tool schema"),
        ("[]", "has no tools"),
        ('[{"name": 7}]', "with a 'name'"),
        ('[{"name": "a", "parameters": {"type": "integr"}}]', "no JSON Schema"),
        ('[{"name": "a", "parameters": {"type": "array"}}]', "expected parameters of type 'object'"),
    ],
)
def test_show_says_what_is_wrong_with_a_file(content: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / "tools.json"
    path.write_text(content)
    with pytest.raises(InputError, match=text):
        tools_from(str(path))


def test_show_in_mcps_form_and_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main("show", "shop:get_order", "--json", "--form", "mcp")
    (spec,) = json.loads(capsys.readouterr().out)
    assert spec["annotations"] == {"readOnlyHint": True}
    main("show", written(tmp_path / "tools.json", {"tools": [spec]}), "--json")
    assert json.loads(capsys.readouterr().out) == [tools_of(get_order)[0].to_openai()]


def test_a_class_is_shown_without_what_its_constructor_asks_for(capsys: pytest.CaptureFixture[str]) -> None:
    main("show", "shop:Desk")
    assert "look" in capsys.readouterr().out


def test_a_file_may_have_a_schema_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(
        "show",
        written(tmp_path / "tools.jsonl", {"name": "a", "parameters": {"type": "dict"}}, {"name": "b"}),
        "--json",
    )
    assert [spec["function"]["name"] for spec in json.loads(capsys.readouterr().out)] == ["a", "b"]


# check

GOOD = {"name": "get_order", "arguments": {"order_id": 417}}
BAD = {"id": "c1", "type": "function", "function": {"name": "get_order", "arguments": '{"order": "7"}'}}


def test_check_names_every_violation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path / "calls.json", [GOOD, BAD, {"name": "lose"}])
    assert main("check", "shop:closed", path, "--json") == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["call"], line["id"], line["code"], line["path"]) for line in lines] == [
        (1, "c1", "missing_argument", "$.order_id"),
        (1, "c1", "unexpected_argument", "$.order"),
        (2, "", "unavailable_tool", "name"),
    ]
    assert lines[1]["suggestion"] == "order_id"
    assert main("check", "shop:closed", path) == 1
    shown = capsys.readouterr().out
    assert "unexpected_argument" in shown
    assert "3 calls, 2 invalid" in shown


@pytest.mark.parametrize(
    "lines",
    [
        [GOOD],
        [[GOOD, GOOD]],
        [GOOD, GOOD],
        [{"role": "user", "content": "hm"}, {"role": "assistant", "tool_calls": [{"function": GOOD}]}],
        [{"messages": [{"role": "assistant", "tool_calls": [{"function": GOOD}]}, {"role": "tool", "name": "x"}]}],
    ],
)
def test_check_takes_calls_and_messages(lines: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main("check", "shop", written(tmp_path / "calls.jsonl", *lines)) == 0
    assert "none invalid" in capsys.readouterr().out


def test_check_reads_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(json.dumps(GOOD).encode())))
    assert main("check", "shop", "-") == 0
    assert capsys.readouterr().out == "1 calls, none invalid\n"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"[]", "holds no tool calls"),
        (b"7", "expected a tool call or a message, came int '7'"),
        (b'{"a": 1}', "expected a tool call with a 'name'"),
        (b'{"name": "a", "arguments": {}}\n{', "line 2 is no JSON"),
        (b"{", "is no JSON"),
        (b"\xff", "is no UTF-8"),
        (b'{"function": 7}', "use OpenAI's chat form"),
    ],
)
def test_what_is_wrong_with_a_file_of_calls(content: bytes, text: str, tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    path.write_bytes(content)
    with pytest.raises(InputError, match=text):
        main("check", "shop", str(path))


# Arguments as they are typed

PROPERTIES = {"id": {"type": "integer"}, "text": {"type": "string"}, "word": {"enum": ["1", "a"]}, "any": True}


def test_a_line_of_arguments() -> None:
    line = """id=7 text=7 word=1 any=[1, 2] more="two words" exact:={"a": null} single='it is'"""
    assert read_arguments(line, PROPERTIES) == {
        "id": 7,
        "text": "7",
        "word": "1",
        "any": [1, 2],
        "more": "two words",
        "exact": {"a": None},
        "single": "it is",
    }


def test_words_from_a_shell_may_have_spaces() -> None:
    words = ["text=two words", 'any="a"', "id=x y", 'more={"a": 1} and more']
    assert read_words(words, PROPERTIES) == {
        "text": "two words",
        "any": "a",
        "id": "x y",
        "more": '{"a": 1} and more',
    }


def test_a_ref_stands_for_what_it_names() -> None:
    parameters = {
        "properties": {"heat": {"$ref": "#/$defs/Heat", "default": "1"}, "lost": {"$ref": "#/$defs/Lost"}, "any": True},
        "$defs": {"Heat": {"enum": ["1", "2"]}},
    }
    properties = properties_of(parameters)
    assert properties["heat"]["enum"] == ["1", "2"]
    assert read_arguments("heat=1 lost=1", properties) == {"heat": "1", "lost": 1}
    assert properties["any"] is True
    assert Tool(name="a", description="", parameters=parameters).required == ()


# What all command lines share


def raises(error: BaseException) -> Callable[[], None]:
    def command() -> None:
        raise error

    return command


def test_a_users_mistake_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        run(raises(InputError("no such file: give another")))
    assert left.value.code == 2
    assert capsys.readouterr().err == "error: no such file: give another\n"


def test_ctrl_c_exits_with_130(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        run(raises(KeyboardInterrupt()))
    assert left.value.code == 130
    assert "interrupted" in capsys.readouterr().err


def test_a_bug_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        run(lambda: 1 // 0)


def test_did_you_mean() -> None:
    assert did_you_mean("trian", ["train", "test"]) == "did you mean 'train'?"
    assert did_you_mean("xyz", ["train", "test"]) == "known: train, test"
