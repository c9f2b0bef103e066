"""A model behind a server: solved tasks through HTTP, and everything that a server can do wrong.

The server here is a real one on loopback. It knows the world and answers as its expert would; each test says where it
misbehaves.
"""

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from critics.rates import measure
from critics.rules import criticize
from envs import StopReason, Trajectory, make, read_trajectories
from envs.__main__ import main
from envs.policies import ExpertPolicy, load_policy
from envs.policies.server import ServerOptions, ServerPolicy, server_policy, shown
from envs.rollout import Limits, rollout, rollout_async
from tools.command import InputError

WORLD = "store-v0"
TASKS = 24
QUICK = ServerOptions(timeout=5, tries=6, backoff=0.001, longest_wait=0.05)

Plan = Callable[["Asked"], "Bytes | None"]
"""What a server does in place of answering; None answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request: its body, which task and turn it is about, and how often that was asked for before."""

    body: Mapping[str, Any]
    seed: int
    turn: int
    before: int
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bytes:
    """What goes over the wire. `cut` keeps that many bytes of the body back and hangs up; `late` waits first."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int = 0
    late: float = 0.0


def failing(status: int, message: str = "no", **headers: str) -> Bytes:
    return Bytes(status=status, body={"error": {"message": message}}, headers=headers)


def completion(message: Mapping[str, Any], *, finish: str = "stop", model: str = "expert", **more: Any) -> Bytes:
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", **message}}
    usage = {"prompt_tokens": 100, "completion_tokens": 10}
    return Bytes(body={"object": "chat.completion", "model": model, "choices": [choice], "usage": usage, **more})


class ChatServer:
    """Speaks HTTP/1.1 and OpenAI's chat completions, at `url`. Nobody is answered before `waits_for` are in flight."""

    def __init__(
        self, plan: Plan = lambda asked: None, *, world: str = WORLD, tasks: int = TASKS, waits_for: int = 0
    ) -> None:
        self.plan, self.world = plan, world
        self.asked: list[Asked] = []
        self.before: Counter[tuple[int, int, int]] = Counter()
        self.in_flight = self.most_in_flight = 0
        self.waits_for, self.enough = waits_for, asyncio.Event()
        self.seeds = {}
        env = make(world, split="test")
        for seed in range(tasks):
            self.seeds[env.reset(seed=seed)[0][-1]["content"]] = seed
        env.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n"):
                headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
                body = json.loads(await reader.readexactly(int(headers["content-length"])))
                assert head[0].startswith("POST /v1/chat/completions ")
                self.in_flight += 1
                self.most_in_flight = max(self.most_in_flight, self.in_flight)
                if self.in_flight >= self.waits_for:
                    self.enough.set()
                try:
                    await self.enough.wait()
                    if not await self.send(self.answer(body, headers), writer):
                        return
                finally:
                    self.in_flight -= 1
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def send(self, sent: Bytes, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection can be used again."""
        await asyncio.sleep(sent.late)
        text = sent.body if isinstance(sent.body, bytes) else json.dumps(sent.body).encode()
        headers = {"Content-Type": "application/json", "Content-Length": str(len(text)), **sent.headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"HTTP/1.1 {sent.status} Said\r\n{lines}\r\n".encode() + text[: len(text) - sent.cut])
        await writer.drain()
        return not sent.cut

    def answer(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> Bytes:
        messages = body["messages"]
        seed = self.seeds[next(message["content"] for message in messages if message["role"] == "user")]
        said = [message for message in messages if message["role"] == "assistant"]
        key = seed, len(said), threading.get_ident()
        asked = Asked(body=body, seed=seed, turn=len(said), before=self.before[key], headers=headers)
        self.before[key] += 1
        self.asked.append(asked)
        return self.plan(asked) or self.expert(seed, said)

    def expert(self, seed: int, said: Sequence[Any]) -> Bytes:
        """What the world's expert does after what was said."""
        env = make(self.world, split="test")
        env.reset(seed=seed)
        for message in said:
            env.step(message)
        action = env.expert_action()
        env.close()
        return completion(action, finish="tool_calls" if action.get("tool_calls") else "stop")


@contextmanager
def served(*servers: ChatServer) -> Iterator[str]:
    """The base URLs of running servers, as a policy's name takes them."""
    loop = asyncio.new_event_loop()
    running: list[asyncio.Server] = []

    async def start() -> list[str]:
        for server in servers:
            running.append(await asyncio.start_server(server.serve, "127.0.0.1", 0))
        return [f"http://127.0.0.1:{one.sockets[0].getsockname()[1]}/v1" for one in running]

    async def stop() -> None:
        for one in running:
            one.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield ",".join(asyncio.run_coroutine_threadsafe(start(), loop).result())
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


def policy_at(urls: str, options: ServerOptions = QUICK) -> ServerPolicy:
    return server_policy(f"openai:expert@{urls}", options=options)


def run(policy: ServerPolicy, seeds: Sequence[int] = range(8), **options: Any) -> list[Trajectory]:
    return sorted(rollout(policy, WORLD, seeds, **options), key=lambda trajectory: trajectory.task["seed"])


def once(sent: Bytes) -> Plan:
    """Every turn's first request goes wrong."""
    return lambda asked: None if asked.before else sent


def stops(trajectories: Sequence[Trajectory]) -> Counter[str]:
    return Counter(str(trajectory.stop_reason) for trajectory in trajectories)


def test_tasks_are_solved_through_http() -> None:
    with served(server := ChatServer()) as url:
        policy = policy_at(url, ServerOptions(price_in=2.0, price_out=10.0))
        trajectories = run(policy)
    expert = sorted(rollout(ExpertPolicy(), WORLD, range(8)), key=lambda trajectory: trajectory.task["seed"])
    assert [trajectory.messages for trajectory in trajectories] == [trajectory.messages for trajectory in expert]
    assert all(trajectory.success and trajectory.policy == "openai:expert" for trajectory in trajectories)
    turns = len(server.asked)
    assert (policy.spent.answers, policy.spent.prompt_tokens, policy.spent.completion_tokens) == (
        turns,
        100 * turns,
        10 * turns,
    )
    assert policy.spent.cost == pytest.approx(turns * (100 * 2 + 10 * 10) / 1e6)
    assert policy.notes == []


def test_what_goes_out_is_what_openai_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "key-of-the-test")

    def plan(asked: Asked) -> Bytes | None:
        return completion({"content": "", "reasoning_content": "Hm.", "tool_calls": [BAD]}) if asked.turn == 0 else None

    with served(server := ChatServer(plan)) as url:
        [trajectory] = run(policy_at(url), [3])
    assert trajectory.messages[2]["reasoning_content"] == "Hm."
    assert trajectory.messages[3]["is_error"]
    for asked in server.asked:
        keys = {key for message in asked.body["messages"] for key in message}
        assert keys <= {"role", "content", "tool_calls", "tool_call_id"}
        assert asked.body["tools"] == trajectory.tools
        assert asked.headers["authorization"] == "Bearer key-of-the-test"


BAD = {"id": "call_x", "type": "function", "function": {"name": "no_such_tool", "arguments": "{}"}}


@pytest.mark.parametrize(
    "sent",
    [
        failing(429, **{"Retry-After": "0.01"}),
        failing(429, **{"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}),
        failing(429),
        failing(500),
        failing(502),
        failing(503),
        failing(504),
        Bytes(body=b'{"object": "chat.completion", "choices": [{"mess'),
        Bytes(body=b"<html>busy</html>", headers={"Content-Type": "text/html"}),
        Bytes(body={"object": "error"}),
        Bytes(body={"choices": []}),
        Bytes(body={"choices": [{"message": None}]}),
        Bytes(body=b"[]"),
        completion({"content": "half"}, finish="abort"),
        Bytes(body={"choices": []}, cut=5),
    ],
    ids=str,
)
def test_what_a_retry_mends_is_mended(sent: Bytes) -> None:
    with served(server := ChatServer(once(sent))) as url:
        policy = policy_at(url)
        trajectories = run(policy, range(4))
    assert all(trajectory.success for trajectory in trajectories)
    assert policy.spent.retries == len(server.asked) / 2 == policy.spent.answers


def test_an_answer_that_takes_too_long_is_asked_for_again() -> None:
    with served(ChatServer(lambda asked: None if asked.before else Bytes(late=3))) as url:
        policy = policy_at(url, ServerOptions(timeout=0.1, tries=4, backoff=0.001, longest_wait=0.05))
        assert all(trajectory.success for trajectory in run(policy, range(2)))


def test_a_server_is_left_alone_for_as_long_as_it_says() -> None:
    times: list[float] = []

    def plan(asked: Asked) -> Bytes | None:
        times.append(time.monotonic())
        return failing(429, **{"Retry-After": "0.3"}) if len(times) == 1 else None

    with served(ChatServer(plan)) as url:
        [trajectory] = run(policy_at(url, ServerOptions(backoff=0.001)), [0])
    assert trajectory.success
    assert times[1] - times[0] >= 0.3


def test_a_fault_ends_its_own_episode_and_counts_in_no_rate() -> None:
    with served(ChatServer(lambda asked: failing(500, "out of memory") if asked.seed % 3 == 0 else None)) as url:
        trajectories = run(policy_at(url), range(12))
    for trajectory in trajectories:
        if trajectory.task["seed"] % 3:
            assert trajectory.success
        else:
            assert (trajectory.stop_reason, trajectory.reward) == (StopReason.INFRASTRUCTURE_FAULT, 0.0)
            assert "out of memory" in trajectory.fault
            assert "after 6 tries" in trajectory.fault
    measured = measure((trajectory, criticize(trajectory)) for trajectory in trajectories)
    assert (measured.faults, measured.tasks, measured.invalid_calls) == (4, 8, 0)
    assert measured.success.rate == 1.0


def test_nobody_at_the_address_is_a_fault_of_each_episode() -> None:
    with served(ChatServer()) as url:
        pass
    trajectories = run(policy_at(url), range(4))
    assert stops(trajectories) == {"infrastructure_fault": 4}


def test_a_mistake_of_the_model_is_answered_by_the_world() -> None:
    def plan(asked: Asked) -> Bytes | None:
        broken = {"id": "c", "type": "function", "function": {"name": "find_order", "arguments": '{"order_id": 4'}}
        odd = ["no call", {"function": {"name": "find_order", "arguments": {"order_id": [1]}}}]
        return (
            completion({"content": None, "tool_calls": [broken, *odd][asked.seed % 3 :][:1]})
            if asked.turn == 0
            else None
        )

    with served(ChatServer(plan)) as url:
        trajectories = run(policy_at(url), range(3))
    assert all(trajectory.messages[3]["is_error"] for trajectory in trajectories)
    first = trajectories[0].messages[2]["tool_calls"][0]["function"]["arguments"]
    assert first == '{"order_id": 4'
    codes = [{finding.code for finding in criticize(trajectory)} for trajectory in trajectories]
    assert "malformed_call" in codes[0]
    assert "malformed_call" in codes[1]
    assert all(trajectory.messages[2]["tool_calls"][0]["id"] for trajectory in trajectories)


def test_a_server_that_parses_earlier_calls_gets_them_so_that_it_can() -> None:
    def plan(asked: Asked) -> Bytes | None:
        for message in asked.body["messages"]:
            for call in message.get("tool_calls", ()):
                try:
                    json.loads(call["function"]["arguments"])
                except ValueError:
                    return failing(400, "Expecting ',' delimiter: line 1 column 15")
        if asked.turn == 0:
            return completion(
                {"tool_calls": [{**BAD, "function": {"name": "find_order", "arguments": '{"order_id": 4'}}]}
            )
        return None

    with served(ChatServer(plan)) as url:
        policy = policy_at(url)
        trajectories = run(policy, range(4))
    assert all(trajectory.success for trajectory in trajectories)
    assert trajectories[0].messages[2]["tool_calls"][0]["function"]["arguments"] == '{"order_id": 4'
    assert [note for note in policy.notes if "wrapped" in note]


@pytest.mark.parametrize("refused", ["return_token_ids", "logprobs", "seed", "max_completion_tokens"])
def test_what_a_server_does_not_know_is_left_out(refused: str) -> None:
    def plan(asked: Asked) -> Bytes | None:
        return failing(400, f"Unrecognized request argument supplied: {refused}") if refused in asked.body else None

    with served(server := ChatServer(plan)) as url:
        policy = load_policy(f"openai:expert@{url}", max_tokens=99, server=QUICK)
        assert isinstance(policy, ServerPolicy)
        assert all(trajectory.success for trajectory in run(policy))
    assert policy.notes == [f"the server refuses {refused}, so it is left out"]
    assert {asked.body.get("max_completion_tokens", asked.body.get("max_tokens")) for asked in server.asked} == {99}


def test_a_refusal_in_another_form_than_openais_is_read() -> None:
    """FastAPI's, as `transformers serve` answers."""

    def plan(asked: Asked) -> Bytes | None:
        unknown = {"detail": "Unexpected fields in the request: {'return_token_ids'}"}
        return Bytes(status=422, body=unknown) if "return_token_ids" in asked.body else None

    with served(ChatServer(plan)) as url:
        policy = policy_at(url)
        assert all(trajectory.success for trajectory in run(policy, range(2)))
    assert policy.notes == ["the server refuses return_token_ids, so it is left out"]


def test_a_models_revision_makes_it_no_other_model() -> None:
    with served(ChatServer(lambda asked: completion({"content": "Done."}, model="expert@main"))) as url:
        run(policy := policy_at(url), [0])
    assert policy.notes == []


def test_oddities_are_noted_once() -> None:
    def plan(asked: Asked) -> Bytes | None:
        return completion({"content": "Done."}, finish="tired", model="someone-else")

    with served(ChatServer(plan)) as url:
        policy = policy_at(url)
        assert stops(run(policy)) == {"answered": 8}
    assert policy.notes == [
        "unknown finish reason 'tired': taken for the end of the turn",
        "asked for model 'expert', and 'someone-else' answers",
    ]


def test_what_was_cut_off_is_no_answer() -> None:
    with served(ChatServer(lambda asked: completion({"content": "I will now"}, finish="length"))) as url:
        assert stops(run(policy_at(url))) == {"token_limit": 8}


@pytest.mark.parametrize(
    "sent",
    [
        failing(400, "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens"),
        Bytes(status=400, body={"error": {"message": "no", "code": "context_length_exceeded"}}),
        failing(413, "too large"),
    ],
    ids=str,
)
def test_a_context_that_is_too_long_ends_its_episode_at_the_token_limit(sent: Bytes) -> None:
    with served(ChatServer(lambda asked: sent if (asked.seed, asked.turn) == (2, 1) else None)) as url:
        trajectories = run(policy_at(url), range(4))
    assert [str(trajectory.stop_reason) for trajectory in trajectories] == ["answered"] * 2 + [
        "token_limit",
        "answered",
    ]
    assert not trajectories[2].success
    assert "budget_exhausted" in {finding.code for finding in criticize(trajectories[2])}


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (failing(401, "bad key"), "set OPENAI_API_KEY.*bad key"),
        (failing(403), "no right to this model"),
        (failing(404, "no model of that name"), "no such model"),
        (Bytes(status=429, body={"error": {"message": "x", "code": "insufficient_quota"}}), "nothing is left"),
        (failing(400, "tool choice requires --enable-auto-tool-choice"), "refuses the request: .*enable-auto"),
    ],
    ids=str,
)
def test_what_no_retry_mends_ends_the_run(sent: Bytes, said: str) -> None:
    with served(ChatServer(lambda asked: sent)) as url, pytest.raises(InputError, match=said):
        run(policy_at(url))


def test_a_request_that_is_refused_once_others_were_taken_is_one_episodes_fault() -> None:
    with served(ChatServer(lambda asked: failing(400, "odd") if (asked.seed, asked.turn) == (2, 2) else None)) as url:
        trajectories = run(policy_at(url), range(4))
    assert stops(trajectories) == {"answered": 3, "infrastructure_fault": 1}


def test_a_bug_is_raised_and_the_others_are_left() -> None:
    class Buggy(ServerPolicy):
        async def reply(self, context: Any) -> Any:
            if context.env.task_record()["seed"] == 5:
                raise KeyError("a bug")
            return await super().reply(context)

    with served(ChatServer()) as url, pytest.raises(KeyError, match="a bug"):
        run(Buggy("expert", url.split(","), options=QUICK))


def test_the_asynchronous_form_gives_the_same() -> None:
    async def collected(policy: Any) -> list[Trajectory]:
        async with aclosing(rollout_async(policy, WORLD, range(8), n=2, concurrency=5)) as trajectories:
            return [trajectory async for trajectory in trajectories]

    def by_id(trajectories: Sequence[Trajectory]) -> dict[str, Trajectory]:
        return {trajectory.id: trajectory for trajectory in trajectories}

    with served(ChatServer()) as url:
        first = by_id(asyncio.run(collected(policy_at(url))))
        assert first == by_id(run(policy_at(url), n=2))
    assert sorted(first) == sorted(f"{WORLD}/test/{seed}/{number}" for seed in range(8) for number in range(2))
    assert by_id(asyncio.run(collected(ExpertPolicy()))) == by_id(list(rollout(ExpertPolicy(), WORLD, range(8), n=2)))


def test_the_synchronous_form_works_on_an_event_loop_too() -> None:
    async def on_a_loop() -> list[Trajectory]:
        return run(policy_at(url), range(2))

    with served(ChatServer()) as url:
        assert all(trajectory.success for trajectory in asyncio.run(on_a_loop()))


def test_hundreds_of_episodes_are_in_flight() -> None:
    done = completion({"content": "Done."})
    with served(server := ChatServer(lambda asked: done, waits_for=201)) as url:
        policy = policy_at(url, ServerOptions(concurrency=400))
        trajectories = run(policy, range(TASKS), n=15, concurrency=400)
    assert stops(trajectories) == {"answered": 15 * TASKS}
    assert len({trajectory.id for trajectory in trajectories}) == 15 * TASKS
    assert server.most_in_flight > 200


def test_no_more_requests_are_in_flight_than_allowed() -> None:
    with served(server := ChatServer(slow)) as url:
        run(policy_at(url, ServerOptions(concurrency=3)), range(12))
    assert server.most_in_flight == 3


def slow(asked: Asked) -> Bytes:
    return Bytes(body=completion({"content": "Done."}).body, late=0.02)


def test_servers_share_the_load_and_a_sick_one_is_left_out() -> None:
    sick = ChatServer(lambda asked: failing(500))
    servers = [ChatServer(), ChatServer(), sick]
    with served(*servers) as urls:
        trajectories = run(policy_at(urls, ServerOptions(backoff=0.2, concurrency=6)), range(TASKS))
    assert all(trajectory.success for trajectory in trajectories)
    loads = [len(server.asked) for server in servers]
    assert min(loads[:2]) > 0.6 * max(loads[:2])
    assert 3 <= loads[2] <= 12


def test_a_sick_server_is_tried_again() -> None:
    began = time.monotonic()
    late = ChatServer(lambda asked: failing(500) if time.monotonic() < began + 0.3 else None)
    with served(late) as url:
        trajectories = run(policy_at(url, ServerOptions(backoff=0.02, tries=10)), range(TASKS))
    assert all(trajectory.success for trajectory in trajectories)


def test_tokens_become_turns_where_they_go_on_from_each_other() -> None:
    def plan(asked: Asked) -> Bytes | None:
        sent = server.expert(asked.seed, [part for part in asked.body["messages"] if part["role"] == "assistant"])
        prompt = [1, 2, 3] + [4, 5, 6] * asked.turn
        if asked.seed == 1 and asked.turn == 1:
            prompt[3] = 9
        sent.body["prompt_token_ids"] = prompt
        sent.body["choices"][0]["token_ids"] = [4, 5]
        parts = [
            {"token": "\ufffd", "logprob": -0.5, "bytes": [195]},
            {"token": "\ufffd", "logprob": -1.0, "bytes": [169]},
        ]
        sent.body["choices"][0]["logprobs"] = {"content": parts}
        return sent

    with served(server := ChatServer(plan)) as url:
        exact, broken = run(policy_at(url), range(2))
    assert exact.token_exact
    assert [list(turn.prompt_ids) for turn in exact.turns][:2] == [[1, 2, 3], [6]]
    assert exact.turns[0].raw == "\u00e9"
    assert list(exact.turns[0].logprobs) == [-0.5, -1.0]
    for number, turn in enumerate(exact.turns):
        assert exact.messages[turn.message_index]["role"] == "assistant"
        assert exact.prompt_ids(number) == [1, 2, 3] + [4, 5, 6] * number
    assert not broken.token_exact
    assert len(broken.turns) < sum(message["role"] == "assistant" for message in broken.messages)


@pytest.mark.parametrize(
    ("limits", "stop"),
    [
        (Limits(turns=1), StopReason.TURN_LIMIT),
        (Limits(tokens=110), StopReason.TOKEN_LIMIT),
        (Limits(seconds=0.05), StopReason.INFRASTRUCTURE_FAULT),
        (Limits(errors_in_row=2), StopReason.ERROR_LIMIT),
    ],
)
def test_limits_end_an_episode(limits: Limits, stop: StopReason) -> None:
    late = 1.0 if limits.seconds else 0.0

    def plan(asked: Asked) -> Bytes | None:
        bad = {**BAD, "id": f"call_{asked.turn}"}
        return Bytes(body=completion({"tool_calls": [bad]}).body, late=late)

    with served(ChatServer(plan)) as url:
        [trajectory] = run(policy_at(url), [0], limits=limits)
    assert trajectory.stop_reason == stop
    assert trajectory.reward == 0.0


def test_leaving_in_the_middle_closes_everything() -> None:
    with served(ChatServer(lambda asked: None)) as url:
        policy = policy_at(url)
        trajectories = rollout(policy, WORLD, range(TASKS), concurrency=8)
        next(trajectories)
        trajectories.close()  # type: ignore[attr-defined]
        assert policy._connections == {}
        assert not [thread for thread in threading.enumerate() if thread.name.startswith(("rollouts", "world"))]


def test_a_model_on_a_server_plays_the_user() -> None:
    class Parrot(ChatServer):
        def answer(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> Bytes:
            assert "tools" not in body
            return completion({"content": f"Well: {body['messages'][-1]['content'].partition('Say now: ')[2]}"})

    with served(ChatServer(world="store-v1"), Parrot()) as urls:
        acting, playing = (policy_at(url) for url in urls.split(","))
        user_of_expert = list(rollout(ExpertPolicy(), "store-v1", range(4), user=playing))
        assert all(trajectory.success for trajectory in user_of_expert)
        assert all(trajectory.messages[1]["content"].startswith("Well: ") for trajectory in user_of_expert)
        assert len(list(rollout(acting, "store-v1", range(4)))) == 4


def test_names_of_servers() -> None:
    policy = load_policy("openai:org/model@v2@http://me:secret@a.example:8000/v1,https://b.example/v1", temperature=0.5)
    assert isinstance(policy, ServerPolicy)
    assert (policy.name, policy.model) == ("openai:org/model@v2@0.5", "org/model@v2")
    assert [shown(url) for url in policy.urls] == ["http://a.example:8000/v1", "https://b.example/v1"]
    for name in ("openai:", "openai:model", "openai:@http://a.example", "openai:model@http://a.example,ftp://b"):
        with pytest.raises(InputError, match="expected openai:MODEL@BASE_URL"):
            load_policy(name)


@pytest.mark.parametrize(
    "wrong", [{"concurrency": 0}, {"tries": 0}, {"timeout": 0}, {"max_tokens": 0}, {"price_in": -1}]
)
def test_options_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="must be"):
        ServerOptions(**wrong)


def test_the_file_of_a_run_with_faults_is_gone_on_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = [True]

    def plan(asked: Asked) -> Bytes | None:
        return failing(500) if broken[0] and asked.seed in (2, 5) else None

    def rolled_out() -> tuple[str, str]:
        with pytest.raises(SystemExit) as end:
            main()
        assert not end.value.code
        return capsys.readouterr()

    out = tmp_path / "run.jsonl"
    with served(ChatServer(plan)) as url:
        command = ["envs", "rollout", WORLD, "--policy", f"openai:expert@{url}", "-n", "8", "--out", str(out)]
        command += ["--server.tries", "2", "--server.backoff", "0.001", "--server.price-in", "1"]
        monkeypatch.setattr("sys.argv", command)
        said, errors = rolled_out()
        assert "2 ended by faults" in said
        assert "cost" in said
        assert "infrastructure fault: store-v0/test/" in errors
        broken[0] = False
        said, _ = rolled_out()
    assert said.startswith("2 trajectories (6 skipped: already there; 2 again, which a fault had ended)")
    trajectories = list(read_trajectories(out))
    assert sorted(trajectory.task["seed"] for trajectory in trajectories) == list(range(8))
    assert all(trajectory.success for trajectory in trajectories)
    manifest = json.loads((tmp_path / "run.jsonl.manifest.json").read_text())
    assert manifest["made_with"][0]["servers"] == [url]
