"""What the tiny model can do, which habits it has, and whether it obeys a hint for what the hint says.

Whole rollouts on held-out seeds give success and invalid calls. Obedience is measured at decision points: an expert's
context in which a habit would be a mistake; one turn is sampled there plainly, under the hint of that kind, under a
hint of another kind, and under a placebo.
"""

from collections.abc import Iterator
from collections.abc import Sequence as Ids
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

from critics.hints import hint_message, joined, placebo
from critics.rates import Measured, measure
from critics.rules import criticize
from distill.table import interval
from distill.tiny.curriculum import Sequence, Writer, action_pieces, hints_for
from envs.policies.hf import TINY, LocalPolicy
from envs.rollout import rollout
from envs.store import StoreEnv
from envs.store.tools import Habit, Step
from tools import ErrorCode, ToolCall, Toolset

CODES = {
    Habit.NAME: ErrorCode.NONEXISTENT_TOOL,
    Habit.ENUM: ErrorCode.INVALID_VALUE,
    Habit.TYPE: ErrorCode.WRONG_TYPE,
    Habit.MISSING: ErrorCode.MISSING_ARGUMENT,
}
CONDITIONS = ("plain", "right", "other", "placebo")
BEFORE_HABITS = TINY / "before_habits"


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One turn to sample: a context in which `habit` would be a mistake, under one condition."""

    habit: Habit
    condition: str
    prompt: Ids[int]
    wanted: str
    toolset: Toolset


@dataclass(slots=True)
class Tally:
    """How often a habit's mistake was made, of the times it could be."""

    errors: int = 0
    opportunities: int = 0

    @property
    def rate(self) -> float:
        return self.errors / max(1, self.opportunities)


def report(folder: Path = TINY, *, tasks: int = 200, batch: int = 64) -> dict[str, Any]:
    """The report's figures, as JSON."""
    policy = LocalPolicy.load(folder)
    able = LocalPolicy.load(folder / BEFORE_HABITS.name)
    record: dict[str, Any] = {
        "parameters": sum(parameter.numel() for parameter in policy.model.parameters()),
        "tasks": tasks,
        "before_habits": acted(able, "test", tasks, batch).to_json(),
        "before_habits_held_out": acted(able, "held_out", tasks, batch).to_json(),
        "plain": acted(policy, "test", tasks, batch).to_json(),
        "plain_held_out": acted(policy, "held_out", tasks, batch).to_json(),
        "obedience": {},
    }
    tallies = obedience(policy, tasks, batch)
    for habit in Habit:
        rates = {condition: tallies[habit, condition] for condition in CONDITIONS}
        plain = max(rates["plain"].rate, 1e-9)
        record["obedience"][habit] = {
            "code": CODES[habit],
            "opportunities": rates["plain"].opportunities,
            **{condition: tally.rate for condition, tally in rates.items()},
            "removed_by_right": 1 - rates["right"].rate / plain,
            "left_by_other": rates["other"].rate / plain,
            "left_by_placebo": rates["placebo"].rate / plain,
        }
    return record


def acted(policy: LocalPolicy, split: str, tasks: int, batch: int) -> Measured:
    trajectories = rollout(policy, "store-v0", range(tasks), split=split, batch=batch)
    return measure((trajectory, criticize(trajectory)) for trajectory in trajectories)


def obedience(policy: LocalPolicy, tasks: int, batch: int) -> dict[tuple[Habit, str], Tally]:
    """A tally for each habit and condition, over the decision points of `tasks` held-out seeds."""
    writer = Writer(policy.writer)
    points = [point for seed in range(tasks) for point in decision_points(seed, writer)]
    points.sort(key=lambda point: len(point.prompt))
    tallies = {(habit, condition): Tally() for habit in Habit for condition in CONDITIONS}
    for start in range(0, len(points), batch):
        chosen = points[start : start + batch]
        rngs = [Random(f"report/{start + place}") for place in range(len(chosen))]
        sampled = policy.complete([point.prompt for point in chosen], rngs)
        for point, tokens in zip(chosen, sampled, strict=True):
            _count(tallies[point.habit, point.condition], point, policy.writer.parse(tokens, "call"))
    return tallies


def _count(tally: Tally, point: Point, message: dict[str, Any]) -> None:
    """A turn without a call, or (but for names) of another tool than the expert's, was no opportunity."""
    calls = [ToolCall.from_openai(call) for call in message.get("tool_calls", [])]
    if not calls or (point.habit is not Habit.NAME and calls[0].name != point.wanted):
        return
    _, violations = point.toolset.check(calls[0])
    tally.opportunities += 1
    tally.errors += CODES[point.habit] in {violation.code for violation in violations}


def decision_points(seed: int, writer: Writer) -> Iterator[Point]:
    """All points of one held-out task: the expert acts, and each of its calls is looked at."""
    rng = Random(f"report/points/{seed}")
    env = StoreEnv(split="test")
    messages, info = env.reset(seed=seed)
    heard = list(messages)
    said: Sequence | None = None
    while (step := env.next_step) is not None:
        for habit in env.task.desk.applicable(step):
            for condition, hint in _hints(env, step, habit, rng):
                extra = [hint_message(hint)] if hint else []
                if said is None:
                    prompt = writer.context.first([*heard, *extra], info["tools"])
                else:
                    prompt = [*said.ids, *writer.context.extension(said.ids[:-1], said.ids[-1:], [*heard, *extra])]
                wanted = env.task.desk.names[step.function]
                yield Point(habit=habit, condition=condition, prompt=prompt, wanted=wanted, toolset=env.toolset)
        if said is None:
            said = writer.open(heard, info["tools"])
        else:
            writer.hear(said, heard)
        action = env.expert_action()
        writer.say(said, action_pieces(action))
        heard = list(env.step(action)[0])


def _hints(env: StoreEnv, step: Step, habit: Habit, rng: Random) -> Iterator[tuple[str, str]]:
    """Each condition with its hint. There is no `other` where no other habit would be a mistake in the whole plan."""
    yield "plain", ""
    yield "right", joined(hints_for(env.task.desk, env.toolset, step, habit))
    others = [
        (other_step, other)
        for other_step in env.task.plan
        for other in env.task.desk.applicable(other_step)
        if other is not habit
    ]
    if others:
        yield "other", joined(hints_for(env.task.desk, env.toolset, *rng.choice(others)))
    yield "placebo", placebo(rng)


def shown(record: dict[str, Any]) -> RenderableType:
    """The report as two tables."""
    ability = Table(title=f"tiny, {record['parameters']:,} parameters, {record['tasks']} held-out tasks", box=None)
    for column in ("", "success", "invalid per 100 calls", "valid calls per task"):
        ability.add_column(column, justify="left" if not column else "right")
    for key in ("before_habits", "before_habits_held_out", "plain", "plain_held_out"):
        figures = record[key]
        ability.add_row(
            key.replace("_", " "),
            interval(figures["success"], 100, "%"),
            interval(figures["invalid_per_100"]),
            f"{figures['valid_calls_per_task']:.2f}",
        )
    obeyed = Table(title="errors per opportunity, by the hint above the turn", box=None)
    for column in ("code", "opportunities", *CONDITIONS, "removed by right", "left by other"):
        obeyed.add_column(column, justify="left" if column == "code" else "right")
    for row in record["obedience"].values():
        rates = (f"{row[condition]:.3f}" for condition in CONDITIONS)
        shares = (f"{row['removed_by_right']:.0%}", f"{row['left_by_other']:.0%}")
        obeyed.add_row(row["code"], str(row["opportunities"]), *rates, *shares)
    return Group(ability, obeyed)
