"""A run: evaluate, some rounds of learning, evaluate again; all of it in a run folder.

    OUT/manifest.json         config, versions, commit, device
        trajectories.jsonl    what the student did in training    findings.jsonl, corrections.jsonl
        metrics.jsonl         a line a round
        evaluation/           before and after, on held-out seeds (test) and on held-out tools (held_out)
        summary.json          before, after, drop, hint effect
        checkpoint/           the trained model in Hugging Face format

Everything finished is on disk before the next thing starts. Left out: resuming, undoing a round.
"""

import json
import platform
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from critics.finding import Finding
from critics.rates import Count, Measured, drop, measure
from critics.rules import criticize
from distill.config import Config
from distill.learner import Learner, RoundFigures
from envs import Archive, Trajectory, make
from envs.policies.hf import LocalPolicy, Sampling
from envs.rollout import rollout
from tools.command import InputError

TRAIN_SEEDS_PER_RUN = 1_000_000
"""Seeds of training tasks start at the run's seed times this, so that runs of different seeds share no task."""

Watch = Callable[[str, int, int, str], None]
"""Told of a stage, what of it is finished, its total, and a figure to show."""


class Run:
    """One run folder being written. `go` does the whole; `watch` is told how far it is."""

    def __init__(self, config: Config, watch: Watch = lambda stage, finished, total, figure: None) -> None:
        config.check()
        make(config.env).close()
        if config.out.exists() and (not config.out.is_dir() or any(config.out.iterdir())):
            raise InputError(f"{config.out} is there already: choose another folder for --out, or remove it")
        torch.manual_seed(config.seed)
        self.config, self.watch = config, watch
        self.policy = LocalPolicy.load(config.policy, sampling=Sampling(temperature=config.temperature))
        self.learner = Learner(self.policy.model, self.policy.writer, config.update, hint=config.hint, seed=config.seed)
        config.out.mkdir(parents=True, exist_ok=True)
        self._write_json("manifest.json", manifest(config))

    def go(self) -> dict[str, Any]:
        """Evaluate, learn, evaluate; gives what it wrote as `summary.json`."""
        began = time.monotonic()
        before = self._evaluate("before")
        figures = [self._round(number) for number in range(self.config.rounds)]
        checkpoint = self.config.out / "checkpoint"
        self.policy.model.save_pretrained(checkpoint)
        self.policy.writer.tokenizer.save_pretrained(checkpoint)
        self.policy.name = str(checkpoint)
        after = self._evaluate("after")
        summary = summarize(self.config, before, after, figures, time.monotonic() - began)
        self._write_json("summary.json", summary)
        return summary

    def _evaluate(self, when: str) -> dict[str, Measured]:
        """The figures of the policy as it is now, on both splits; the trajectories are kept."""
        return {split: self._evaluate_split(when, split, tasks) for split, tasks in self._splits()}

    def _splits(self) -> tuple[tuple[str, int], ...]:
        return ("test", self.config.tasks), ("held_out", self.config.held_out_tasks)

    def _evaluate_split(self, when: str, split: str, tasks: int) -> Measured:
        criticized = []
        with Archive(self.config.out / "evaluation" / f"{when}-{split}.jsonl") as archive:
            for pair in self._act(range(tasks), split, f"evaluate {when}, {split}"):
                archive.write(pair[0].to_json())
                criticized.append(pair)
        return measure(criticized)

    def _act(self, seeds: range, split: str, stage: str) -> Iterator[tuple[Trajectory, list[Finding]]]:
        """Roll out and criticize."""
        count = Count()
        trajectories = rollout(
            self.policy,
            self.config.env,
            seeds,
            split=split,
            batch=self.config.batch,
            sampling_seed=self.config.seed,
        )
        self.watch(stage, 0, len(seeds), "")
        for finished, trajectory in enumerate(trajectories, 1):
            findings = criticize(trajectory)
            count.add(trajectory, findings)
            rate = count.measured().invalid_per_100.rate
            self.watch(stage, finished, len(seeds), f"{rate:.0f} invalid per 100 calls")
            yield trajectory, findings

    def _round(self, number: int) -> RoundFigures:
        first = self.config.seed * TRAIN_SEEDS_PER_RUN + number * self.config.rollouts
        seeds = range(first, first + self.config.rollouts)
        stage = f"round {number + 1} of {self.config.rounds}"
        criticized = []
        with self._archive("trajectories") as trajectories, self._archive("findings") as findings:
            for trajectory, found in self._act(seeds, "train", f"{stage}, rollouts"):
                trajectories.write(trajectory.to_json())
                findings.write({"id": trajectory.id, "findings": [finding.to_json() for finding in found]})
                criticized.append((trajectory, found))
        corrections, figures = self.learner.learn(
            criticized, lambda step, steps: self.watch(f"{stage}, update", step, steps, "")
        )
        with self._archive("corrections") as archive:
            for correction in corrections:
                archive.write(correction.to_json())
        measured = measure(criticized)
        with self._archive("metrics") as archive:
            archive.write({"round": number, **measured.to_json(), **asdict(figures)})
        return figures

    def _archive(self, name: str) -> Archive:
        return Archive(self.config.out / f"{name}.jsonl")

    def _write_json(self, name: str, record: dict[str, Any]) -> None:
        path = self.config.out / name
        path.write_text(json.dumps(record, indent=2, ensure_ascii=False, default=str) + "\n", encoding="utf-8")


def summarize(
    config: Config,
    before: dict[str, Measured],
    after: dict[str, Measured],
    rounds: list[RoundFigures],
    seconds: float,
) -> dict[str, Any]:
    """The figures of a whole run, as `summary.json` has them."""
    return {
        "hint": config.hint,
        "rollouts": config.rounds * config.rollouts,
        "seconds": round(seconds, 1),
        "before": before["test"].to_json(),
        "after": after["test"].to_json(),
        "drop": drop(before["test"].invalid_per_100, after["test"].invalid_per_100).to_json(),
        "held_out_tools": {
            "before": before["held_out"].to_json(),
            "after": after["held_out"].to_json(),
            "drop": drop(before["held_out"].invalid_per_100, after["held_out"].invalid_per_100).to_json(),
        },
        "hint_effect": rounds[0].hint_effect,
        "corrections": sum(figures.corrections for figures in rounds),
        "admitted": sum(figures.admitted for figures in rounds),
    }


def manifest(config: Config) -> dict[str, Any]:
    """What it takes to do this run again."""
    packages = ("torch", "transformers", "renderers", "gymnasium", "jsonschema")
    return {
        "schema_version": 1,
        "config": asdict(config),
        "command": f"python -m distill --out {config.out} --env {config.env} --policy {config.policy} "
        f"--hint {config.hint} --seed {config.seed} --rounds {config.rounds} --rollouts {config.rollouts}",
        "commit": commit(),
        "versions": {"python": platform.python_version(), **{package: version(package) for package in packages}},
        "device": "cuda" if torch.cuda.is_available() else "cpu",
        "threads": torch.get_num_threads(),
    }


def commit() -> str | None:
    """The commit of this checkout, with a plus sign where files differ from it; None outside of one."""
    folder = Path(__file__).parent
    try:
        said = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--exclude=*"], cwd=folder, capture_output=True, text=True
        )
    except OSError:
        return None
    return said.stdout.strip() or None
