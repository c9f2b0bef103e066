"""What the teacher's scores cost beside the student's update: a hinted pass per error, against branches off a trunk.

    python -m distill.benchmark                               # a random model, one trajectory of 4,096 tokens
    python -m distill.benchmark --tokens 20000 --errors 8

Times are medians of interleaved repeats in one process, and are shown as shares of the student's own forward and
backward pass over the trajectory, since machines differ and are shared. All ways give the same log-probs (checked here
too). Left out: rollouts, the optimizer, several trajectories a pass.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from random import Random
from statistics import median
from typing import Any

import torch
import tyro
from rich.console import Console
from rich.table import Table
from transformers import Qwen3Config, Qwen3ForCausalLM

from distill.prefill import Branch, Trunk, hinted_prefill, on_branches, on_trunks, plain_prefill
from tools.command import InputError, run


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Time the teacher's scores beside the student's update, on a random Qwen3 model."""

    tokens: int = 4_096
    """Tokens of the trajectory."""
    errors: int = 4
    """Erroneous turns, spread evenly over it; each has a hint of its own."""
    turn: int = 100
    """Tokens of an erroneous turn, all of them asked for."""
    hint: int = 60
    """Tokens of a hint with its message."""
    width: int = 256
    """Width of the model."""
    layers: int = 4
    """Layers of the model."""
    repeats: int = 5
    """Times that each way is taken."""
    json: bool = False
    """Print JSON."""

    def check(self) -> None:
        if min(self.errors, self.turn, self.hint, self.layers, self.repeats) < 1 or self.width % 64:
            raise InputError("expected errors, turn, hint, layers and repeats from 1 and a width in steps of 64")
        if self.tokens < self.errors * (self.turn + 1):
            raise InputError(f"{self.errors} turns of {self.turn} tokens don't fit into {self.tokens}")


def benchmark(config: Config) -> dict[str, Any]:
    """Seconds of each way, and the largest difference between the log-probs of the ways."""
    config.check()
    model, trunk = _model(config), _trunk(config)
    contexts = [Trunk([*trunk.ids[: branch.start], *branch.ids], branch.asked) for branch in trunk.branches]
    ways: dict[str, Callable[[], torch.Tensor]] = {
        "student: forward and backward": lambda: _update(model, trunk),
        "teacher: a hinted pass per error": lambda: torch.cat(
            [scored for context in contexts for _, scored in plain_prefill(model, [context])]
        ),
        "teacher: own trunk, branches": lambda: next(iter(hinted_prefill(model, [trunk])))[1],
        "student and live teacher: one trunk, branches": lambda: _update(model, trunk, live=True),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    scores: dict[str, torch.Tensor] = {}
    for _ in range(config.repeats):
        for name, way in ways.items():
            _wait()
            began = time.perf_counter()
            scores[name] = way()
            _wait()
            seconds[name].append(time.perf_counter() - began)
    naive = scores["teacher: a hinted pass per error"]
    apart = (float((scores[name] - naive).abs().max()) for name in list(ways)[2:])
    return {
        "config": asdict(config),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "threads": torch.get_num_threads(),
        "seconds": {name: median(times) for name, times in seconds.items()},
        "largest_difference": max(apart),
    }


def _update(model: Any, trunk: Trunk, *, live: bool = False) -> torch.Tensor:
    """The student's pass with its gradient; the scores are the live teacher's, or nothing."""
    student_NV, cache = on_trunks(model, [trunk], keep=live)
    with torch.no_grad():
        teacher_NV = on_branches(model, [trunk], cache) if cache else student_NV.detach()
    (-student_NV[:, 0]).mean().backward()
    model.zero_grad()
    return teacher_NV


def _model(config: Config) -> Any:
    torch.manual_seed(0)
    model: Any = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=2_048,
            hidden_size=config.width,
            intermediate_size=3 * config.width,
            num_hidden_layers=config.layers,
            num_attention_heads=config.width // 32,
            num_key_value_heads=config.width // 64,
            head_dim=32,
            max_position_embeddings=2 * config.tokens,
        )
    )
    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval()


def _trunk(config: Config) -> Trunk:
    """A trajectory whose erroneous turns end at even distances, the last one at its end."""
    rng = Random(0)
    ids = [rng.randrange(2_048) for _ in range(config.tokens)]
    ends = [config.tokens * (number + 1) // config.errors for number in range(config.errors)]
    branches = []
    for end in ends:
        start, hint = end - config.turn, [rng.randrange(2_048) for _ in range(config.hint)]
        branches.append(Branch(start, [*hint, *ids[start:end]], range(start + config.hint, end + config.hint)))
    return Trunk(ids, [position for end in ends for position in range(end - config.turn, end)], branches)


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def shown(record: dict[str, Any]) -> Table:
    config = record["config"]
    student = record["seconds"]["student: forward and backward"]
    title = f"{config['tokens']} tokens, {config['errors']} errors, {record['device']}, {record['threads']} threads"
    table = Table(title=title, box=None)
    for heading in ("", "seconds", "share"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, seconds in record["seconds"].items():
        table.add_row(name, f"{seconds:.3f}", f"{seconds / student:.2f}")
    table.caption = f"log-probs differ by at most {record['largest_difference']:.1g}"
    return table


def main() -> None:
    config = tyro.cli(Config, prog="python -m distill.benchmark", config=(tyro.conf.FlagCreatePairsOff,))
    record = benchmark(config)
    if config.json:
        print(json.dumps(record, indent=2))
    else:
        Console().print(shown(record))


if __name__ == "__main__":
    run(main)
