"""vLLM in this process and behind a server, and `transformers serve`, against transformers' plain forward pass.

Opt-in (`make test-vllm`): they need an environment of their own.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch

from critics import criticize
from distill.config import Update
from distill.learner import Learner
from envs import StopReason, Trajectory, make, read_trajectories
from envs.policies import Context, ContextTooLong
from envs.policies.hf import TINY, LocalPolicy, Sampling
from envs.policies.loading import load_model
from envs.policies.server import ServerOptions, ServerPolicy, server_policy
from envs.recording import Rollout
from envs.rollout import rollout
from tools.command import InputError

# Their warnings are theirs.
pytestmark = [pytest.mark.vllm, pytest.mark.filterwarnings("default")]

WORLD, MOST_TOKENS, CLOSE = "store-v0", 96, 1e-3
VLLM_SERVER = [
    sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(TINY), "--served-model-name", "tiny",
    "--dtype", "float32", "--enforce-eager", "--no-enable-chunked-prefill",
    "--enable-auto-tool-choice", "--tool-call-parser", "hermes",
]  # fmt: skip
TRANSFORMERS_SERVER = [
    str(Path(sys.executable).with_name("transformers")), "serve", str(TINY), "--dtype", "float32", "--device", "cpu",
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    """One gibibyte for keys and values is plenty, and a key of the machine's is none of the test's business."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
        for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="module")
def tiny() -> Any:
    return load_model("tiny")[0]


def plain_logprobs(model: Any, trajectory: Trajectory, number: int) -> list[float]:
    """Log-probs of a turn's tokens from one forward pass over everything before them and them."""
    before, turn = trajectory.prompt_ids(number), trajectory.turns[number]
    with torch.inference_mode():
        logits_TV = model(torch.tensor([[*before, *turn.token_ids]])).logits[0].double()
    logprobs_TV = logits_TV[len(before) - 1 : -1].log_softmax(-1)
    return [float(row_V[token]) for row_V, token in zip(logprobs_TV, turn.token_ids, strict=True)]


def check_logprobs(model: Any, trajectories: Sequence[Trajectory]) -> None:
    assert any(len(trajectory.turns) > 2 for trajectory in trajectories)
    for trajectory in trajectories:
        assert trajectory.token_exact
        for number, turn in enumerate(trajectory.turns):
            assert turn.logprobs == pytest.approx(plain_logprobs(model, trajectory, number), abs=CLOSE)


def tokens_of(trajectories: Sequence[Trajectory]) -> dict[str, list[list[int]]]:
    return {trajectory.id: [list(turn.token_ids) for turn in trajectory.turns] for trajectory in trajectories}


# In this process


@pytest.fixture(scope="module")
def engine(small: None) -> Any:
    from envs.policies.engine import EnginePolicy

    return EnginePolicy("tiny")


@pytest.fixture
def temperature(engine: Any) -> Iterator[Any]:
    """Sets the engine's temperature for a test."""
    before = engine.sampling

    def set_to(temperature: float, most: int = MOST_TOKENS) -> None:
        engine.sampling = Sampling(temperature=temperature, max_new_tokens=most)

    yield set_to
    engine.sampling = before


@pytest.mark.parametrize("warmth", [1.0, 0.7])
def test_logprobs_are_those_of_the_model_itself(engine: Any, tiny: Any, temperature: Any, warmth: float) -> None:
    temperature(warmth)
    check_logprobs(tiny, list(rollout(engine, WORLD, range(12), batch=12)))


def test_greedy_turns_are_those_of_transformers(engine: Any, temperature: Any) -> None:
    temperature(0.0)
    local = LocalPolicy.load("tiny", sampling=Sampling(temperature=0.0))
    assert tokens_of(list(rollout(engine, WORLD, range(8)))) == tokens_of(list(rollout(local, WORLD, range(8))))


def test_the_same_seeds_give_the_same_turns_whatever_the_batch(engine: Any) -> None:
    one, many, other = (
        tokens_of(list(rollout(engine, WORLD, range(6), batch=batch, sampling_seed=seed)))
        for batch, seed in ((1, 0), (6, 0), (6, 1))
    )
    assert one == many
    assert sorted(one.values()) != sorted(other.values())


def test_a_turn_ends_at_its_limit_or_where_the_context_is_full(
    engine: Any, temperature: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    temperature(1.0, most=5)
    (cut,) = rollout(engine, WORLD, [0])
    assert len(cut.turns[0].token_ids) == 5
    monkeypatch.setattr(engine, "longest", len(cut.prompt_ids(0)) + 3)
    (full,) = rollout(engine, WORLD, [0])
    assert list(full.turns[0].token_ids) == list(cut.turns[0].token_ids[:3])
    assert full.stop_reason == StopReason.TOKEN_LIMIT


def changed(folder: Path, model: Any, tokenizer: Any, *, tied: bool) -> Any:
    """Another checkpoint of the same model, every matrix of it moved, and the model in it."""
    torch.manual_seed(1)
    with torch.no_grad():
        for part in model.parameters():
            part.add_(0.2 * torch.randn_like(part) * part.std())
    if not tied:
        model.config.tie_word_embeddings = False
        model.lm_head.weight = torch.nn.Parameter(model.model.embed_tokens.weight.detach().clone())
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model


@pytest.mark.parametrize("tied", [True, False])
def test_new_weights_are_used_without_a_restart(engine: Any, tiny: Any, tmp_path: Path, tied: bool) -> None:
    """All of them: with the old output layer, or the old keys and values of a prompt, log-probs would be off."""
    old = list(rollout(engine, WORLD, range(8)))
    new = changed(tmp_path / "new", *load_model("tiny"), tied=tied)
    with pytest.raises(AssertionError):
        check_logprobs(new, old)
    engine.reload(tmp_path / "new")
    check_logprobs(new, list(rollout(engine, WORLD, range(8))))
    engine.reload("tiny")
    again = list(rollout(engine, WORLD, range(8)))
    assert tokens_of(again) == tokens_of(old)
    check_logprobs(tiny, again)


def test_an_adapter_is_merged_into_its_model(engine: Any, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adapted = peft.get_peft_model(load_model("tiny")[0], config)
    adapted.peft_config["default"].base_model_name_or_path = "tiny"
    adapted.save_pretrained(tmp_path)
    engine.reload(tmp_path)
    check_logprobs(load_model(tmp_path)[0], list(rollout(engine, WORLD, range(8))))
    engine.reload("tiny")


def test_another_model_is_refused_and_the_old_one_goes_on(engine: Any, tiny: Any, tmp_path: Path) -> None:
    model, tokenizer = load_model("tiny")
    model.resize_token_embeddings(len(tokenizer) + 8)
    model.save_pretrained(tmp_path / "larger")
    tokenizer.save_pretrained(tmp_path / "larger")
    with pytest.raises(InputError, match="another model than the one that acts"):
        engine.reload(tmp_path / "larger")
    check_logprobs(tiny, list(rollout(engine, WORLD, range(6))))


# Behind servers


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    process: "subprocess.Popen[bytes]"
    url: str
    log: Path

    def is_up(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()[-3_000:]
        try:
            with urllib.request.urlopen(self.url.removesuffix("v1") + "health", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def kill(self) -> None:
        """At once, and its own processes with it."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def running(command: Sequence[str], count: int, folder: Path) -> Iterator[list[Running]]:
    """So many servers of a kind, started together, once all of them answer."""
    servers = []
    with ExitStack() as stack:
        for number in range(count):
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            log = folder / f"{number}.log"
            process = subprocess.Popen(
                [*command, "--host", "127.0.0.1", "--port", str(port)],
                stdout=stack.enter_context(log.open("wb")),
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            servers.append(Running(process=process, url=f"http://127.0.0.1:{port}/v1", log=log))
            stack.callback(lambda server=servers[-1]: server.process.poll() is None and server.kill())
        until = time.monotonic() + 300
        while not all(server.is_up() for server in servers):
            assert time.monotonic() < until, servers[0].log.read_text()[-3_000:]
            time.sleep(0.5)
        yield servers


@pytest.fixture(scope="module")
def vllm_servers(small: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Running]]:
    with running(VLLM_SERVER, 2, tmp_path_factory.mktemp("vllm")) as servers:
        yield servers


def test_a_vllm_servers_turns_are_exact(vllm_servers: list[Running], tiny: Any) -> None:
    policy = server_policy(f"openai:tiny@{vllm_servers[1].url}", options=ServerOptions(max_tokens=MOST_TOKENS))
    trajectories = list(rollout(policy, WORLD, range(16), concurrency=8))
    check_logprobs(tiny, trajectories)
    local = LocalPolicy.load("tiny")
    for trajectory in trajectories:
        assert trajectory.prompt_ids(0) == local.writer.first(trajectory.messages[:2], trajectory.tools)
        for turn in trajectory.turns:
            assert turn.raw == local.writer.decode(turn.token_ids)
            read, came = local.writer.parse(turn.token_ids, "call"), trajectory.messages[turn.message_index]
            assert [call["function"] for call in read.get("tool_calls", [])] == [
                call["function"] for call in came.get("tool_calls", [])
            ]
    assert sum(trajectory.success for trajectory in trajectories) > 8
    assert policy.notes == []


def test_a_servers_seed_is_the_episodes(vllm_servers: list[Running]) -> None:
    policy = server_policy(f"openai:tiny@{vllm_servers[1].url}")
    one, again = (tokens_of(list(rollout(policy, WORLD, range(6)))) for _ in range(2))
    assert one == again


def test_a_conversation_that_does_not_fit_is_known_as_such(vllm_servers: list[Running]) -> None:
    policy = server_policy(f"openai:tiny@{vllm_servers[1].url}")
    message = {"role": "user", "content": "order " * 2_100}
    env = make(WORLD)
    with pytest.raises(ContextTooLong, match="2048"):
        policy.act([Context(env=env, messages=[message], tools=[], rng=Random(0))])
    env.close()


def test_a_servers_model_teaches_as_it_would_here(vllm_servers: list[Running], tiny: Any) -> None:
    criticized = [(part, criticize(part)) for part in rollout(LocalPolicy.load("tiny"), WORLD, range(8), split="train")]
    writer, by = LocalPolicy.load("tiny").writer, f"openai:tiny@{vllm_servers[0].url},{vllm_servers[1].url}"
    here, there = (
        Learner(deepcopy(tiny), writer, Update(epochs=1, **settings)).learn(criticized)
        for settings in ({}, {"teacher_by": by})
    )
    assert here[1].admitted == there[1].admitted > 3
    assert there[1].losses == pytest.approx(here[1].losses, rel=0.1, abs=1e-3)
    for ours, theirs in zip(here[0], there[0], strict=True):
        assert ours.teacher_logprobs == pytest.approx(theirs.teacher_logprobs, abs=CLOSE, rel=1e-3)
    with pytest.raises(InputError, match="prompt_logprobs"):
        Learner(deepcopy(tiny), writer, Update(teacher_by=by, teacher_top=500)).learn(criticized)


def test_a_server_that_is_killed_costs_no_trajectory(
    vllm_servers: list[Running], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Runs last of those with vLLM's servers: one of them is gone afterwards."""
    out, tasks = tmp_path / "fleet.jsonl", 40

    def kill_one() -> None:
        while not out.is_file() or out.read_bytes().count(b"\n") < 5:
            time.sleep(0.05)
        vllm_servers[0].kill()

    killer = threading.Thread(target=kill_one, daemon=True)
    killer.start()
    Rollout(
        env=WORLD,
        out=out,
        policy=f"openai:tiny@{vllm_servers[0].url},{vllm_servers[1].url}",
        n=tasks,
        server=ServerOptions(max_tokens=MOST_TOKENS, concurrency=12, backoff=0.1),
    )()
    killer.join(5)
    assert not killer.is_alive()
    trajectories = list(read_trajectories(out))
    assert sorted(trajectory.task["seed"] for trajectory in trajectories) == list(range(tasks))
    assert not any(trajectory.stop_reason == StopReason.INFRASTRUCTURE_FAULT for trajectory in trajectories)
    assert all(trajectory.token_exact for trajectory in trajectories)
    assert " retries" in capsys.readouterr().out


def test_transformers_serve_gives_tool_calls(tmp_path: Path) -> None:
    """It knows neither token ids nor log-probs, and refuses to be asked for them."""
    with running(TRANSFORMERS_SERVER, 1, tmp_path) as (server,):
        policy: ServerPolicy = server_policy(f"openai:{TINY}@{server.url}")
        trajectories = list(rollout(policy, WORLD, range(6), concurrency=2))
    assert sum(trajectory.success for trajectory in trajectories) > 3
    assert not any(trajectory.turns or trajectory.token_exact for trajectory in trajectories)
    assert policy.notes == ["the server refuses return_token_ids, so it is left out"]
