"""python -m distill.arithmetic: what a step needs in memory, operations and network, for models larger than this
machine.

A model of shapes and sizes only; nothing is loaded. `distill/SCALE.md` has its table and says what follows from it.
Left out: activations within a layer, fragmentation, and rollouts, which decode and are an inference engine's.
"""

from dataclasses import dataclass

import tyro
from rich.console import Console
from rich.table import Table

from tools.command import run

GIB, TERA = 2**30, 1e12
STATE = 16
"""Bytes a trained parameter: weights, gradients and Adam's two moments in fp32, cut over all devices (FSDP2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """`active` are the parameters that a token goes through; `kept` the numbers a layer keeps of a token for
    attention."""

    name: str
    parameters: float
    active: float
    layers: int
    width: int
    kept: int


SHAPES = (
    Shape(name="7B (Qwen2.5-7B)", parameters=7.6e9, active=7.6e9, layers=28, width=3584, kept=2 * 4 * 128),
    Shape(name="70B (Llama-3-70B)", parameters=70.6e9, active=70.6e9, layers=80, width=8192, kept=2 * 8 * 128),
    Shape(name="1T (Kimi-K2)", parameters=1.04e12, active=32e9, layers=61, width=7168, kept=576),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step of the update, and the devices that it runs on."""

    tokens: int = 100_000
    """Of a trajectory."""
    corrections: int = 10_000
    """Of a step."""
    errors: int = 8
    """Corrections of a trajectory."""
    branch: int = 360
    """Tokens of a branch: the hint and its turn."""
    devices: int = 64
    """GPUs; each works on one trajectory at a time."""
    memory: float = 80.0
    """GiB of each."""
    speed: float = 989.0
    """Each one's dense bf16 TFLOP/s (an H100's)."""
    used: float = 0.4
    """The share of it that is reached."""


def needs(shape: Shape, step: Step) -> dict[str, float]:
    """By name, in the units of the table's heads."""
    trajectories = step.corrections / step.errors
    attention = 2 * shape.layers * shape.width * step.tokens
    forward = step.tokens * (2 * shape.active + attention)
    branches = step.errors * step.branch * (2 * shape.active + 2 * attention)
    operations = trajectories * (4 * forward + branches)
    passes = trajectories / step.devices
    return {
        "state, GiB": STATE * shape.parameters / GIB,
        "of it a device": STATE * shape.parameters / step.devices / GIB,
        "weights once, GiB": 2 * shape.parameters / GIB,
        "trunk keys, GiB": 2 * shape.layers * shape.kept * step.tokens / GIB,
        "checkpoints, GiB": 2 * shape.layers * shape.width * step.tokens / GIB,
        "EFLOP a step": operations / 1e18,
        "hours": operations / (step.devices * step.speed * TERA * step.used) / 3600,
        "network, TB a device": passes * (2 * 2 + 4) * shape.parameters / 1e12,
        "teacher, %": 100 * branches / (4 * forward),
    }


def main() -> None:
    step = tyro.cli(Step, prog="python -m distill.arithmetic", description=(__doc__ or "").partition(": ")[2])
    rows = {shape.name: needs(shape, step) for shape in SHAPES}
    table = Table("", *rows, box=None, pad_edge=False)
    for name in next(iter(rows.values())):
        table.add_row(
            name, *(f"{row[name]:,.3g}" if row[name] < 1000 else f"{row[name]:,.0f}" for row in rows.values())
        )
    Console(highlight=False).print(table)


if __name__ == "__main__":
    run(main)
