"""How fast a model in this process acts, worlds included, beside plain `generate`: `python -m envs bench-policy`.

Whole episodes of store-v0 against `model.generate` of the same checkpoint after the very prompts of those episodes:
left-padded, in batches of 32, with the same sampling, stop tokens and limit. It knows no turns, so it reads each turn's
whole prompt again; after first prompts only, it does not have to, and where no row ever stops, it has nothing to wait
for: these are given too. Where vLLM is installed, the same episodes go through it as well; what it remembers of the
last ones is thrown away first. All ways take turns in one process, and each figure is the median of its repeats, since
machines differ and are shared.
Left out: models on servers, and how good the turns are.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from envs.rollout import rollout
from tools.command import InputError
from tools.screen import said

if TYPE_CHECKING:
    from envs.policies.engine import EnginePolicy
    from envs.policies.hf import LocalPolicy
    from envs.policies.turns import TokenPolicy

ENV, GENERATE_BATCH = "store-v0", 32
GENERATED = 128
"""So many of the prompts are given to generate, evenly spread: it is slow, and a rate needs no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchPolicy:
    """Measure how fast a model in this process acts, worlds included, beside plain generate."""

    policy: str = "tiny"
    """tiny, a model's or an adapter's folder, or hf: and a hub name."""
    n: int = 64
    """Tasks of store-v0."""
    batch: int = 64
    """How many tasks the policy works on at once."""
    repeats: int = 3
    """Times that each way is taken."""
    json: bool = False
    """Print JSON in place of a table."""

    def __call__(self) -> None:
        if min(self.n, self.batch, self.repeats) < 1:
            raise InputError("expected n, batch and repeats from 1 on")
        record = measure(self.policy.removeprefix("hf:"), n=self.n, batch=self.batch, repeats=self.repeats)
        if self.json:
            print(json.dumps(record, indent=2))
            return
        console = Console(highlight=False, markup=False, emoji=False)
        console.print(_table(record))
        console.print(f"{record['episodes']} episodes, {record['device']}, {record['threads']} threads")
        if record["vllm_tokens_per_s"] is None:
            console.print("vLLM isn't installed here, so there is no row of it")


def measure(path: str, *, n: int, batch: int, repeats: int) -> dict[str, Any]:
    """Rates in sampled tokens a second, and the share of the time that is spent outside of the model's forward passes.

    `tokens_per_s` and `outside_model_share` are of rollouts.
    """
    import torch

    from envs.policies.engine import EnginePolicy, is_installed
    from envs.policies.hf import LocalPolicy

    policy = LocalPolicy.load(path)
    clock = _Clock(policy.model)
    trajectories = list(rollout(policy, ENV, range(n), batch=batch))
    prompts = [trajectory.prompt_ids(turn) for trajectory in trajectories for turn in range(len(trajectory.turns))]
    first = [trajectory.prompt_ids(0) for trajectory in trajectories if trajectory.turns][: 2 * GENERATE_BATCH]
    some = prompts[:: max(1, len(prompts) // GENERATED)][:GENERATED]
    ways: dict[str, Callable[[], int]] = {
        "rollouts": lambda: _act(policy, n, batch),
        "generate": lambda: _generate(policy, some),
        "generate_first_turns": lambda: _generate(policy, first),
        "generate_never_stopped": lambda: _generate(policy, first, stops=False),
    }
    if is_installed():
        engine = EnginePolicy(path)
        ways["vllm"] = lambda: _act_anew(engine, n, batch)
    rates: dict[str, list[float]] = {name: [] for name in ways}
    shares: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            clock.inside, began = 0.0, time.perf_counter()
            tokens = way()
            took = time.perf_counter() - began
            rates[name].append(tokens / took)
            shares[name].append(1 - clock.inside / took)
    rate = {name: round(median(values), 1) for name, values in rates.items()}
    share = {name: round(median(values), 4) for name, values in shares.items()}
    return {
        "policy": path,
        "tokens_per_s": rate["rollouts"],
        "generate_tokens_per_s": rate["generate"],
        "outside_model_share": share["rollouts"],
        "generate_first_turns_tokens_per_s": rate["generate_first_turns"],
        "generate_never_stopped_tokens_per_s": rate["generate_never_stopped"],
        "vllm_tokens_per_s": rate.get("vllm"),
        "ratios_to_generate": {
            name: [round(one / other, 2) for one, other in zip(rates[name], rates["generate"], strict=True)]
            for name in ("rollouts", "vllm")
            if name in rates
        },
        "episodes": n,
        "turns": len(prompts),
        "batch": batch,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "threads": torch.get_num_threads(),
    }


class _Clock:
    """Seconds inside a model's forward passes."""

    def __init__(self, model: Any) -> None:
        self.inside = self.began = 0.0
        model.register_forward_pre_hook(self._enter)
        model.register_forward_hook(self._leave)

    def _enter(self, *_: object) -> None:
        _wait()
        self.began = time.perf_counter()

    def _leave(self, *_: object) -> None:
        _wait()
        self.inside += time.perf_counter() - self.began


def _wait() -> None:
    """A GPU works on after a call has returned."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _act(policy: "TokenPolicy", n: int, batch: int) -> int:
    """Whole episodes; gives the number of sampled tokens."""
    trajectories = rollout(policy, ENV, range(n), batch=batch)
    return sum(len(turn.token_ids) for trajectory in trajectories for turn in trajectory.turns)


def _act_anew(engine: "EnginePolicy", n: int, batch: int) -> int:
    """Whole episodes in vLLM, as if for the first time."""
    engine.engine.reset_prefix_cache()
    return _act(engine, n, batch)


def _generate(policy: "LocalPolicy", prompts: Sequence[Sequence[int]], *, stops: bool = True) -> int:
    """A turn after each prompt by plain `generate`; gives the number of tokens up to the rows' ends."""
    import torch

    most, tokens = policy.most_tokens, 0
    for start in range(0, len(prompts), GENERATE_BATCH):
        batch = prompts[start : start + GENERATE_BATCH]
        width = max(map(len, batch))
        with torch.inference_mode():
            ids_BT = policy.model.generate(
                input_ids=_tensor(policy, [[0] * (width - len(ids)) + list(ids) for ids in batch]),
                attention_mask=_tensor(policy, [[0] * (width - len(ids)) + [1] * len(ids) for ids in batch]),
                do_sample=True,
                temperature=1.0,
                top_k=0,
                top_p=1.0,
                max_new_tokens=most,
                min_new_tokens=None if stops else most,
                eos_token_id=sorted(policy.writer.stop_ids),
                pad_token_id=0,
            )
        for row in ids_BT[:, width:].tolist():
            tokens += next((place + 1 for place, token in enumerate(row) if token in policy.writer.stop_ids), len(row))
    return tokens


def _tensor(policy: "LocalPolicy", rows: list[list[int]]) -> Any:
    import torch

    return torch.tensor(rows, device=policy.model.device)


def _table(record: dict[str, Any]) -> Table:
    table = Table(box=None, padding=(0, 3, 0, 0), show_edge=False)
    for heading in ("sampled tokens a second", "rate", "outside the model"):
        table.add_column(Text(heading, style="dim"), justify="left" if not table.columns else "right")
    for name, key, share in (
        ("episodes", "tokens_per_s", "outside_model_share"),
        ("episodes, vLLM", "vllm_tokens_per_s", ""),
        ("generate, each turn's prompt", "generate_tokens_per_s", ""),
        ("generate, first prompts", "generate_first_turns_tokens_per_s", ""),
        ("generate, first prompts, no row stops", "generate_never_stopped_tokens_per_s", ""),
    ):
        if record[key] is None:
            continue
        table.add_row(said(name, "bold"), f"{record[key]:,.0f}", f"{record[share]:.1%}" if share else "")
    return table
