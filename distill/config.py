"""What a run is told: the config behind `python -m distill`, without what carries it out."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tools.command import InputError

HintKind = Literal["real", "placebo"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """How the student is moved to the teacher."""

    learning_rate: float = 1e-4
    """AdamW's, constant."""
    epochs: int = 4
    """Passes over a round's corrections."""
    minibatch: int = 16
    """Corrections a step."""
    max_gradient: float = 1.0
    """Gradients of a larger norm are scaled down to it."""

    def check(self) -> None:
        """Raises InputError for a value out of its range."""
        if not (0 < self.learning_rate < 1 and self.epochs >= 1 and self.minibatch >= 1 and self.max_gradient > 0):
            raise InputError(f"expected 0 < learning rate < 1, epochs, minibatch and max gradient above 0, came {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Train away what a model does wrong with its tools, and measure by how much."""

    out: Path
    """Folder for the run; it must be new or empty."""
    policy: str = "tiny"
    """The model to train: 'tiny' (the embedded one) or a Hugging Face model folder."""
    env: str = "store-v0"
    """The world to train in."""
    hint: HintKind = "real"
    """'real' hints say what was overlooked; 'placebo' hints are well-formed and irrelevant, for a control."""
    seed: int = 0
    """Seed of tasks, sampling and minibatches."""
    rounds: int = 8
    """Rounds of rollouts -> findings -> hinted prefill -> update."""
    rollouts: int = 64
    """Rollouts a round."""
    tasks: int = 128
    """Held-out tasks to evaluate on, before and after."""
    held_out_tasks: int = 64
    """Tasks with tools that no hint ever names, to evaluate on, before and after."""
    batch: int = 64
    """Episodes that are sampled side by side."""
    temperature: float = 1.0
    """Sampling temperature, in training and evaluation."""
    update: Update = field(default_factory=Update)
    """The update itself."""

    def check(self) -> None:
        """Raises InputError for a value out of its range; not at construction, where tyro would make a box of it."""
        self.update.check()
        for name in ("rounds", "rollouts", "tasks", "held_out_tasks", "batch"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, came {getattr(self, name)}")
        if not 0 <= self.seed < 1_000:
            raise InputError(f"seed must be from 0 to 999, came {self.seed}")
