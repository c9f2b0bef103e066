"""A model behind an OpenAI-compatible server, or behind several: `openai:MODEL@BASE_URL[,BASE_URL...]`.

The key comes from OPENAI_API_KEY. What a server fails at (too many requests, an error of its own, no answer, half an
answer) is tried again with growing waits, at another server where there is one; after the last try it is an
infrastructure fault of that one episode. What no retry mends (a wrong key, an unknown model) ends the run. What a
server doesn't know and we can do without (a seed, token ids) is left out from then on, and noted.

Token ids and log-probs are asked for, so that vLLM's answers become exact turns. Left out: streaming, since nobody
reads along, and servers that forget who asked (the whole conversation goes out each time).
"""

import asyncio
import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from envs.policies.base import Context, ContextTooLong, Reply
from envs.policies.chat import KNOWN_FINISHES, Answer, Request, Unreadable, has_unreadable_call, outgoing
from envs.policies.fleet import Backoff, Fleet, Server
from envs.policies.refusal import Refusal, refusal
from envs.policies.spent import Spent
from tools import InfrastructureFault
from tools.command import InputError

if TYPE_CHECKING:
    from openai import AsyncOpenAI

EXTRAS = ("return_token_ids", "logprobs", "seed", "max_completion_tokens", "response_format")
"""What a request can do without. A server that refuses one by name isn't sent it again."""

TOKENS = {"return_token_ids": True, "logprobs": True}
"""What vLLM's answers become exact turns by."""

POOL = 32
"""A client looks at each of its connections for each request; with so many to a client that stays cheap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """How a server is asked. Prices are in a currency of your choice."""

    concurrency: int = 128
    """The most requests in flight."""
    timeout: float = 300.0
    """The longest that an answer may take, in seconds."""
    tries: int = 8
    """How often a request is sent before it counts as an infrastructure fault."""
    backoff: float = 0.5
    """The wait after the first failure, in seconds; it doubles with each further one."""
    longest_wait: float = 60.0
    """The longest wait, in seconds, also where the server asks for more."""
    max_tokens: Annotated[int | None, tyro.conf.Suppress] = None
    """The most tokens of a turn; without it the server's own limit holds. A command has one option for all models."""
    price_in: float = 0.0
    """What a million tokens of prompt cost."""
    price_out: float = 0.0
    """What a million tokens of answer cost."""

    def __post_init__(self) -> None:
        least = {"concurrency": 1, "tries": 1, "backoff": 0, "longest_wait": 0, "price_in": 0, "price_out": 0}
        for name, number in least.items():
            if not getattr(self, name) >= number:
                raise InputError(f"{name.replace('_', '-')} must be at least {number}, came {getattr(self, name)}")
        if not self.timeout > 0 or (self.max_tokens is not None and self.max_tokens < 1):
            raise InputError("timeout and max-tokens must be more than 0")


class ServerPolicy:
    """Asks a server for each turn. `notes` holds what was odd about its answers, each once; `spent` counts tokens.

    Enter it (`async with`) to keep connections open between turns; a rollout does.
    """

    def __init__(
        self,
        model: str,
        urls: Sequence[str],
        *,
        name: str = "",
        temperature: float = 1.0,
        options: ServerOptions | None = None,
    ) -> None:
        self.name, self.model, self.urls = name or f"openai:{model}", model, list(urls)
        self.temperature, self.options = temperature, options or ServerOptions()
        self.spent = Spent(price_in=self.options.price_in, price_out=self.options.price_out)
        self.notes: list[str] = []
        self._left_out: set[str] = set()
        self._readable = False
        self._lock = threading.Lock()
        self._connections: dict[asyncio.AbstractEventLoop, _Connections] = {}

    async def __aenter__(self) -> "ServerPolicy":
        loop = asyncio.get_running_loop()
        with self._lock:
            connections = self._connections.get(loop)
            if connections is None:
                connections = self._connections[loop] = _Connections(self.urls, self.options)
            connections.users += 1
        return self

    async def __aexit__(self, *_: object) -> None:
        loop = asyncio.get_running_loop()
        with self._lock:
            connections = self._connections[loop]
            connections.users -= 1
            if connections.users:
                return
            del self._connections[loop]
        await connections.close()

    def act(self, contexts: Sequence[Context]) -> list[Reply]:
        """Ask for a turn of each context at once, and wait for all; for those who play or sit in for the user."""

        async def replies() -> list[Reply]:
            async with self:
                return await asyncio.gather(*map(self.reply, contexts))

        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(replies())
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, replies()).result()

    async def reply(self, context: Context) -> Reply:
        """One turn. Raises InfrastructureFault after the last try, ContextTooLong and InputError as the server says."""
        # Those tools that are offered by now, which may be more than in the beginning.
        tools = context.env.toolset.to_openai() if context.tools else ()
        seed = context.rng.getrandbits(31)
        request = Request(messages=context.messages, tools=tools, seed=seed, more=TOKENS)
        return (await self.complete(request)).reply(context)

    async def complete(self, request: Request) -> Answer:
        """One answer to any conversation; raises what `reply` does."""
        async with self:
            answer = await self._answer(request, self._connections[asyncio.get_running_loop()])
        self._note_oddities(answer)
        return answer

    async def _answer(self, request: Request, connections: "_Connections") -> Answer:
        """Ask until there is an answer, or no try is left."""
        fleet = connections.fleet
        tried, setbacks, failure = 0, fleet.setbacks, "no server answers"
        while tried < self.options.tries:
            async with connections.room:
                server = fleet.free()
                body = self._body(request) if server else {}
                outcome = await self._ask(server, body, connections) if server else None
            if server is None or outcome is None:
                await asyncio.sleep(fleet.wait() + connections.wait(0))
                # Others try in the meantime; that they failed counts here too, or nobody would ever give up.
                tried += max(0, fleet.setbacks - setbacks)
                setbacks = fleet.setbacks
                continue
            if isinstance(outcome, Answer):
                with self._lock:
                    self.spent.add(*outcome.tokens)
                return outcome
            if self._adapts(outcome, body, request):
                continue
            self._give_up_on(outcome, server)
            tried, setbacks, failure = tried + 1, fleet.setbacks, f"{shown(server.url)}: {outcome.text}"
            self.spent.retries += 1
            if outcome.after is not None:
                fleet.wants_rest(server, outcome.after)
            elif tried < self.options.tries:
                await asyncio.sleep(connections.wait(tried - 1))
        raise InfrastructureFault(f"{failure} (after {self.options.tries} tries)")

    def _body(self, request: Request) -> dict[str, Any]:
        extras: dict[str, Any] = {**request.more, "seed": request.seed}
        if self.options.max_tokens is not None:
            limit = "max_tokens" if "max_completion_tokens" in self._left_out else "max_completion_tokens"
            extras[limit] = self.options.max_tokens
        body: dict[str, Any] = {
            "model": self.model,
            "messages": outgoing(request.messages, readable=self._readable),
            "temperature": self.temperature,
            **{name: value for name, value in extras.items() if name not in self._left_out},
        }
        if request.tools:
            body["tools"] = request.tools
        return body

    async def _ask(self, server: Server, body: Mapping[str, Any], connections: "_Connections") -> "Answer | Refusal":
        """Send one request to one server."""
        import openai

        began = time.monotonic()
        with connections.fleet.asking(server):
            try:
                async with asyncio.timeout(self.options.timeout):
                    text = await connections.post(server.url, body)
                answer = Answer.read(text)
            except TimeoutError:
                outcome = Refusal(text=f"no answer within {self.options.timeout:g} seconds")
            except (Unreadable, openai.OpenAIError) as error:
                outcome = refusal(error)
            else:
                connections.fleet.answered(server)
                return answer
        if outcome.failed:
            connections.fleet.failed(server, began)
        return outcome

    def _adapts(self, outcome: Refusal, body: Mapping[str, Any], request: Request) -> bool:
        """Whether the next request will be another one, that the server may take."""
        if not outcome.about_request or outcome.too_long:
            return False
        for name in EXTRAS:
            if name in body and name in outcome.text:
                self._left_out.add(name)
                self._note(f"the server refuses {name}, so it is left out")
                return True
        if not self._readable and has_unreadable_call(request.messages):
            self._readable = True
            self._note("the server refuses calls whose arguments are no JSON, so they are wrapped in an object")
            return True
        # Another request may have found that out in the meantime.
        return self._body(request).keys() != body.keys() or (self._readable and has_unreadable_call(body["messages"]))

    def _give_up_on(self, outcome: Refusal, server: Server) -> None:
        """Raise where trying again is of no use."""
        if outcome.too_long:
            raise ContextTooLong(outcome.text)
        if outcome.ends_run:
            raise InputError(f"{shown(server.url)}, model {self.model!r}: {outcome.text}")
        if outcome.about_request:
            said = f"{shown(server.url)} refuses the request: {outcome.text}"
            if not self.spent.answers:  # nor will it take any other
                raise InputError(said)
            raise InfrastructureFault(said)

    def _note_oddities(self, answer: Answer) -> None:
        if answer.finish_reason not in KNOWN_FINISHES:
            self._note(f"unknown finish reason {answer.finish_reason!r}: taken for the end of the turn")
        # `transformers serve` adds the model's revision.
        if answer.model not in ("", self.model) and not answer.model.startswith(f"{self.model}@"):
            self._note(f"asked for model {self.model!r}, and {answer.model!r} answers")

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


@dataclass(slots=True, eq=False)
class _Connections:
    """The clients of one event loop, which can't be used on another."""

    urls: Sequence[str]
    options: ServerOptions
    users: int = 0
    rng: Random = field(default_factory=Random)

    fleet: Fleet = field(init=False)
    room: asyncio.Semaphore = field(init=False)
    pools: dict[str, list["_Pool"]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        backoff = Backoff(first=self.options.backoff, longest=self.options.longest_wait)
        self.fleet = Fleet(self.urls, backoff, self.rng)
        self.room = asyncio.Semaphore(self.options.concurrency)

    def wait(self, failure: int) -> float:
        return self.fleet.backoff.seconds(failure, self.rng)

    async def post(self, url: str, body: Mapping[str, Any]) -> str:
        """The text of a server's answer. Raises what the `openai` library does."""
        pools = self.pools.setdefault(url, [])
        pool = next((pool for pool in pools if pool.in_flight < POOL), None)
        if pool is None:
            pool = _Pool(client=self._client(url))
            pools.append(pool)
        pool.in_flight += 1
        try:
            text: str = await pool.client.post("/chat/completions", cast_to=str, body=body)
        finally:
            pool.in_flight -= 1
        return text

    def _client(self, url: str) -> "AsyncOpenAI":
        """It never tries again by itself: how often is ours to count."""
        import openai

        limits = type(openai.DEFAULT_CONNECTION_LIMITS)(max_connections=POOL, max_keepalive_connections=POOL)
        return openai.AsyncOpenAI(
            base_url=url,
            api_key=os.environ.get("OPENAI_API_KEY") or "none",
            max_retries=0,
            timeout=self.options.timeout,
            http_client=openai.DefaultAsyncHttpxClient(limits=limits),
        )

    async def close(self) -> None:
        for pool in [pool for pools in self.pools.values() for pool in pools]:
            await pool.client.close()


@dataclass(slots=True, kw_only=True, eq=False)
class _Pool:
    """A client and the requests that it has in flight."""

    client: "AsyncOpenAI"
    in_flight: int = 0


def shown(url: str) -> str:
    """A base URL without the password that may be in it."""
    scheme, _, rest = url.partition("://")
    place, slash, path = rest.partition("/")
    return f"{scheme}://{place.rpartition('@')[2]}{slash}{path}"


def server_policy(name: str, *, temperature: float = 1.0, options: ServerOptions | None = None) -> ServerPolicy:
    """The policy that `openai:MODEL@BASE_URL[,BASE_URL...]` names; without a URL it is OPENAI_BASE_URL's.

    Its own name is without the URLs, since where a model is served makes it no other policy.
    Raises InputError for a name that isn't of that form.
    """
    model, at, rest = name.removeprefix("openai:").partition("@http")
    urls = [url.strip() for url in f"http{rest}".split(",")] if at else [os.environ.get("OPENAI_BASE_URL", "")]
    if not model or not all(url.startswith(("http://", "https://")) and shown(url).count("/") >= 2 for url in urls):
        raise InputError(f"{name!r}: expected openai:MODEL@BASE_URL, as in openai:qwen@http://localhost:8000/v1")
    at_temperature = "" if temperature == 1 else f"@{temperature:g}"
    return ServerPolicy(model, urls, name=f"openai:{model}{at_temperature}", temperature=temperature, options=options)
