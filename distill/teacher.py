"""Who reads the hint: the start model, the student itself, or a moving average of it."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import deepcopy
from typing import Any

import torch

from distill.config import Update
from distill.head import Head, Speaker
from distill.prefill import Trunk, hinted_hidden


class Reader:
    """A model that is read, and never learns. It may be the student with its LoRA adapter off: then it is no copy."""

    def __init__(self, model: Any, *, without_adapter: bool = False) -> None:
        self.model, self.without_adapter = model, without_adapter

    def reading(self) -> AbstractContextManager[Any]:
        """What every use of `model` has to be within."""
        return _adapter_off(self.model) if self.without_adapter else nullcontext()

    @property
    def head(self) -> Speaker:
        return Head(self.model, self.reading)

    def read(self, trunks: Sequence[Trunk], *, tokens: int) -> Iterator[tuple[int, torch.Tensor]]:
        """For each trunk, by its place, what its `head` makes log-probs of at the asked tokens of its branches."""
        with self.reading():
            yield from hinted_hidden(self.model, trunks, tokens=tokens)


class Teacher(Reader):
    """A model beside the student, or the student. `moves` tells whether its scores change within a round.

    `start` is the start model, to which anchors hold the student: a frozen teacher itself, else one of its own, and
    none where nothing is anchored. The start model of a student with an adapter is the student without it.
    """

    def __init__(self, student: Any, update: Update) -> None:
        self.live, self.moves, self.decay = update.teacher == "live", update.teacher != "frozen", update.ema_decay
        adapted = _has_adapter(student)
        if self.moves:
            super().__init__(student if self.live else _frozen(student))
        else:
            super().__init__(student if adapted else _frozen(student), without_adapter=adapted)
        self.refreshed = update.refresh
        self.start: Reader | None = None
        if update.anchor:
            self.start = self._start(student) if self.moves or self.refreshed else self

    def _start(self, student: Any) -> Reader:
        return Reader(student, without_adapter=True) if _has_adapter(student) else Reader(_frozen(student))

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


def _has_adapter(model: Any) -> bool:
    return hasattr(model, "disable_adapter")


@contextmanager
def _adapter_off(model: Any) -> Iterator[None]:
    """peft's own, which may be entered within itself: a head is read within a pass."""
    with model.disable_adapter():
        yield


def _frozen(model: Any) -> Any:
    return deepcopy(model).eval().requires_grad_(False)
