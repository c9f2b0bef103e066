"""A run: evaluate, some rounds of learning, evaluate again; all of it in a run folder, and to be resumed from there.

A round: rollouts -> findings -> hinted prefill -> update -> a look at what must not move. A round that moves it is
undone, and the step made smaller. `distill.folder` says what is on disk when. Under torchrun every rank goes through
the same rounds, does its share of the work, and knows all that came out; the main one writes it.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from math import ceil, isfinite
from random import Random
from typing import Any, TypedDict

import torch

from critics.finding import Criticized, findings_record
from critics.judge import Critic
from critics.rates import Count, measure
from critics.rules import criticize
from distill.actors import Actor, actor_for, no_tokens, trainable
from distill.config import Config
from distill.folder import Folder, recorded
from distill.given import Given
from distill.guard import Probe, broken
from distill.learner import Learner
from distill.ranks import Ranks, seed_all
from distill.stale import Restated, restate
from distill.summary import dry_summary, summarize
from distill.track import Tracks
from distill.watched import watched
from envs import Trajectory, make
from envs.policies.hf import LocalPolicy, Sampling
from envs.rollout import rollout, trajectory_id
from tools.command import InputError

MOST_UNDONE = 3
"""A run ends after so many undone rounds in a row: the step has been halved as often, and still leads astray."""

Watch = Callable[[str, int, int, str], None]
"""Told of a stage, what of it is finished, its total, and a figure to show."""


class Place(TypedDict):
    """Where a run stands: what is kept beside the state of the model."""

    rate: float
    undone: int
    seconds: float
    cpu_seconds: float


class Run:
    """One run folder being written. `go` does the whole; `watch` is told how far it is.

    Raises InputError, before anything is written, for a config that can't be carried out.
    """

    def __init__(self, config: Config, watch: Watch = lambda stage, finished, total, figure: None) -> None:
        config.check()
        env = make(config.env)
        self.held_out = "held_out" in env.splits
        env.close()
        model = trainable(config.policy)
        cpu = not torch.cuda.is_available()
        self.ranks = Ranks(cpu=cpu)
        self.folder = Folder(config, ranks=self.ranks.world, writes=self.ranks.main)
        self.given = Given(config.trajectories, config.findings) if config.trajectories else None
        self.critic = Critic(
            config.critic,
            cache=config.out / "judge.jsonl",
            watch=lambda what, finished, total: watch(what, finished, total, ""),
        )
        seed_all(config.seed)
        self.config, self.watch = config, watch
        sampling = Sampling(temperature=config.temperature, max_new_tokens=config.max_tokens)
        self.policy = LocalPolicy.load(model, sampling=sampling)
        self.actor = actor_for(config, self.policy)
        if self.given:
            self.given.render(self.policy)
        self.learner = Learner(
            self.policy.model,
            self.policy.writer,
            config.update,
            hint=config.hint,
            style=config.hint_style,
            codes=self.critic.codes,
            trusted=config.findings is None,
            seed=config.seed,
            scale=config.scale,
            ranks=self.ranks,
        )
        self.warnings = [self.given.warning(self.policy)] if self.given else []
        if self.actor.stale:
            self.warnings.append(
                f"{config.rollouts_by} keeps its own weights, so its rollouts are stale: their tokens count by how "
                "likely they are to the student, at most twice; metrics.jsonl says by how much the two differ"
            )
        self.place = Place(rate=1.0, undone=0, seconds=0.0, cpu_seconds=0.0)
        self.began, self.cpu_began = time.monotonic(), time.process_time()
        self.tracks = Tracks(config.report_to if self.ranks.main else (), config.out, recorded(config), cpu=cpu)
        self.ranks.wait()
        self.folder.open(config)
        self.ranks.wait()

    def go(self) -> dict[str, Any]:
        """Evaluate, learn, evaluate; gives what it wrote as `summary.json`. A finished run is not done again."""
        if self.config.resume and (finished := self.folder.read_json("summary.json")):
            return finished
        summary = self._dry() if self.config.dry_run else self._whole()
        self.folder.write_json("summary.json", summary)
        self.folder.drop_states()
        self.tracks.end()
        return summary

    def _whole(self) -> dict[str, Any]:
        before = self._evaluate("before")
        self.guarded = self._guard(0)
        # Both are made by the start model, so they come before a state is loaded.
        with self.learner.student.whole():
            probe, self.guard_probe = Probe(self.policy.model, before["test"]), Probe(self.policy.model, self.guarded)
        self.cpu_began = time.process_time()
        for number in range(self._resumed(), self._rounds()):
            if self.place["undone"] == MOST_UNDONE:
                break
            self._round(number)
        checkpoint = self.folder.path / "checkpoint"
        self.learner.student.save(checkpoint, self.policy.writer.tokenizer)
        self.policy.name = str(checkpoint)
        after = self._evaluate("after")
        with self.learner.student.whole():
            moved = probe.divergences(self.policy.model)
        return summarize(self.config, before, after, moved, self.folder.metrics(), self._seconds())

    def _dry(self) -> dict[str, Any]:
        """One round's corrections, and what the hints do, without an update."""
        criticized = self._read(0)
        corrections, _, dropped = self.learner.prepare(criticized, Random(f"learner/{self.config.seed}/0"))
        self.folder.append("findings", (findings_record(*pair) for pair in criticized))
        self.folder.append("corrections", (correction.to_json() for correction in corrections))
        return dry_summary(self.config, measure(criticized), corrections, dropped, self._seconds())

    def _resumed(self) -> int:
        """Load the last state; gives the number of rounds that it is after. A run without one saves its first."""
        last = self.folder.last_state() if self.config.resume else None
        if last is None:
            self._save(0)
            return 0
        self.learner.load(last.path)
        self.tracks.step = sum(record["steps"] for record in self.folder.metrics())
        self._hand_over()
        self.place = Place(
            rate=last.place["rate"],
            undone=last.place["undone"],
            seconds=last.place["seconds"],
            cpu_seconds=last.place["cpu_seconds"],
        )
        return last.rounds

    def _save(self, number: int) -> None:
        state = self.folder.new_state()
        self.ranks.wait()
        self.learner.save(state)
        self.folder.keep_state(number, {**self.place, **self._spent()})
        self.ranks.wait()
        self._hand_over()

    def _hand_over(self) -> None:
        """Give the student's weights to who acts for it."""
        if self.actor.follows:
            weights = self.folder.path / "state" / "weights"
            self.learner.student.save(weights, self.policy.writer.tokenizer)
            self.actor.take(weights)

    def _seconds(self) -> float:
        """Seconds of work on this run, also before it was resumed."""
        return round(self.place["seconds"] + time.monotonic() - self.began, 1)

    def _spent(self) -> dict[str, float]:
        """What this run has taken, also before it was resumed. CPU seconds are this process's, of all its threads, for
        the rounds alone: how long the evaluation takes says nothing of a way to learn."""
        cpu = self.place["cpu_seconds"] + time.process_time() - self.cpu_began
        return {"seconds": self._seconds(), "cpu_seconds": round(cpu, 1)}

    def _rounds(self) -> int:
        """How many rounds there are to do; fewer where the given trajectories don't last."""
        if self.config.dry_run:
            return 1
        if self.given is None:
            return self.config.rounds
        return min(self.config.rounds, ceil(len(self.given) / self.config.rollouts))

    def _round(self, number: int) -> None:
        stage = f"round {number + 1} of {self._rounds()}"
        criticized = self._read(number)
        self.folder.append("findings", (findings_record(*pair) for pair in criticized))
        rate = self.place["rate"] * (1 - number / self._rounds())
        self.learner.set_rate(rate)
        restated = self._restated(criticized)
        learnt = list(zip(restated.trajectories, (findings for _, findings in criticized), strict=True))
        corrections, figures = self.learner.learn(
            learnt,
            number=number,
            watch=lambda step, steps: self.watch(f"{stage}, update", step, steps, ""),
            ratios=restated.ratios,
        )
        with self.learner.student.whole():
            moved = self.guard_probe.divergences(self.policy.model)
        sound = figures.finite and isfinite(moved.final)
        now = self._guard(number + 1) if sound else []
        reasons = broken(self.guarded, now, moved, self.config.band)
        if not figures.finite:
            reasons.append("a loss was no finite number")
        reasons = self.ranks.from_main(reasons)
        self.folder.append("corrections", (correction.to_json() for correction in corrections))
        metrics = {
            "round": number,
            **measure(criticized).to_json(),
            **asdict(figures),
            **asdict(watched(learnt, corrections)),
            "stale": restated.gap,
            "learning_rate": self.config.update.learning_rate * rate,
            "guard": measure(now).to_json(),
            "clean_divergence": moved.clean,
            "final_divergence": moved.final,
            "undone": reasons,
            **self._spent(),
        }
        if critic := self.critic.to_json():
            metrics["critic"] = critic
        self.folder.append("metrics", [metrics])
        self.tracks.report(metrics)
        self.place["undone"] = self.place["undone"] + 1 if reasons else 0
        if reasons:
            self.place["rate"] /= 2
            self.learner.load(self.folder.state(number))
            self.watch(f"{stage}, undone", 1, 1, f"{'; '.join(reasons)}; the step is halved")
        elif self.config.update.refresh:
            self.learner.refresh()
        self._save(number + 1)

    def _restated(self, criticized: Sequence[Criticized]) -> Restated:
        """The trajectories; with the student's own log-probs where another sampled them."""
        trajectories = [trajectory for trajectory, _ in criticized]
        if not self.actor.stale and self.given is None:
            return Restated(trajectories, {}, 0.0)
        if self.actor.stale and not any(trajectory.turns for trajectory in trajectories):
            raise InputError(no_tokens(self.config.rollouts_by))
        with self.learner.student.whole():
            return restate(self.policy.model, trajectories, longest=self.policy.longest)

    def _read(self, number: int) -> list[Criticized]:
        """What a round learns from, with all that the critic says of it; only the main process asks a judge."""
        found = list(self._criticized(number))
        return self.ranks.from_main(list(self.critic.read(found)) if self.ranks.main else found)

    def _criticized(self, number: int) -> Iterator[Criticized]:
        """What a round learns from: rollouts of the student as it is now, or the next of those that were given."""
        if self.given is None:
            stage = f"round {number + 1} of {self._rounds()}, rollouts"
            seeds, n = self.config.training_seeds(number), self.config.per_task
            yield from self._act("trajectories", seeds, "train", stage, self.actor, n=n)
            return
        size = self.config.rollouts
        written = {trajectory.id for trajectory in self.folder.trajectories("trajectories")}
        with self.folder.archive("trajectories") as archive:
            for trajectory, findings in self.given.criticized[number * size : (number + 1) * size]:
                if archive and trajectory.id not in written:
                    archive.write(trajectory.to_json())
                yield trajectory, findings

    def _evaluate(self, when: str) -> dict[str, list[Criticized]]:
        """What the policy as it is now does on held-out tasks and with held-out tools."""
        splits = ("test", self.config.tasks), ("held_out", self.config.held_out_tasks if self.held_out else 0)
        return {
            split: list(
                self._act(
                    f"evaluation/{when}-{split}", range(tasks), split, f"evaluate {when}, {split.replace('_', ' ')}"
                )
            )
            if tasks
            else []
            for split, tasks in splits
        }

    def _guard(self, number: int) -> list[Criticized]:
        """What the policy as it is now does on the guard's tasks."""
        seeds = self.config.guard_seeds
        stage = f"round {number} of {self._rounds()}, guard" if number else "guard, start"
        return list(self._act(f"evaluation/guard-{number}", seeds, "train", stage)) if seeds else []

    def _act(
        self, name: str, seeds: range, split: str, stage: str, actor: Actor | None = None, *, n: int = 1
    ) -> Iterator[Criticized]:
        """Roll out into a file, each task `n` times, and criticize. What a resumed run finds there is not done again.

        A batch is taken from the file whole, or sampled again whole: so a resumed run has the batches of one that
        nothing disturbed, and with them its very numbers.
        """
        kept = {trajectory.id: trajectory for trajectory in self._kept(name)}
        count = Count()
        self.watch(stage, 0, len(seeds) * n, "")
        size = max(1, self.config.batch // n)
        with self.folder.archive(name) as archive:
            for start in range(0, len(seeds), size):
                chunk = seeds[start : start + size]
                ids = {self._id(split, seed, number) for seed in chunk for number in range(n)}
                finished = [trajectory for trajectory in kept.values() if trajectory.id in ids]
                for trajectory in finished if len(finished) == len(ids) else self._sampled(chunk, split, actor, n):
                    if archive and trajectory.id not in kept:
                        archive.write(trajectory.to_json())
                    findings = criticize(trajectory)
                    count.add(trajectory, findings)
                    rate = count.measured().invalid_per_100.rate
                    self.watch(stage, count.tasks + count.faults, len(seeds) * n, f"{rate:.0f} invalid per 100 calls")
                    yield trajectory, findings

    def _kept(self, name: str) -> list[Trajectory]:
        return self.folder.trajectories(name) if self.config.resume else []

    def _id(self, split: str, seed: int, number: int) -> str:
        """The id of a task's trajectory of that number."""
        return trajectory_id(self.config.env, split, seed, self.config.seed + number)

    def _sampled(self, seeds: Sequence[int], split: str, actor: Actor | None, n: int) -> Iterator[Trajectory]:
        """One batch, each rank its share of it; in the order in which one process would end the episodes."""
        own = self._rollout(self.ranks.share(seeds), split, actor, n)
        if self.ranks.world == 1:
            yield from own
            return
        places = {self._id(split, seed, number): (seed, number) for seed in seeds for number in range(n)}
        every = self.ranks.gathered(list(own))
        yield from sorted(every, key=lambda trajectory: (len(trajectory.turns), places[trajectory.id]))

    def _rollout(self, seeds: Sequence[int], split: str, actor: Actor | None, n: int) -> Iterator[Trajectory]:
        """By who acts for the student: an actor that has its weights does so in evaluations too."""
        config, by = self.config, actor or (self.actor if self.actor.follows else None)
        policy = by.policy if by else self.policy
        with self.learner.student.whole():
            yield from rollout(
                policy, config.env, seeds, n=n, split=split, batch=config.batch, sampling_seed=config.seed
            )
