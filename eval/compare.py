"""Before and after, or any two policies, on the same tasks: by how much each error fell, and what moved with it.

Tasks are paired by world, split and seed; what only one side has is said and left out. Differences and p-values are
over tasks, since the calls of one task are alike. Left out: how it looks (`eval.contrast`), and divergence from a
model, which takes the model (`distill.guard`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from critics.rates import Amount, Difference, difference
from eval.paired import Attempt, Side, flip_p, holm, shift
from eval.substitution import Matrix, substitution
from tools import ErrorCode
from tools.command import InputError

INVALID = "invalid calls"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One figure before and after, `None` where there is nothing to have it of. `p` is adjusted among codes (Holm)."""

    before: float | None
    after: float | None
    change: Difference | None
    p: float | None

    @classmethod
    def of(cls, before: Mapping[str, Amount], after: Mapping[str, Amount], *, per: float = 1.0) -> "Change":
        sides = [tuple(map(sum, zip(*side.values(), strict=True))) for side in (before, after)]
        rates = [per * hits / total if total else None for hits, total in sides]
        known = None not in rates and len(before) > 1
        change = difference(before, after, per=per) if known else None
        return cls(before=rates[0], after=rates[1], change=change, p=flip_p(before, after) if known else None)

    def to_json(self) -> dict[str, Any]:
        change = self.change.to_json() if self.change else None
        return {"before": self.before, "after": self.after, "change": change, "p": self.p}


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A task whose share of invalid calls or of solved attempts is another one now."""

    task: str
    invalid: tuple[int, int]
    solved: tuple[int, int]
    attempts: tuple[int, int]

    def to_json(self) -> dict[str, Any]:
        return {"task": self.task, "invalid": self.invalid, "solved": self.solved, "attempts": self.attempts}


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What two files of trajectories say of each other. `errors` are per 100 calls, all invalid calls first.

    `shift` is how much less probable right tokens have become, in nats, with the number of tokens that it is over.
    """

    paths: tuple[Path, Path]
    policies: tuple[str, str]
    tasks: int
    errors: Mapping[str, Change]
    collateral: Mapping[str, Change]
    better: Sequence[Moved]
    worse: Sequence[Moved]
    matrix: Matrix
    shift: Amount
    faults: tuple[int, int]
    differ: Sequence[str]

    def to_json(self) -> dict[str, Any]:
        moved, tokens = self.shift
        return {
            "files": list(map(str, self.paths)),
            "policies": self.policies,
            "tasks": self.tasks,
            "errors_per_100_calls": {name: change.to_json() for name, change in self.errors.items()},
            "collateral": {name: change.to_json() for name, change in self.collateral.items()},
            "better": [part.to_json() for part in self.better],
            "worse": [part.to_json() for part in self.worse],
            "substitution": [
                {"before": was, "after": is_, "count": count} for (was, is_), count in sorted(self.matrix.items())
            ],
            "shift": {"nats_a_token": moved / tokens if tokens else None, "tokens": tokens},
            "faults": self.faults,
            "differ": list(self.differ),
        }


def files_of(sources: Sequence[Path]) -> tuple[Path, Path]:
    """The two files: of one run folder its evaluation before and after; of two, what each ended with.

    Raises InputError for anything else.
    """
    if len(sources) == 1 and sources[0].is_dir():
        return _evaluation(sources[0], "before"), _evaluation(sources[0], "after")
    if len(sources) != 2:
        raise InputError("expected two files or run folders, or one run folder: python -m eval compare A B")
    first, second = (_evaluation(path, "after") if path.is_dir() else path for path in sources)
    if first.resolve() == second.resolve():
        raise InputError(f"{first} is given twice: give two files, or one run folder for its before and after")
    return first, second


def _evaluation(run: Path, when: str) -> Path:
    path = run / "evaluation" / f"{when}-test.jsonl"
    if path.is_file():
        return path
    if (run / "manifest.json").is_file():
        raise InputError(f"{run} has no evaluation {when} training yet: wait for its run, or give files")
    raise InputError(f"{run} is no run folder: give a folder that python -m distill wrote, or a JSONL file")


def compare(before: Path, after: Path) -> Comparison:
    """Read and compare two files. Raises InputError where no task is in both, and says what each has."""
    sides = Side.read(before), Side.read(after)
    shared = [task for task in sides[0].tasks if task in sides[1].tasks]
    if not shared:
        seen = "; ".join(side.seen() for side in sides)
        raise InputError(f"no task is in both: {seen}. Roll both out in the same world, split and seeds")
    first, second = ({task: side.tasks[task] for task in shared} for side in sides)
    pairs = [pair for task in shared for pair in zip(first[task], second[task], strict=False)]
    moved = [_moved(task, first[task], second[task]) for task in shared]
    return Comparison(
        paths=(before, after),
        policies=(_names(sides[0]), _names(sides[1])),
        tasks=len(shared),
        errors=_errors(first, second),
        collateral={name: _change(of, first, second) for name, of in COLLATERAL.items()},
        better=[part for part, way in moved if way > 0],
        worse=[part for part, way in moved if way < 0],
        matrix=substitution([was.bare for was, _ in pairs], [is_.bare for _, is_ in pairs]),
        shift=shift(pairs),
        faults=(sides[0].faults, sides[1].faults),
        differ=list(_differ(sides, len(shared), first, second)),
    )


Tasks = Mapping[str, Sequence[Attempt]]
Figure = Callable[[Attempt], Amount]

COLLATERAL: Mapping[str, Figure] = {
    "success": lambda part: (part.solved, part.known),
    "valid calls per task": lambda part: (part.calls - part.invalid, 1),
    "turns per task": lambda part: (part.turns, 1),
    "tokens per task": lambda part: (part.tokens, bool(part.tokens)),
    "entropy, nats a token": lambda part: (-part.logprob, part.tokens),
    "turns with hint words": lambda part: (part.hint_words, part.turns),
}


def _errors(before: Tasks, after: Tasks) -> dict[str, Change]:
    """Invalid calls and each code that occurs. The p-values of the codes are of one family, so they are adjusted."""
    codes = [code for code in ErrorCode if any(_has(code, side) for side in (before, after))]
    by_code = {str(code): _change(_of_code(code), before, after, per=100) for code in codes}
    adjusted = holm({name: change.p for name, change in by_code.items()})
    invalid = _change(lambda part: (part.invalid, part.calls), before, after, per=100)
    return {INVALID: invalid} | {
        name: Change(before=part.before, after=part.after, change=part.change, p=adjusted[name])
        for name, part in by_code.items()
    }


def _has(code: ErrorCode, tasks: Tasks) -> bool:
    return any(part.codes[code] for attempts in tasks.values() for part in attempts)


def _of_code(code: ErrorCode) -> Figure:
    return lambda part: (part.codes[code], part.calls)


def _change(of: Figure, before: Tasks, after: Tasks, *, per: float = 1.0) -> Change:
    return Change.of(_amounts(of, before), _amounts(of, after), per=per)


def _amounts(of: Figure, tasks: Tasks) -> dict[str, Amount]:
    amounts: dict[str, Amount] = {}
    for task, attempts in tasks.items():
        parts = [of(part) for part in attempts]
        amounts[task] = sum(part[0] for part in parts), sum(part[1] for part in parts)
    return amounts


def _moved(task: str, before: Sequence[Attempt], after: Sequence[Attempt]) -> tuple[Moved, int]:
    """A task, and 1 if it got better: solved more often, or as often with a smaller share of invalid calls."""
    was, is_ = (
        (
            sum(part.solved for part in side) / len(side),
            -sum(part.invalid for part in side) / max(1, sum(part.calls for part in side)),
        )
        for side in (before, after)
    )
    moved = Moved(
        task=task,
        invalid=(sum(part.invalid for part in before), sum(part.invalid for part in after)),
        solved=(sum(part.solved for part in before), sum(part.solved for part in after)),
        attempts=(len(before), len(after)),
    )
    return moved, (is_ > was) - (is_ < was)


def _names(side: Side) -> str:
    return ", ".join(side.policies) or side.path.name


def _differ(sides: tuple[Side, Side], shared: int, before: Tasks, after: Tasks) -> Iterator[str]:
    """What the two don't have in common, in sentences."""
    for side, other in (sides, sides[::-1]):
        if alone := len(side.tasks) - shared:
            yield f"{alone} of {len(side.tasks)} tasks are in {side.path} only, and left out"
        if only := [name for name in side.sets if name not in other.sets]:
            yield f"{side.path} only has {', '.join(only)}"
        if side.faults:
            yield f"{side.faults} trajectories of {side.path} were ended by infrastructure faults, and are left out"
    unlike = sum(len(before[task]) != len(after[task]) for task in before)
    if unlike:
        yield f"{unlike} tasks have another number of attempts on the other side: substitution pairs the first of them"
