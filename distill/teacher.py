"""Who reads the hint: the start model, the student itself, or a moving average of it."""

from copy import deepcopy
from typing import Any

import torch

from distill.config import Update


class Teacher:
    """A model beside the student, or the student. `moves` tells whether its scores change within a round.

    `start` is the start model, to which anchors hold the student: a frozen teacher itself, else a copy of its own, and
    none where nothing is anchored.
    """

    def __init__(self, student: Any, update: Update) -> None:
        self.live, self.moves, self.decay = update.teacher == "live", update.teacher != "frozen", update.ema_decay
        self.model = student if self.live else _frozen(student)
        self.refreshed = update.refresh
        own = self.moves or self.refreshed
        self.start = (_frozen(student) if own else self.model) if update.anchor else None

    @torch.no_grad()
    def follow(self, student: Any) -> None:
        """Take a step of an average towards the student; other teachers have nothing to do."""
        if self.moves and not self.live:
            for average, now in zip(self.model.parameters(), student.parameters(), strict=True):
                average.lerp_(now, 1 - self.decay)

    def refresh(self, student: Any) -> None:
        """A frozen teacher becomes what the student is now."""
        self.model.load_state_dict(student.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """What a saved run has to keep of it: weights that are neither the start model's nor the student's."""
        return self.model.state_dict() if (self.moves and not self.live) or self.refreshed else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state:
            self.model.load_state_dict(state)


def _frozen(model: Any) -> Any:
    return deepcopy(model).eval().requires_grad_(False)
