"""MCP, with real servers in processes of their own: any server as a toolset, any world as a server."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.stdio import stdio_client

import envs
from envs import ToolEnv, calls_of, read_trajectories
from envs.serve import Serve, Served
from tools import READ, WRITE, ErrorCode, InfrastructureFault, ToolCall, Toolset
from tools.__main__ import main as tools_main
from tools.command import InputError
from tools.mcp import connect, is_server, tools_of_server

ROOT = Path(__file__).parent.parent
PYTHON = sys.executable

SERVER = """
import os, time
from typing import Annotated, Literal
from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ImageContent, TextContent, ToolAnnotations
from pydantic import BaseModel, Field

server = MCPServer("demo")
reads = ToolAnnotations(read_only_hint=True)

class Point(BaseModel):
    x: int
    y: Annotated[int, Field(ge=0)] = 0

@server.tool(annotations=reads)
def norm(point: Point, how: Literal["sum", "product"] = "sum") -> int:
    "How far a point is."
    print("this is no protocol")
    return point.x + point.y if how == "sum" else point.x * point.y

@server.tool()
def move(point: Point, by: int) -> Point:
    "Move a point."
    return Point(x=point.x + by, y=point.y)

@server.tool(structured_output=False)
def say(text: str):
    return [TextContent(text=text), ImageContent(data="AA==", mime_type="image/png")] if text == "show" else text

@server.tool()
def refuse() -> str:
    raise ToolError("there is no such thing")

@server.tool()
def die() -> str:
    os._exit(3)

@server.tool()
def hang(seconds: float) -> str:
    time.sleep(seconds)
    return "late"

server.run("stdio")
"""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("mcp") / "server.py"
    path.write_text(SERVER)
    return f"mcp:'{PYTHON}' '{path}'"


def served(world: str, *options: str) -> list[str]:
    return ["-m", "envs", "serve", world, *options]


@contextmanager
def over_http(world: str, *options: str) -> Iterator[str]:
    """The URL of a served world, for as long as the context lasts."""
    command = [PYTHON, *served(world, "--http", "--port", "0", *options)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            line = process.stderr.readline()
            found = re.search(r"http://127\.0\.0\.1:\d+/mcp", line)
            assert found, line
            yield found[0]
        finally:
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=10)
    assert (process.returncode, output) == (130, "")


async def expert_acts(client: Client, env: ToolEnv, answer: str) -> dict[str, Any]:
    """Play the expert's moves over MCP and in a world here, which must say the same; gives the outcome."""
    while True:
        action = env.expert_action()
        results, _, terminated, _, _ = env.step(action)
        for call, expected in zip(calls_of(action), results, strict=False):
            function = call["function"]
            result = await client.call_tool(function["name"], json.loads(function["arguments"]))
            texts = [getattr(block, "text", None) for block in result.content]
            assert (texts[0], result.is_error) == (expected["content"], False)
        if not calls_of(action):
            result = await client.call_tool(answer, {"text": action["content"]})
            [text] = [getattr(block, "text", "") for block in result.content]
            if terminated:
                outcome: dict[str, Any] = json.loads(text)
                return outcome
            assert text == results[0]["content"]


def opened(world: str, seed: int) -> tuple[ToolEnv, list[str], list[str]]:
    """A world's task here, what opens it, and the names of its tools."""
    env = envs.make(world, split="test")
    messages, info = env.reset(seed=seed)
    return env, [message["content"] for message in messages], [tool["function"]["name"] for tool in info["tools"]]


def several_requests() -> int:
    """A task of store-v1 in which the customer comes back."""
    env = envs.make("store-v1", split="test")
    seed = next(seed for seed in range(1000) if env.reset(seed=seed)[1]["task"]["exchanges"] > 1)
    env.close()
    return seed


def run_client(server: Any, act: Callable[[Client], Awaitable[None]]) -> None:
    async def main() -> None:
        async with Client(server, read_timeout_seconds=20) as client:
            await act(client)

    anyio.run(main)


def over_stdio(world: str, *options: str) -> Any:
    parameters = StdioServerParameters(command=PYTHON, args=served(world, *options), cwd=ROOT)
    return stdio_client(parameters, sys.__stderr__ or sys.stderr)


# Worlds as servers


def test_a_client_solves_a_task_over_stdio(tmp_path: Path) -> None:
    seed, out = several_requests(), tmp_path / "out.jsonl"
    env, said, names = opened("store-v1", seed)

    async def act(client: Client) -> None:
        listed = (await client.list_tools()).tools
        assert [tool.name for tool in listed] == [*names, "answer"]
        for tool in listed[:-1]:
            assert tool.input_schema == dict(env.toolset.offered[tool.name].parameters)
            assert tool.annotations is not None
            assert tool.annotations.read_only_hint is (env.toolset.offered[tool.name].access is READ)
        assert client.instructions is not None
        assert all(text in client.instructions for text in said)
        [prompt] = (await client.list_prompts()).prompts
        parts = (await client.get_prompt(prompt.name)).messages
        assert [getattr(part.content, "text", "") for part in parts] == said
        [resource] = (await client.list_resources()).resources
        [content] = (await client.read_resource(resource.uri)).contents
        assert getattr(content, "text", "") == "\n\n".join(said)
        outcome = await expert_acts(client, env, "answer")
        assert outcome == {"reward": 1.0, "success": True, "stop_reason": "answered"}
        after = await client.call_tool(names[0], {})
        assert after.is_error
        assert "has ended" in getattr(after.content[0], "text", "")
        for wrong in (client.get_prompt("tusk"), client.read_resource("hintsight://tusk")):
            with pytest.raises(MCPError, match="the only one is"):
                await wrong

    run_client(over_stdio("store-v1", "--seed", str(seed), "--out", str(out)), act)
    [trajectory] = read_trajectories(out)
    assert (trajectory.id, trajectory.policy, trajectory.reward) == (f"store-v1/test/{seed}/mcp0", "mcp", 1.0)
    env.close()


def test_a_client_solves_a_task_over_http_and_another_finds_it_ended() -> None:
    env, _, names = opened("analyst-v0", 5)

    async def act(client: Client) -> None:
        outcome = await expert_acts(client, env, "answer")
        assert outcome["reward"] == 1.0

    async def find(client: Client) -> None:
        assert (await client.call_tool(names[0], {})).is_error

    with over_http("analyst-v0", "--seed", "5") as url:
        run_client(url, act)
        run_client(url, find)
    env.close()


def test_a_bad_call_is_answered_as_it_is_in_the_world_and_ends_it_at_the_limit(tmp_path: Path) -> None:
    env, _, names = opened("store-v1", 1)
    bad = [(names[0] + "x", {}), (names[0], {"nothing": 1}), (names[0], {})]
    out = tmp_path / "out.jsonl"

    async def act(client: Client) -> None:
        empty = await client.call_tool("answer", {})
        assert empty.is_error
        assert "missing_argument" in getattr(empty.content[0], "text", "")
        for number, (name, arguments) in enumerate(bad):
            call = ToolCall(id="c", name=name, arguments=json.dumps(arguments))
            [expected], *_, info = env.step({"role": "assistant", "tool_calls": [call.to_openai()]})
            result = await client.call_tool(name, arguments)
            texts = [getattr(block, "text", "") for block in result.content]
            assert result.is_error
            assert texts[0] == expected["content"]
            assert len(texts) == (2 if number == 2 else 1)
        assert info["stop_reason"] == json.loads(texts[1])["stop_reason"] == "error_limit"

    for number in range(2):
        run_client(over_stdio("store-v1", "--seed", "1", "--out", str(out)), act)
        env.reset(seed=1)
        assert [trajectory.id for trajectory in read_trajectories(out)][-1] == f"store-v1/test/1/mcp{number}"
    env.close()


def test_what_is_wrong_with_a_command_is_said_in_a_sentence(tmp_path: Path) -> None:
    for options, said in (
        ({"env": "store-v9"}, "did you mean"),
        ({"env": "store-v1", "split": "tset"}, "did you mean 'test'"),
        ({"env": "store-v1", "http": True, "port": 70_000}, "a port is"),
        ({"env": "store-v1", "http": True, "host": "0.0.0.0"}, "no loopback address"),
        ({"env": "store-v1", "http": True, "host": "example.org"}, "no loopback address"),
        ({"env": "store-v1", "seed": -1}, "whole number"),
        ({"env": "store-v1", "out": tmp_path}, "is no file"),
    ):
        with pytest.raises(InputError, match=said):
            Serve(**options)()


def test_a_port_that_is_taken_is_said_in_a_sentence() -> None:
    with over_http("store-v1") as url:
        port = int(url.split(":")[2].split("/")[0])
        with pytest.raises(InputError, match="choose another port"):
            Serve(env="store-v1", http=True, port=port)()


def test_without_the_package_both_ways_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "mcp"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mcp", None)
    with pytest.raises(InputError, match=r"pip install 'hintsight\[mcp\]'"):
        Serve(env="store-v1")()
    with pytest.raises(InputError, match=r"pip install 'hintsight\[mcp\]'"), connect("mcp:true"):
        pass


def test_the_tool_that_speaks_gets_a_name_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    world = type(envs.make("store-v1"))
    begin = world.begin

    def begin_with_a_tool_of_that_name(self: Any, seed: int) -> Any:
        opening = begin(self, seed)
        self.toolset = Toolset(self.toolset.tools, catalogue={"answer"})
        return opening

    monkeypatch.setattr(world, "begin", begin_with_a_tool_of_that_name)
    episode = Served("store-v1", seed=0, split="test")
    assert episode.answer.name == "answer_user"
    episode.close()


# Servers as toolsets


def test_a_served_world_is_a_toolset() -> None:
    env, _, names = opened("store-v0", 7)
    command = " ".join(f"'{word}'" for word in (PYTHON, *served("store-v0", "--seed", "7")))
    with connect(f"mcp:{command}", env={"PYTHONPATH": str(ROOT)}) as toolset:
        assert list(toolset.offered) == [*names, "answer"]
        for name in names:
            assert toolset.offered[name].to_openai() == env.toolset.offered[name].to_openai()
            assert toolset.offered[name].access is env.toolset.offered[name].access
        for _ in range(2):
            action = env.expert_action()
            [expected], *_ = env.step(action)
            [call] = calls_of(action)
            assert toolset.call(ToolCall.from_openai(call)).content == expected["content"]
        result = toolset.call(ToolCall(id="c", name="answer", arguments='{"text": "Done."}'))
        assert json.loads(result.content)["reward"] == 1.0
    env.close()


def test_a_served_world_over_http_is_a_toolset() -> None:
    with over_http("store-v0", "--seed", "7") as url:
        assert "answer" in [tool.name for tool in tools_of_server(url)]


def test_the_tools_of_any_server_keep_what_it_says_of_them(demo: str) -> None:
    tools = {tool.name: tool for tool in tools_of_server(demo)}
    assert list(tools) == ["norm", "move", "say", "refuse", "die", "hang"]
    assert (tools["norm"].access, tools["move"].access) == (READ, WRITE)
    assert tools["norm"].description == "How far a point is."
    assert tools["norm"].parameters["properties"]["how"]["enum"] == ["sum", "product"]
    assert tools["norm"].required == ("point",)
    assert all(tool.function is None for tool in tools.values())


def test_calls_are_checked_here_carried_out_there_and_read_back(demo: str) -> None:
    with connect(demo, timeout=10) as toolset:

        def call(name: str, **arguments: Any) -> Any:
            result = toolset.call(ToolCall(id="c", name=name, arguments=json.dumps(arguments)))
            return [violation.code for violation in result.violations] or json.loads(result.content)

        assert call("norm", point={"x": 2, "y": 3}) == {"result": 5}
        assert call("norm", point={"x": 2, "y": 3}, how="product") == {"result": 6}
        assert call("norm", point={"x": "2", "y": -1}, how="max") == [
            ErrorCode.WRONG_TYPE,
            ErrorCode.INVALID_VALUE,
            ErrorCode.INVALID_VALUE,
        ]
        assert call("move", point={"x": 1}, by=2) == {"x": 3, "y": 0}
        assert call("move", point={"x": 1}) == [ErrorCode.MISSING_ARGUMENT]
        assert call("say", text="plain é\n") == "plain é\n"
        assert call("say", text='{"a": [1]}') == {"a": [1]}
        assert call("say", text="1.10") == "1.10"
        assert call("say", text="[NaN]") == "[NaN]"
        assert call("say", text="1e999") == "1e999"
        assert call("say", text="\ud800") == [ErrorCode.DOMAIN_REJECTION]
        assert call("say", text="show") == "show\n[image image/png]"
        assert call("walk") == [ErrorCode.NONEXISTENT_TOOL]
        assert call("refuse") == [ErrorCode.DOMAIN_REJECTION]
        refused = toolset.call(ToolCall(id="c", name="refuse", arguments="{}"))
        assert "there is no such thing" in refused.violations[0].expected


def test_a_server_that_hangs_or_dies_is_an_infrastructure_fault(demo: str) -> None:
    with connect(demo, timeout=5) as toolset:  # which the server has to start in, also on a busy machine
        hang, die = (
            ToolCall(id="c", name="hang", arguments='{"seconds": 6}'),
            ToolCall(id="c", name="die", arguments=""),
        )
        began = time.monotonic()
        with pytest.raises(InfrastructureFault, match=r"tool 'hang'.*timed out"):
            toolset.call(hang)
        assert time.monotonic() - began < 6
        norm = ToolCall(id="c", name="norm", arguments='{"point": {"x": 1}}')
        assert not toolset.call(norm).is_error
        for call in (die, norm, norm):
            with pytest.raises(InfrastructureFault, match="Connection closed"):
                toolset.call(call)
    with pytest.raises(InfrastructureFault, match="is closed"):
        toolset.call(norm)


def test_an_error_in_the_context_is_the_callers_own(demo: str) -> None:
    with pytest.raises(ValueError, match=r"^mine$"), connect(demo):
        raise ValueError("mine")


def test_what_is_no_server_is_said_in_a_sentence() -> None:
    for source, said in (
        ("nothing", "names no MCP server"),
        ("mcp:", "there is no command"),
        ("mcp:'", "close its quotes"),
        ("mcp:no-such-command", "can't connect"),
        ("mcp:false", "Connection closed"),
        ("http://127.0.0.1:9/mcp", "can't connect"),
        ("mcp:sleep 60", "doesn't answer in time"),
    ):
        with pytest.raises(InputError, match=said):
            tools_of_server(source, timeout=0.5 if "sleep" in source else 10)
    with pytest.raises(InputError, match="above 0"), connect("mcp:true", timeout=0):
        pass
    assert [is_server(source) for source in ("mcp:x", "https://x", "http://x", "tools:x")] == [True, True, True, False]


def test_importing_tools_and_envs_doesnt_import_the_protocol() -> None:
    code = "import sys, tools, tools.mcp, envs, envs.serve, envs.__main__; print('mcp' in sys.modules)"
    done = subprocess.run([PYTHON, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "False", "")


def test_a_server_is_a_source_on_the_command_line(demo: str, capsys: pytest.CaptureFixture[str]) -> None:
    tools_main(["show", demo])
    assert "norm" in capsys.readouterr().out
    assert tools_main(["call", demo, "say", "text=hello"]) == 0
    assert "hello" in capsys.readouterr().out
    assert tools_main(["call", demo, "norm"]) == 1
    assert "missing_argument" in capsys.readouterr().out
