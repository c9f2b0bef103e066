"""Carrying a study out: learning rates are tuned, then every seed is run; what is finished is never done again.

Each arm goes on in a process of its own, several of them side by side. A run is a run folder of `python -m distill`, to
be looked at with all that looks at one.
"""

import json
import logging
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import replace
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import Any

from envs import read_records
from eval.study.plan import Place, Trial

LEAST_VALID = 0.8
"""A learning rate counts only if it keeps this share of the valid calls per task: who stops acting makes no errors."""

START = "before-test", "before-held_out", "guard-0"
"""The files of a run's evaluation that are the start model's."""

Watch = Callable[[str], None]


def carry_out(places: Sequence[Place], *, jobs: int, watch: Watch) -> dict[str, str]:
    """Do what is missing of each place, `jobs` of them side by side; gives what failed and why, by the arm's name.

    A line goes to `watch` for each that is done. Each has a process of its own: what is left of a run goes with it.
    """
    failed: dict[str, str] = {}
    context = multiprocessing.get_context("spawn")
    threads = max(1, (os.cpu_count() or 1) // jobs)
    with ProcessPoolExecutor(
        jobs, mp_context=context, max_tasks_per_child=1, initializer=_begin, initargs=(threads,)
    ) as pool:
        running = {pool.submit(carry_out_one, place): place for place in places}
        try:
            for future in as_completed(running):
                try:
                    watch(f"{running[future]}: {future.result()}")
                except Exception as error:
                    failed[str(running[future])] = f"{type(error).__name__}: {error}"
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return failed


def _begin(threads: int) -> None:
    import torch

    torch.set_num_threads(min(threads, torch.get_num_threads()))  # OMP_NUM_THREADS may ask for fewer
    for library in ("transformers", "accelerate"):
        logging.getLogger(library).setLevel(logging.ERROR)


def carry_out_one(place: Place) -> str:
    """One arm in one setting: tuned, then run for each seed; gives a line about it."""
    if place.tuned is None:
        from eval.study.ceiling import told

        return _said([place.taken_up(seed) or told(place, seed) for seed in place.seeds])
    with _alone(place.tuned.folder):
        rate = tuned_rate(place.tuned)
    found = [place.taken_up(trial.seed) or _run(trial) for trial in place.measured(rate)]
    return f"{_said(found)}, learning rate {rate:g}"


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until no other process tunes this arm: controls and variants may want the default's rate at once."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "tuning.lock").open("w") as lock:
        flock(lock, LOCK_EX)
        yield


def tuned_rate(place: Place) -> float:
    """The learning rate with the fewest invalid calls in the rounds after the first update, of those that act on.

    Lower ones are tried only where none does; where none of them does either, it is the smallest.
    """
    path = place.tuning_file
    if path.is_file():
        return float(json.loads(path.read_text(encoding="utf-8"))["rate"])
    found: dict[float, dict[str, Any]] = {}
    acting: dict[float, float] = {}
    for trial in place.tuning() if len(place.preset.rates) > 1 else ():
        if acting and trial.rate not in place.preset.rates:
            break
        found[trial.rate] = score = _score(trial)
        if score["acts"]:
            acting[trial.rate] = score["invalid_per_100"]
    rate = min(acting, key=lambda rate: acting[rate]) if acting else min(found or place.preset.rates)
    record = {"rate": rate, "tried": {f"{rate:g}": score for rate, score in found.items()}}
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return rate


def _score(trial: Trial) -> dict[str, Any]:
    _run(trial)
    first, *later = read_records(trial.folder / "metrics.jsonl")
    invalid = sum(part["invalid_per_100"]["rate"] * part["calls"] for part in later)
    calls = sum(part["calls"] for part in later)
    valid = [part["valid_calls_per_task"] for part in (first, *later)]
    return {
        "invalid_per_100": invalid / max(1, calls),
        "acts": calls > 0 and min(valid[1:], default=0.0) >= LEAST_VALID * valid[0],
        "undone": sum(bool(part["undone"]) for part in (first, *later)),
    }


def _run(trial: Trial) -> dict[str, Any]:
    """A run, gone on with or begun. What the start model does is the same for all arms: done once, it is copied."""
    from distill.folder import Folder
    from distill.run import Run

    config = trial.config()
    if not config.resume and (start := _start(trial)):
        Folder(config).open(config)
        (config.out / "evaluation").mkdir()
        for file in start:
            shutil.copy(file, config.out / "evaluation")
        config = replace(config, resume=True)
    return Run(config).go()


def _start(trial: Trial) -> list[Path] | None:
    """What the start model did on the same tasks in a finished run of another arm, or at another learning rate."""
    above, alike = (2, "*/tuning/*") if trial.tuning else (1, f"*/{trial.folder.name}")
    for summary in sorted(trial.folder.parents[above].glob(f"{alike}/summary.json")):
        files = [summary.parent / "evaluation" / f"{name}.jsonl" for name in START]
        if all(file.is_file() for file in files):
            return files
    return None


def _said(summaries: list[dict[str, Any]]) -> str:
    return "; ".join(_moved(summary) for summary in summaries)


def _moved(summary: dict[str, Any]) -> str:
    (invalid, solved), (invalid_after, solved_after) = (
        (summary[when]["invalid_per_100"]["rate"], summary[when]["success"]["rate"]) for when in ("before", "after")
    )
    return f"{invalid:.1f} to {invalid_after:.1f} invalid per 100, {solved:.0%} to {solved_after:.0%} solved"
