"""A world as an MCP server: one task, in which any MCP client can act.

    python -m envs serve store-v1 --seed 7                # over stdin and stdout, for a client that starts commands
    python -m envs serve store-v1 --seed 7 --http         # at http://127.0.0.1:8000/mcp

The server lists the task's tools and passes calls to `env.step`, so that a bad call is answered as it is anywhere: an
error with its violations. The task (what the world says, and what is asked) stands in the server's instructions, in a
prompt and in a resource. One more tool speaks to the user: its result is what they say next, or the reward.

There is one episode, whoever connects: a second client over HTTP goes on where the first was. Needs the `mcp` extra.
Left out: other tasks in the same process, access from other machines, whatever a message holds beside its calls, and an
answer to JSON that the SDK can't decode (half a character, thousands of brackets), which it drops.
"""

import json
import socket
import sys
from collections.abc import Collection, Mapping
from contextlib import closing
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace
from tyro.conf import Positional

from envs.game import Game, Move
from envs.resume import resume
from envs.trajectory import Message, Trajectory
from tools import Tool, ToolCall, ToolResult, Toolset
from tools.command import InputError
from tools.dialects import to_mcp

if TYPE_CHECKING:
    from mcp.server import Server

BY = "mcp"
"""Who makes the moves, as a trajectory calls it."""
TASK_URI = "hintsight://task"
_ANSWER_NAMES = ("answer", "answer_user", "say_to_user", "hintsight_answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Serve:
    """Serve a task to MCP clients, over stdin and stdout or, with `--http`, at a local URL.

    There is one episode, whoever connects.
    """

    env: Positional[str]
    """The world's id, as `list` shows it."""
    seed: int = 0
    """The task."""
    split: str = "test"
    """Which of the world's sets of tasks."""
    http: bool = False
    """Serve over HTTP, until Ctrl-C."""
    host: str = "127.0.0.1"
    """With --http: a loopback address."""
    port: int = 8000
    """With --http: the port; 0 takes a free one."""
    out: Path | None = None
    """Append the trajectory to this JSONL file when the episode ends."""

    def __call__(self) -> None:
        try:
            import anyio
            import mcp.server  # noqa: F401  whether it is there
        except ImportError as error:
            raise InputError("serving needs the mcp package: pip install 'hintsight[mcp]'") from error
        if not 0 <= self.port < 2**16:
            raise InputError(f"a port is a number from 0 to {2**16 - 1}, came {self.port}")
        if not _is_loopback(self.host):
            raise InputError(f"{self.host!r} is no loopback address, and who connects needs no password: 127.0.0.1")
        with closing(Served(self.env, seed=self.seed, split=self.split, out=self.out)) as served:
            server = server_of(served)
            if self.http:
                anyio.run(_over_http, server, served.title, self.host, self.port)
            else:
                anyio.run(_over_stdio, server)


class Served:
    """One episode as MCP clients see it. Left out: the protocol."""

    def __init__(self, env_id: str, *, seed: int, split: str, out: Path | None = None) -> None:
        if out is not None:
            resume(out)[0].close()  # a file that can't be written to is not to be found out at the end
        self.game, self.out = Game(env_id, seed=seed, split=split), out
        toolset = self.game.env.toolset
        taken = {tool.name for tool in toolset.tools} | toolset.catalogue
        name = next(name for name in _ANSWER_NAMES if name not in taken)
        self.answer = Tool(
            name=name,
            description="Speak to the user, and end what they asked for. Gives what they say next, or the reward.",
            parameters={
                "type": "object",
                "properties": {"text": {"type": "string", "description": "what is said"}},
                "required": ["text"],
                "additionalProperties": False,
            },
        )

    @property
    def title(self) -> str:
        game = self.game
        return f"{game.env_id}, split {game.env.split}, task {game.seed}"

    @property
    def tools(self) -> list[Tool]:
        """The tools that are offered now, and the one that speaks."""
        return [*self.game.env.toolset.offered.values(), self.answer]

    @property
    def said(self) -> list[str]:
        """What the world and the user have said so far."""
        return [message["content"] for message in self.game.messages if message["role"] in ("system", "user")]

    def call(self, name: str, arguments: Mapping[str, Any]) -> tuple[list[str], bool]:
        """Call a tool; gives the texts of its answer, and whether it is an error."""
        if self.game.ended:
            return ["The episode has ended: start the server again for another one."], True
        text = json.dumps(arguments, ensure_ascii=False)
        call = ToolCall(id=self.game.call_id, name=name, arguments=text)
        if name == self.answer.name:
            given, violations = Toolset([self.answer]).check(call)
            if violations:
                return [ToolResult.error(*violations).content], True
            return self._answered(self._act({"role": "assistant", "content": given["text"]})), False
        move = self._act({"role": "assistant", "content": "", "tool_calls": [call.to_openai()]})
        texts = [message["content"] for message in move.results]
        if move.stop_reason is not None:
            texts.append(json.dumps(_outcome(move)))
        return texts, bool(move.results and move.results[0].get("is_error"))

    def _answered(self, move: Move) -> list[str]:
        if move.stop_reason is None:
            return [message["content"] for message in move.results]
        return [json.dumps(_outcome(move))]

    def _act(self, message: Message) -> Move:
        move = self.game.act(message, by=BY)
        if self.game.ended and self.out is not None:
            archive, ids = resume(self.out)
            with archive:
                archive.write(self._trajectory(ids).to_json())
        return move

    def _trajectory(self, earlier: Collection[str]) -> Trajectory:
        game = self.game
        task = f"{game.env_id}/{game.env.split}/{game.seed}/{BY}"
        number = sum(name.startswith(task) for name in earlier)
        return replace(game.trajectory(), id=f"{task}{number}", policy=BY)

    def close(self) -> None:
        self.game.close()


def _outcome(move: Move) -> dict[str, Any]:
    return {"reward": move.reward, "success": move.success, "stop_reason": str(move.stop_reason)}


def server_of(served: Served) -> "Server[Any]":
    """The MCP server of an episode: its tools, and its task as instructions, as a prompt and as a resource."""
    import mcp_types as types
    from mcp import MCPError
    from mcp.server import Server

    async def list_tools(_: Any, __: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[types.Tool.model_validate(to_mcp(tool)) for tool in served.tools])

    async def call_tool(_: Any, asked: types.CallToolRequestParams) -> types.CallToolResult:
        texts, is_error = served.call(asked.name, asked.arguments or {})
        return types.CallToolResult(content=[types.TextContent(text=text) for text in texts], is_error=is_error)

    async def list_prompts(_: Any, __: Any) -> types.ListPromptsResult:
        return types.ListPromptsResult(prompts=[types.Prompt(name="task", description=served.title)])

    async def get_prompt(_: Any, asked: types.GetPromptRequestParams) -> types.GetPromptResult:
        if asked.name != "task":
            raise MCPError(types.INVALID_PARAMS, f"no prompt {asked.name!r}: the only one is 'task'")
        parts = [types.PromptMessage(role="user", content=types.TextContent(text=text)) for text in served.said]
        return types.GetPromptResult(description=served.title, messages=parts)

    async def list_resources(_: Any, __: Any) -> types.ListResourcesResult:
        task = types.Resource(uri=TASK_URI, name="task", description=served.title, mime_type="text/plain")
        return types.ListResourcesResult(resources=[task])

    async def read_resource(_: Any, asked: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        if str(asked.uri) != TASK_URI:
            raise MCPError(types.INVALID_PARAMS, f"no resource {asked.uri}: the only one is {TASK_URI}")
        text = "\n\n".join(served.said)
        return types.ReadResourceResult(
            contents=[types.TextResourceContents(uri=TASK_URI, mime_type="text/plain", text=text)]
        )

    how = f"Act with the tools; end with {served.answer.name}."
    return Server(
        "hintsight",
        title=served.title,
        instructions="\n\n".join([*served.said, how]),
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_prompts=list_prompts,
        on_get_prompt=get_prompt,
        on_list_resources=list_resources,
        on_read_resource=read_resource,
    )


async def _over_stdio(server: "Server[Any]") -> None:
    from mcp.server.stdio import stdio_server

    async with stdio_server() as (incoming, outgoing):
        await server.run(incoming, outgoing, server.create_initialization_options())


async def _over_http(server: "Server[Any]", title: str, host: str, port: int) -> None:
    import uvicorn

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sends small answers at once only over a socket that says it is TCP; else each waits for 40 ms.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
        except OSError as error:
            raise InputError(f"can't listen at {host}, port {port} ({error.strerror}): choose another port") from error
        listening.listen()
        shown = f"[{host}]" if family == socket.AF_INET6 else host
        print(f"serving {title} at http://{shown}:{listening.getsockname()[1]}/mcp", file=sys.stderr, flush=True)
        app = server.streamable_http_app(host=host)
        config = uvicorn.Config(app, log_level="warning", ws="none", timeout_graceful_shutdown=1)
        await uvicorn.Server(config).serve(sockets=[listening])


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
