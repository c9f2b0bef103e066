"""How fast worlds are, per CPU second on one core: `python -m envs bench`.

A step is a whole `env.step` of the expert's, answers too: each call is parsed, validated against its schema, carried
out, and answered. A state check is `is_solved` in a final state. A reset makes a new task each time. Importing
is measured in a process of its own, without what Python itself takes.

Left out: what a model or a server takes; what a world does in other processes.
"""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import count
from time import process_time

from envs.env import ToolEnv, make
from envs.trajectory import Message

EPISODES = 32
"""So many different tasks are acted in, over and over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """A world's figures, each a number per CPU second."""

    steps_per_cpu_s: float
    state_checks_per_cpu_s: float
    resets_per_cpu_s: float

    def to_json(self) -> dict[str, float]:
        return {name: round(value, 1) for name, value in asdict(self).items()}


def speed(env_id: str, *, seconds: float) -> Speed:
    """Measure a world, for about `seconds` of CPU time a figure, and one episode at least."""
    env = make(env_id, split="test")
    try:
        episodes: dict[int, list[Message]] = {}

        def act(number: int) -> tuple[int, float]:
            seed = number % EPISODES
            if seed not in episodes:
                episodes[seed] = _expert(env, seed)
            env.reset(seed=seed)
            began = process_time()
            for action in episodes[seed]:
                env.step(action)
            return len(episodes[seed]), process_time() - began

        def reset(number: int) -> tuple[int, float]:
            began = process_time()
            env.reset(seed=number)
            return 1, process_time() - began

        steps = _per_second(act, seconds)
        act(0)
        checks = _per_second(lambda _: _timed(env.is_solved), seconds)
        return Speed(steps_per_cpu_s=steps, state_checks_per_cpu_s=checks, resets_per_cpu_s=_per_second(reset, seconds))
    finally:
        env.close()


def _expert(env: ToolEnv, seed: int) -> list[Message]:
    """What an expert does in a task."""
    env.reset(seed=seed)
    actions: list[Message] = []
    ended = False
    while not ended:
        actions.append(env.expert_action())
        _, _, terminated, truncated, _ = env.step(actions[-1])
        ended = terminated or truncated
    return actions


def _timed(function: Callable[[], object], times: int = 10) -> tuple[int, float]:
    began = process_time()
    for _ in range(times):
        function()
    return times, process_time() - began


def _per_second(work: Callable[[int], tuple[int, float]], seconds: float) -> float:
    """How often in a CPU second: `work` takes a number from 0 on, and gives how much it did and how long that took."""
    did, took = 0, 0.0
    for number in count():
        amount, time = work(number)
        did, took = did + amount, took + time
        if took >= seconds:
            break
    return did / took


def import_cpu_s() -> float:
    """CPU seconds that `import envs` takes in a fresh Python, the least of three."""
    code = "import time; began = time.process_time(); import envs; print(time.process_time() - began)"
    return min(
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(3)
    )
