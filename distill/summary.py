"""What a run says in the end, `summary.json`: figures before and after, and what the method and the guard did."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from math import exp
from operator import attrgetter, methodcaller
from statistics import median
from typing import Any

from critics.finding import Criticized
from critics.rates import Measured, Part, by_task, difference, drop, measure
from distill.config import Config
from distill.correction import Correction
from distill.guard import Divergences
from distill.preparing import hint_effect
from distill.watched import Watched

WATCHED = (*(field.name for field in fields(Watched)), "stale")
"""What is watched in each round's rollouts beside the rates, by its name in `metrics.jsonl`."""

Evaluated = Mapping[str, Sequence[Criticized]]
"""Trajectories with their findings, by split."""


def summarize(
    config: Config,
    before: Evaluated,
    after: Evaluated,
    moved: Divergences,
    rounds: Sequence[Mapping[str, Any]],
    seconds: float,
) -> dict[str, Any]:
    """The figures of a whole run. `rounds` are the lines of `metrics.jsonl`.

    Rates and differences are per 100 calls, `success` is a share, divergences are in nats a token. The hint's effect
    is the first round's, where the student is still the start model.
    """
    undone = [record for record in rounds if record["undone"]]
    return {
        "hint": config.hint,
        "teacher": config.update.teacher,
        "divergence": config.update.divergence,
        "rollouts": sum(record["tasks"] + record["faults"] for record in rounds),
        "seconds": seconds,
        **compared(before["test"], after["test"]),
        "held_out_tools": compared(before["held_out"], after["held_out"]),
        "clean_divergence": moved.clean,
        "final_divergence": moved.final,
        "hint_effect": rounds[0]["hint_effect"] if rounds else {},
        "corrections": sum(record["corrections"] for record in rounds),
        "admitted": sum(record["admitted"] for record in rounds),
        "dropped": _summed(record["dropped"] for record in rounds),
        "rounds": len(rounds),
        "watched": [{name: record[name] for name in WATCHED} for record in rounds],
        "undone": [{"round": record["round"], "reasons": record["undone"]} for record in undone],
    }


def compared(before: Sequence[Criticized], after: Sequence[Criticized]) -> dict[str, Any]:
    """The figures before and after on the same tasks; the drop, and the paired differences, after minus before."""
    was, is_ = measure(before), measure(after)
    tasks_before, tasks_after = by_task(before), by_task(after)

    def paired(part: Callable[[Measured], Part], per: float) -> dict[str, float]:
        parts = ({task: part(alone) for task, alone in tasks.items()} for tasks in (tasks_before, tasks_after))
        return difference(*parts, per=per).to_json()

    return {
        "before": was.to_json(),
        "after": is_.to_json(),
        "drop": drop(was.invalid_per_100, is_.invalid_per_100).to_json(),
        "difference": {
            "invalid_per_100": paired(attrgetter("invalid"), 100),
            "success": paired(attrgetter("solved"), 1),
            "codes": {
                str(code): paired(methodcaller("of", code), 100) for code in sorted(was.codes.keys() | is_.codes.keys())
            },
        },
    }


def dry_summary(
    config: Config, measured: Measured, corrections: Sequence[Correction], dropped: Mapping[str, int], seconds: float
) -> dict[str, Any]:
    """What the hints would do: of a dry run, which updates nothing.

    By code: how many errors were found and bound, the share whose probability at least halves under the hint, and the
    median probability without and with it.
    """
    fall: dict[str, list[tuple[float, float]]] = {}
    for correction in corrections:
        start = correction.target[0]
        for finding in correction.findings:
            places = [token - start for token in finding.tokens]
            plain, hinted = (
                exp(sum(logprobs[place] for place in places))
                for logprobs in (correction.student_logprobs, correction.teacher_logprobs)
            )
            fall.setdefault(finding.code, []).append((plain, hinted))
    effect = hint_effect(corrections)
    return {
        "dry_run": True,
        "hint": config.hint,
        "teacher": config.update.teacher,
        "rollouts": measured.tasks + measured.faults,
        "seconds": seconds,
        "before": measured.to_json(),
        "hint_effect": effect,
        "hinted": {
            code: {
                "errors": len(pairs),
                "halved": effect[code],
                "plain": median(plain for plain, _ in pairs),
                "hinted": median(hinted for _, hinted in pairs),
            }
            for code, pairs in sorted(fall.items())
        },
        "corrections": len(corrections),
        "admitted": sum(correction.admitted for correction in corrections),
        "dropped": dict(dropped),
    }


def _summed(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for each in counts:
        for name, count in each.items():
            total[name] = total.get(name, 0) + count
    return total
