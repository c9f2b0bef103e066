"""Where things stand in text: JSON values, the calls of a turn, and the part that a violation is about."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from critics.spans import Node, call_blocks, places, scan
from tools import ToolCall
from tools.misfits import json_path

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda part: st.lists(part, max_size=4) | st.dictionaries(st.text(), part, max_size=4),
    max_leaves=20,
)


def paths_of(value: Any, path: str = "$") -> list[tuple[str, Any]]:
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [(path, value), *(found for key, part in parts for found in paths_of(part, json_path(path, key)))]


def node_of(text: str) -> Node:
    node = scan(text)
    assert node is not None
    return node


@given(JSON, st.sampled_from([None, 0, 2]), st.booleans(), st.text(alphabet=" \n\t", max_size=3))
def test_every_path_leads_to_its_value(value: Any, indent: int | None, plain: bool, space: str) -> None:
    text = f"{space}{json.dumps(value, indent=indent, ensure_ascii=plain)}{space}"
    root = node_of(text)
    for path, part in paths_of(value):
        node, rest = root.find(path)
        assert rest == ""
        assert json.loads(text[slice(*node.span)]) == part
        if isinstance(part, dict):
            assert text[node.end - 1] == "}"


@given(st.dictionaries(st.text(), JSON, max_size=5))
def test_a_key_starts_at_its_quote(members: dict[str, Any]) -> None:
    text = json.dumps(members)
    for name, value in members.items():
        node, _ = node_of(text).find(json_path("$", name))
        assert json.loads(f"{{{text[node.key : node.end]}}}") == {name: value}


@given(st.text())
def test_the_scanner_takes_what_json_takes(text: str) -> None:
    try:
        json.loads(text)
    except ValueError:
        assert scan(text) is None
    else:
        assert scan(text) is not None


def test_of_two_members_with_one_name_the_last_counts() -> None:
    text = '{"a": {"b": 1}, "a": {"b": 22}}'
    node, rest = node_of(text).find("$.a.b")
    assert (text[slice(*node.span)], rest) == ("22", "")


def test_a_path_is_followed_as_far_as_it_leads() -> None:
    text = '{"items": [{"sku": "x"}, {"size": 2}]}'
    node, rest = node_of(text).find("$.items[1].sku")
    assert (text[slice(*node.span)], rest) == ('{"size": 2}', ".sku")
    assert node_of(text).find("$.items[7]")[1] == "[7]"


def test_a_name_that_needs_quotes_is_found_quoted_and_plain() -> None:
    text = '{"a.b": 1, "it\'s [0]": 2, "": 3}'
    root = node_of(text)
    for path, value in (("$.a.b", "1"), ("$['a.b']", "1"), (r"$['it\'s [0]']", "2"), ("$.it's [0]", "2"), ("$.", "3")):
        assert text[slice(*root.find(path)[0].span)] == value, path


def test_the_scanner_is_linear() -> None:
    # Would take minutes if each name or each nesting cost as much as all that is before it.
    wide = json.dumps({f"name{number}": '\\"{[' * 5 for number in range(50_000)})
    assert len(node_of(wide).children) == 50_000
    deep = '{"a":' * 900 + "1" + "}" * 900
    node, rest = node_of(deep).find("$" + ".a" * 900)
    assert (deep[slice(*node.span)], rest) == ("1", "")
    assert scan('"' + '\\"' * 100_000) is None
    assert scan("[" * 100_000) is None


@pytest.mark.parametrize(
    ("raw", "inner"),
    [
        ("<tool_call>\n{1}\n</tool_call><|im_end|>", ["{1}"]),
        ("Let me see.\n<tool_call>{1}</tool_call>\n<tool_call> {2} </tool_call>", ["{1}", "{2}"]),
        ("<tool_call>\n{1}\n</tool_call>\n<tool_call>\n{2", ["{1}", "{2"]),
        ("<tool_call>\n{1<|im_end|>\n</tool_call>", ["{1"]),
        ("<tool_call></tool_call>", ["<tool_call></tool_call>"]),
        ("<think>\n<tool_call>draft</tool_call>\n</think>\n<tool_call>{1}</tool_call>", ["{1}"]),
        ("<think>\nnot closed <tool_call>{1}</tool_call>", ["{1}"]),
        ("the answer </think> is <tool_call>{1}</tool_call>", ["{1}"]),
        ("only text<|im_end|>", []),
        ("", []),
    ],
)
def test_blocks(raw: str, inner: list[str]) -> None:
    assert [raw[start:end] for start, end in call_blocks(raw)] == inner


def call(name: str, arguments: str) -> ToolCall:
    return ToolCall(id="call_0", name=name, arguments=arguments)


def block(name: str, arguments: str) -> str:
    return f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'


def test_each_call_is_found_in_its_own_block() -> None:
    written = block("look", '{"id": 1}')
    raw = f"Both.\n{written}\n{written}<|im_end|>"
    first, second = places([call("look", '{"id":1}'), call("look", '{"id":1}')], raw)
    assert raw[slice(*first.name)] == raw[slice(*second.name)] == "look"
    assert first.name < first.value("$.id") < second.name < second.value("$.id")
    assert raw[slice(*second.value("$.id"))] == "1"
    assert raw[slice(*second.whole)] == '{"name": "look", "arguments": {"id": 1}}'


def test_a_broken_block_between_two_calls_keeps_its_place() -> None:
    raw = "\n".join([block("look", "{}"), "<tool_call>\n{oops\n</tool_call>", block("move", '{"x": 5}')])
    calls = [call("look", "{}"), call("", "{oops"), call("move", '{"x": 5}')]
    look, broken, move = places(calls, raw)
    assert raw[slice(*look.name)] == "look"
    assert raw[slice(*broken.whole)] == "{oops"
    assert raw[slice(*move.value("$.x"))] == "5"


def test_a_call_in_another_form_is_found_by_its_arguments() -> None:
    raw = '[TOOL_CALLS]look[ARGS]{"id": 1}[TOOL_CALLS]look[ARGS]{"id": 1}</s>'
    first, second = places([call("look", '{"id": 1}'), call("look", '{"id": 1}')], raw)
    assert first.value("$.id")[1] < second.name[0]
    assert raw[slice(*second.name)] == "look"
    assert raw[second.value("$.id")[0] - 7 : second.value("$.id")[1]] == '{"id": 1'


def test_a_call_that_cannot_be_found_is_all_of_its_turn() -> None:
    raw = "<function=look><parameter=id>1</parameter></function>"
    (place,) = places([call("look", '{"id": 1}')], raw)
    assert place.value("$.id") == place.member("$.id") == place.closing("$.x") == (0, len(raw))
    assert raw[slice(*place.name)] == "look"


def test_a_block_that_holds_another_call_is_not_trusted() -> None:
    raw = block("other", '{"id": 2}')
    (place,) = places([call("look", '{"id": 1}')], raw)
    assert place.whole == (0, len(raw))


def test_without_raw_text_places_count_in_the_call_itself() -> None:
    (place,) = places([call("look", '{"id": 1}')], None)
    assert (place.name, place.value("$.id"), place.closing("$.x")) == ((0, 4), (7, 8), (8, 9))
