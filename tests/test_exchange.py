"""Trajectories that go out as OpenAI's messages or as a folder of the `datasets` library, and those that come in."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from critics import Finding, criticize
from envs import Archive, Trajectory, Turn, read_trajectories
from envs.exchange import Export, Import
from envs.policies import load_policy
from envs.rollout import rollout
from tools.command import InputError

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def trajectories() -> list[Trajectory]:
    """A dozen tasks with mistakes, with tokens as a model's turns have them."""
    return [
        replace(
            trajectory,
            turns=[
                Turn(message_index=index, prompt_ids=[1, 2], token_ids=[3, index], logprobs=[-0.1, -2.5], raw="...")
                for index, message in enumerate(trajectory.messages)
                if message["role"] == "assistant"
            ],
        )
        for trajectory in rollout(load_policy("habitual"), "store-v0", range(12))
    ]


@pytest.fixture
def file(tmp_path: Path, trajectories: list[Trajectory]) -> Path:
    path = tmp_path / "trajectories.jsonl"
    with Archive(path) as archive:
        for trajectory in trajectories:
            archive.write(trajectory.to_json())
    return path


def found(path: Path) -> Iterator[tuple[str, list[Finding]]]:
    """The findings of a file as if no turn's text were known, since spans count in that."""
    return ((part.id, criticize(replace(part, turns=()))) for part in read_trajectories(path))


def test_what_goes_out_and_comes_in_again_has_the_same_errors(file: Path, tmp_path: Path) -> None:
    chat, back = tmp_path / "chat.jsonl", tmp_path / "new" / "back.jsonl"
    Export(file=file, openai=chat)()
    Import(file=chat, out=back)()
    expected = list(found(file))
    assert list(found(chat)) == list(found(back)) == expected
    assert sum(len(findings) for _, findings in expected) > 5


def test_a_conversation_is_what_other_programs_know(file: Path, tmp_path: Path) -> None:
    chat = tmp_path / "chat.jsonl"
    Export(file=file, openai=chat)()
    for line, trajectory in zip(chat.read_text().splitlines(), read_trajectories(file), strict=True):
        record = json.loads(line)
        assert list(record)[:3] == ["id", "tools", "messages"]
        assert record["messages"] == trajectory.messages
        assert "turns" not in record


def test_a_folder_is_what_the_library_reads(file: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    folder = tmp_path / "new" / "folder"
    Export(file=file, datasets=folder)()
    rows = datasets.load_from_disk(str(folder))
    assert [path.name for path in folder.parent.iterdir()] == ["folder"]
    for row, trajectory in zip(rows, read_trajectories(file), strict=True):
        assert Trajectory.from_json(read_row(row)) == trajectory


def read_row(row: dict[str, Any]) -> dict[str, Any]:
    """A row as a record: columns that are JSON text read, and members that a message does not have left out."""
    read = {name: json.loads(row[name]) for name in ("task", "tools", "tools_from")}
    said = [{name: value for name, value in message.items() if value is not None} for message in row["messages"]]
    return {**row, **read, "messages": said}


def test_a_folder_with_something_in_it_is_left_alone(file: Path, tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    with pytest.raises(InputError, match="has something in it"):
        Export(file=file, datasets=tmp_path)()


def test_without_the_library_it_says_what_to_install(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match=r"pip install 'hintsight\[datasets\]'"):
        Export(file=file, datasets=tmp_path / "folder")()


def test_conversations_of_another_program(tmp_path: Path) -> None:
    """No ids, no tools, arguments as an object: what a fine-tuning service takes."""
    path, out = tmp_path / "theirs.jsonl", tmp_path / "ours.jsonl"
    call = {"id": "c", "type": "function", "function": {"name": "look", "arguments": {"at": "Zürich"}}}
    said = [{"role": "user", "content": "Look."}, {"role": "assistant", "tool_calls": [call]}]
    path.write_text("\n".join(json.dumps({"messages": said}) for _ in range(2)))
    Import(file=path, out=out, policy="theirs")()
    first, second = read_trajectories(out)
    assert (first.id, second.id, first.policy) == ("1", "2", "theirs")
    assert first.messages[1]["tool_calls"][0]["function"]["arguments"] == '{"at": "Zürich"}'


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{oops}", "is no JSON"),
        ('{"id": "b"}', "object 2: no trajectory"),
        ('{"id": "b", "messages": [{"role": "assistant", "tool_calls": [{"name": "f"}]}]}', "use OpenAI's chat form"),
        ('{"id": "a", "messages": []}', "the id 'a' came before"),
    ],
)
def test_a_line_that_is_none_leaves_the_older_file(tmp_path: Path, line: str, said: str) -> None:
    path, out = tmp_path / "theirs.jsonl", tmp_path / "ours.jsonl"
    out.write_text("older")
    path.write_text(f'{{"id": "a", "messages": []}}\n{line}\n')
    with pytest.raises(InputError, match=said):
        Import(file=path, out=out)()
    assert out.read_text() == "older"


def test_the_input_is_never_overwritten(file: Path) -> None:
    before = file.read_bytes()
    for command in (Export(file=file, openai=file), Import(file=file, out=file.parent / "." / file.name)):
        with pytest.raises(InputError, match="write to another file"):
            command()
    assert file.read_bytes() == before


def test_a_place_that_cannot_be_written(file: Path, tmp_path: Path) -> None:
    (tmp_path / "blocked").write_text("a file, not a folder")
    with pytest.raises(InputError, match="can't be written"):
        Export(file=file, openai=tmp_path / "blocked" / "chat.jsonl")()


def test_the_command_line(file: Path, tmp_path: Path) -> None:
    def envs(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "envs", *map(str, arguments)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)

    out = envs("export", file, "--openai", tmp_path / "chat.jsonl")
    assert (out.stdout, out.stderr) == (f"12 conversations: {tmp_path / 'chat.jsonl'}\n", "")
    back = envs("import", tmp_path / "chat.jsonl", tmp_path / "back.jsonl")
    assert (back.stdout, back.stderr) == (f"12 trajectories: {tmp_path / 'back.jsonl'}\n", "")


def test_an_export_to_nowhere(file: Path) -> None:
    with pytest.raises(InputError, match="nothing to write"):
        Export(file=file)()
