"""Any MCP server as a toolset: one that a command starts and talks to over its standard streams, or one at a URL.

    with connect("mcp:python my_server.py") as toolset:      # or connect("http://127.0.0.1:8000/mcp")
        toolset.call(ToolCall(id="0", name="add", arguments='{"a": 1, "b": 2}'))

Names, descriptions, schemas and `readOnlyHint` are the server's. A result that it marks as an error is a DomainError; a
lost connection, a timeout or an error of the server's own is an InfrastructureFault. Calls are answered one at a time,
from any thread; the protocol runs on an event loop in a thread of its own.

Needs the `mcp` extra, which is imported at the first connection. Left out: resources, prompts, sampling, a server's
questions to its user, tools that come or go while connected, reconnecting.
"""

import asyncio
import json
import shlex
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as OutOfTime
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING, Any

from tools.command import InputError
from tools.dialects import read_tools
from tools.schema import Tool
from tools.toolset import DomainError, InfrastructureFault, Toolset

if TYPE_CHECKING:
    from mcp import Client, MCPError

COMMAND = "mcp:"
GRACE_SECONDS = 5.0
"""How long after a timeout of the protocol's own a call is given up, if that one didn't end it."""


@contextmanager
def connect(source: str, *, timeout: float = 30.0, env: Mapping[str, str] | None = None) -> Iterator[Toolset]:
    """Connect to an MCP server for as long as the context lasts, and give its tools.

    `source` is `mcp:COMMAND` (as in a shell) or the `http://` or `https://` URL of a server that streams over HTTP.
    `timeout` is in seconds, for connecting and for each call. A command sees PATH, HOME and the like, and `env`.

    Raises InputError for a source that is neither, a server that can't be reached, and without the `mcp` package.
    """
    if not timeout > 0:
        raise InputError(f"a timeout is a number of seconds above 0, came {timeout!r}")
    connection = _Connection(source, _client(source, timeout, env), timeout)
    try:
        yield connection.open()
    finally:
        connection.close()


def is_server(source: str) -> bool:
    """Whether a source names an MCP server."""
    return source.startswith((COMMAND, "http://", "https://"))


def tools_of_server(source: str, *, timeout: float = 30.0) -> list[Tool]:
    """The tools of a server, to be looked at and checked against: they can't be called once this has returned.

    Raises InputError as `connect` does.
    """
    with connect(source, timeout=timeout) as toolset:
        return [replace(tool, function=None) for tool in toolset.tools]


def _client(source: str, timeout: float, env: Mapping[str, str] | None) -> "Callable[[], Client]":
    """What makes a client for a source, on the loop that it will live on."""
    if not is_server(source):
        raise InputError(f"{source!r} names no MCP server: write mcp:COMMAND, or an http:// or https:// URL")
    try:
        from mcp import Client, StdioServerParameters
        from mcp.client.stdio import stdio_client
    except ImportError as error:
        raise InputError("an MCP server needs the mcp package: pip install 'hintsight[mcp]'") from error
    if not source.startswith(COMMAND):
        return partial(Client, source, read_timeout_seconds=timeout, cache=None)
    try:
        words = shlex.split(source.removeprefix(COMMAND))
    except ValueError as error:
        raise InputError(f"{source!r} is no command ({error}): close its quotes") from error
    if not words:
        raise InputError("there is no command: write mcp:COMMAND, such as  mcp:python my_server.py")
    parameters = StdioServerParameters(command=words[0], args=words[1:], env=dict(env or {}))
    # The process's own standard error, since what stands for it in a notebook is no file that a command can write to.
    return lambda: Client(
        stdio_client(parameters, sys.__stderr__ or sys.stderr), read_timeout_seconds=timeout, cache=None
    )


class _Connection:
    """A client on an event loop in a thread of its own, which other threads ask to call tools."""

    def __init__(self, source: str, make_client: "Callable[[], Client]", timeout: float) -> None:
        self.source, self.make_client, self.timeout = source, make_client, timeout
        self.loop: asyncio.AbstractEventLoop | None = None
        self.stop: asyncio.Event | None = None
        self.opened: Future[list[dict[str, Any]]] = Future()
        self.thread = Thread(target=self._run, name=f"mcp {source}", daemon=True)

    def open(self) -> Toolset:
        """Connect, and give the server's tools."""
        self.thread.start()
        try:
            specs = self.opened.result()
        except Exception as error:
            raise InputError(f"can't connect to the MCP server {self.source}: {_reason(error)}") from error
        try:
            return Toolset(replace(tool, function=partial(self._call, tool.name)) for tool in read_tools(specs))
        except ValueError as error:
            raise InputError(f"the MCP server {self.source}: {error}") from error

    def close(self) -> None:
        if self.loop is not None and self.stop is not None and self.thread.is_alive():
            self.loop.call_soon_threadsafe(self.stop.set)
            self.thread.join(2 * GRACE_SECONDS)

    def _run(self) -> None:
        try:
            asyncio.run(self._live())
        except BaseException as error:
            # A connection that breaks says so to whoever calls; here there is nobody to tell.
            if not self.opened.done():
                self.opened.set_exception(error)
        finally:
            self.loop = None

    async def _live(self) -> None:
        self.stop = asyncio.Event()
        self.loop = asyncio.get_running_loop()
        async with AsyncExitStack() as stack:
            async with asyncio.timeout(self.timeout):
                self.client = await stack.enter_async_context(self.make_client())
                specs = await _listed(self.client)
            self.opened.set_result(specs)
            await self.stop.wait()

    def _call(self, name: str, /, **arguments: Any) -> Any:
        loop = self.loop
        if loop is None:
            raise InfrastructureFault(f"the connection to the MCP server {self.source} is closed")
        _require_text(arguments)
        result = self._wait(loop, name, self.client.call_tool(name, arguments))
        text = _text_of(result.content)
        if result.is_error:
            raise DomainError(text or "the tool reports an error, and doesn't say which")
        return _value(result.structured_content, text)

    def _wait(self, loop: asyncio.AbstractEventLoop, name: str, call: Coroutine[Any, Any, Any]) -> Any:
        from mcp import MCPError

        future = asyncio.run_coroutine_threadsafe(call, loop)
        try:
            return future.result(self.timeout + GRACE_SECONDS)
        except MCPError as error:
            raise _raised(error, f"MCP server {self.source}, tool {name!r}") from error
        except Exception as error:
            raise InfrastructureFault(f"MCP server {self.source}, tool {name!r}: {_reason(error)}") from error
        finally:
            future.cancel()


async def _listed(client: "Client") -> list[dict[str, Any]]:
    """All tools of a server, page by page, in MCP's form."""
    specs: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        page = await client.list_tools(cursor=cursor)
        specs += [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in page.tools]
        if not page.next_cursor or page.next_cursor == cursor:
            return specs
        cursor = page.next_cursor


def _raised(error: "MCPError", place: str) -> Exception:
    """An error of the protocol: the call's fault where the server says that its parameters are, else the server's."""
    from mcp_types import INVALID_PARAMS

    if error.code == INVALID_PARAMS:
        return DomainError(error.message)
    return InfrastructureFault(f"{place}: {error.message}")


def _text_of(blocks: Any) -> str:
    """What can be read of a result's content; of pictures and sounds, that they are there."""
    return "\n".join(_block_text(block.model_dump(mode="json", by_alias=True, exclude_none=True)) for block in blocks)


def _block_text(block: Mapping[str, Any]) -> str:
    kind, resource = block.get("type"), block.get("resource", {})
    if kind == "text":
        return str(block.get("text", ""))
    if kind == "resource" and "text" in resource:
        return str(resource["text"])
    if kind == "resource_link":
        return str(block.get("uri", ""))
    return f"[{kind} {block.get('mimeType') or resource.get('mimeType') or ''}]".replace(" ]", "]")


def _value(structured: Any, text: str) -> Any:
    """A result's value: what is structured, else the text as the JSON that it is, else the text.

    A number whose text would not be written so again (a version 1.10, 1e999) is text.
    """
    if structured is not None:
        return structured
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return text
    return text if isinstance(value, float) and json.dumps(value) != text.strip() else value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _require_text(arguments: Mapping[str, Any]) -> None:
    """JSON's escapes can spell half a character, at which the SDK would drop the connection for every later call."""
    try:
        json.dumps(arguments, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise DomainError("the arguments hold half a character (a lone surrogate), which is no text") from error


def _reason(error: BaseException) -> str:
    """What went wrong, in a line; of a group of errors, the first that is none itself."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, (TimeoutError, OutOfTime)):
        return "it doesn't answer in time"
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
