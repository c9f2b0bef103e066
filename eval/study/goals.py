"""Whether a study's figures reach what the project promises: each goal with what came, whichever way it went."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from statistics import fmean
from typing import Any

from eval.study.arms import DEFAULT

TIMES_FEWER, TIMES_SOONER, PLACEBO, HELD_OUT, DIVERGENCE = 5.0, 4.0, 0.1, 0.5, 0.05

Seeds = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What is promised in a setting, what came, and whether it holds."""

    setting: str
    says: str
    came: str
    holds: bool


def goals(study: Mapping[str, Any]) -> Iterator[Goal]:
    """The goals that a study's arms say something about."""
    for name, setting in study["settings"].items():
        arms: Mapping[str, Any] = setting["arms"]
        if DEFAULT.name not in arms:
            continue
        ours: Seeds = arms[DEFAULT.name]["seeds"]
        yield from _of_ours(name, ours)
        baselines = {arm: record["seeds"] for arm, record in arms.items() if record["kind"] == "baseline"}
        if baselines:
            yield _sooner(name, ours, baselines, times=1.0 if name == "easy" else TIMES_SOONER)
        if "placebo" in arms:
            share = _share(_mean(arms["placebo"]["seeds"], _effect), _mean(ours, _effect), none=inf)
            yield Goal(
                setting=name,
                says=f"placebo hints have under {PLACEBO:.0%} of the effect",
                came=f"{share:.0%}",
                holds=share < PLACEBO,
            )


def _of_ours(name: str, ours: Seeds) -> Iterator[Goal]:
    fewer = fmean(seed["drop"]["ratio"] for seed in ours)
    rollouts = ours[0]["curve"][-1]["rollouts"]
    yield Goal(
        setting=name,
        says=f"at least {TIMES_FEWER:g} times fewer invalid calls",
        came=f"{fewer:.1f} times after {rollouts} rollouts",
        holds=fewer >= TIMES_FEWER,
    )
    share = _share(_mean(ours, _held_out_effect), _mean(ours, _effect), none=0.0)
    yield Goal(
        setting=name,
        says=f"at least {HELD_OUT:.0%} of the effect on tools that no hint named",
        came=f"{share:.0%}",
        holds=share >= HELD_OUT,
    )
    before, after = (fmean(seed[when]["success"]["rate"] for seed in ours) for when in ("before", "after"))
    yield Goal(setting=name, says="success goes up", came=f"{before:.0%} to {after:.0%}", holds=after > before)
    moved = fmean(seed["clean_divergence"] for seed in ours)
    yield Goal(
        setting=name,
        says=f"at most {DIVERGENCE} nats a token where no habit applies",
        came=f"{moved:.3f}",
        holds=moved <= DIVERGENCE,
    )


def _sooner(name: str, ours: Seeds, baselines: Mapping[str, Seeds], *, times: float) -> Goal:
    """How much sooner than the best baseline invalid calls are halved. Who never gets there counts as the last point of
    its curve, which is too few."""
    needed = {arm: fmean(_halved(seed) for seed in seeds) for arm, seeds in baselines.items()}
    best = min(needed, key=lambda arm: needed[arm])
    unknown = not all(seed["halved"] for seed in baselines[best])
    our_own = fmean(_halved(seed) for seed in ours)
    wish = "as few rollouts as" if times == 1 else f"{times:g} times fewer rollouts than"
    return Goal(
        setting=name,
        says=f"invalid calls halved after {wish} the best baseline",
        came=f"{our_own:.0f}, {best} {'more than ' if unknown else ''}{needed[best]:.0f}",
        holds=all(seed["halved"] for seed in ours) and needed[best] >= times * our_own,
    )


def _halved(seed: Mapping[str, Any]) -> float:
    found = seed["halved"] or seed["curve"][-1]
    return float(found["rollouts"])


def _mean(seeds: Seeds, figure: Any) -> float:
    return fmean(figure(seed) for seed in seeds)


def _share(part: float, whole: float, *, none: float) -> float:
    """A part of an effect; `none` where there is no effect to have a part of."""
    return part / whole if whole > 0 else none


def _effect(seed: Mapping[str, Any]) -> float:
    return float(seed["before"]["invalid_per_100"]["rate"] - seed["after"]["invalid_per_100"]["rate"])


def _held_out_effect(seed: Mapping[str, Any]) -> float:
    before, after = (seed[when]["held_out"]["invalid_per_100"]["rate"] for when in ("before", "after"))
    return float(before - after)
