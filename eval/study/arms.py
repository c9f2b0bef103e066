"""What a study compares: settings, which are worlds with a start model, and arms, which are ways to learn there.

An arm is what differs from `python -m distill` with its defaults. Left out: how much of it is done (`eval.study.plan`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any, Literal

Kind = Literal["ours", "variant", "control", "baseline", "ceiling"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A world, and the start model that acts in it."""

    name: str
    env: str
    policy: str
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """A way to learn. `update` and `run` are fields of `distill.config`'s Update and Config that differ from their
    defaults. Who has no guard of its own is not held back by ours: its rounds are watched, and none is undone."""

    name: str
    kind: Kind
    says: str
    update: Mapping[str, Any] = field(default_factory=dict)
    run: Mapping[str, Any] = field(default_factory=dict)
    guarded: bool = False
    trained: bool = True
    rounds: int = 1
    """So many times the rounds of other arms."""
    longer_than: "Arm | None" = None
    """The arm that this is but for its rounds; it has its learning rate."""


SETTINGS = (
    Setting(name="easy", env="store-v0", policy="tiny", says="2 to 5 calls a task; most tasks are solved before"),
    Setting(
        name="hard",
        env="shift-v1",
        policy="tiny-shift",
        says="10 to 12 calls a task, two turns to lose, some 2,000 tokens; hardly a task is solved before",
    ),
)

OTHER_HINTS = {"admit": inf}
"""Hints that say nothing lower no error, so that hint admission would let hardly one of them in."""

DEFAULT = Arm(
    name="targeted", kind="ours", says="the default: targeted hints, frozen teacher, error tokens", guarded=True
)

NO_GUARD = Arm(name="no-guard", kind="variant", says="the default, of which no round is undone")

GRPO = Arm(
    name="grpo",
    kind="baseline",
    says="the final reward alone, each task four times",
    update={"correct": 0.0, "reward": 1.0},
    run={"per_task": 4},
)

METHODS = (
    DEFAULT,
    Arm(
        name="targeted-grpo",
        kind="ours",
        says="targeted hints and the final reward in one pass",
        update={"reward": 1.0},
        run={"per_task": 4},
        guarded=True,
    ),
    GRPO,
    Arm(
        name="rejection",
        kind="baseline",
        says="fine-tuning on the rollouts that solved their task",
        update={"method": "rejection"},
    ),
    Arm(
        name="hints-at-top",
        kind="baseline",
        says="self-distillation of whole trajectories, all hints above the first turn",
        update={"method": "hints-at-top"},
    ),
    Arm(
        name="unlikelihood",
        kind="baseline",
        says="the same error tokens made unlikely, without a teacher",
        update={"method": "unlikelihood"},
    ),
    Arm(
        name="expert",
        kind="ceiling",
        says="fine-tuning on the expert's turn in place of the erroneous one: a label each",
        update={"method": "expert"},
    ),
    Arm(
        name="told", kind="ceiling", says="no training: invalid turns are sampled again below their hint", trained=False
    ),
)

CONTROLS = (
    Arm(
        name="placebo",
        kind="control",
        says="hints that say nothing, all of them let in",
        update=OTHER_HINTS,
        run={"hint": "placebo"},
    ),
    Arm(
        name="shuffled",
        kind="control",
        says="another correction's hint, all of them let in",
        update=OTHER_HINTS,
        run={"hint": "shuffled"},
    ),
    Arm(
        name="no-hint",
        kind="control",
        says="the teacher reads what the student does",
        update=OTHER_HINTS,
        run={"hint": "none"},
    ),
)

VARIANTS = (
    Arm(name="live", kind="variant", says="teacher: the student itself", update={"teacher": "live"}, guarded=True),
    Arm(name="ema", kind="variant", says="teacher: a moving average", update={"teacher": "ema"}, guarded=True),
    Arm(
        name="forward-kl",
        kind="variant",
        says="divergence: forward KL",
        update={"divergence": "forward-kl"},
        guarded=True,
    ),
    Arm(
        name="jensen-shannon",
        kind="variant",
        says="divergence: Jensen-Shannon",
        update={"divergence": "jensen-shannon"},
        guarded=True,
    ),
    Arm(name="call", kind="variant", says="scope: the erroneous call", update={"scope": "call"}, guarded=True),
    Arm(name="turn", kind="variant", says="scope: the whole turn", update={"scope": "turn"}, guarded=True),
    Arm(
        name="no-anchor",
        kind="variant",
        says="nothing is held to the start model",
        update={"anchor": 0.0},
        guarded=True,
    ),
    NO_GUARD,
    Arm(name="no-admission", kind="variant", says="every hint is let in", update={"admit": inf}, guarded=True),
)

LONG = tuple(
    replace(
        arm, name=f"{arm.name}-long", kind="variant", says=f"{arm.says}; goes on long", rounds=rounds, longer_than=arm
    )
    for arm, rounds in ((DEFAULT, 16), (NO_GUARD, 24), (GRPO, 40))
)
"""Rounds enough for 1,000 steps after the best ones: the fewer mistakes are left, the fewer steps a round has."""
