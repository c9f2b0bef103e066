"""What training needs to go on as if nothing had happened: the trained weights, the optimizer, the teacher.

Each rank writes its part (`torch.distributed.checkpoint`), so that no process ever holds all of it. Frozen weights are
left out: they are the start model's.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from distill.student import Student
from distill.teacher import Teacher
from tools.command import InputError

OPTIONS = StateDictOptions(ignore_frozen_params=True, strict=False)


def save_state(folder: Path, student: Student, optimizer: torch.optim.Optimizer, teacher: Teacher) -> None:
    """Write the state into a folder; all ranks call it."""
    with _quiet():
        save(_state(student, optimizer, teacher, stepped=bool(optimizer.state)), checkpoint_id=folder)


def load_state(folder: Path, student: Student, optimizer: torch.optim.Optimizer, teacher: Teacher) -> None:
    """Take up a saved state; all ranks call it. Raises InputError where it is of another model."""
    try:
        with _quiet():
            saved = FileSystemReader(folder).read_metadata().state_dict_metadata
            stepped = any(name.startswith("optimizer.") for name in saved)
            state = _state(student, optimizer, teacher, stepped=stepped)
            load(state, checkpoint_id=folder)
            set_model_state_dict(student.passes, state["model"], options=OPTIONS)
            if stepped:
                set_optimizer_state_dict(student.passes, optimizer, state["optimizer"], options=OPTIONS)
    except (RuntimeError, ValueError, KeyError, OSError, CheckpointException) as error:
        why = str(error).strip().splitlines()[-1]
        raise InputError(f"the state in {folder} is of another model, or broken: {why}") from error
    if not stepped:
        optimizer.state.clear()
    teacher.load_state_dict(state["teacher"])


def _state(
    student: Student, optimizer: torch.optim.Optimizer, teacher: Teacher, *, stepped: bool
) -> dict[str, dict[str, Any]]:
    """The state by its parts. An optimizer that has done no step has none, and asking for it would make one up."""
    state = {"model": get_model_state_dict(student.passes, options=OPTIONS), "teacher": teacher.state_dict()}
    if stepped:
        state["optimizer"] = get_optimizer_state_dict(student.passes, optimizer, options=OPTIONS)
    return state


@contextmanager
def _quiet() -> Iterator[None]:
    """torch warns of a single process, and of its own ways."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
