"""How much of a study is done: a preset's settings, arms, seeds and sizes, and the runs that they come to."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from distill.config import Band, Config, Update
from eval.folder import json_file
from eval.study.arms import CONTROLS, DEFAULT, LONG, METHODS, SETTINGS, VARIANTS, Arm, Setting
from tools.command import InputError, did_you_mean

TUNING_SEED = 900
"""Learning rates are tuned on this seed's tasks; no arm is measured on them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """How much is done. An arm's learning rate is the best of `rates` on `tuning_rollouts` rollouts: with fewer than it
    is measured on, what breaks later may win; the only one needs no trial. An arm that stops acting at each of them has
    `lower_rates` tried, one by one, until it acts on. Controls and variants learn at the default's rate, unless all are
    tuned (`tune_all`)."""

    name: str
    arms: Sequence[Arm]
    seeds: int
    rollouts: int = 512
    a_round: int = 32
    tuning_rollouts: int = 512
    rates: Sequence[float] = (1e-4, 3e-4)
    lower_rates: Sequence[float] = (3e-5, 1e-5)
    tune_all: bool = False
    tasks: int = 128
    held_out_tasks: int = 64
    guard_tasks: int = 16
    settings: Sequence[Setting] = SETTINGS
    otherwise: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By a setting's name, the fields of this that are others there."""

    def within(self, setting: Setting) -> "Preset":
        """What is done in one of its settings."""
        return replace(self, settings=[setting], otherwise={}, **self.otherwise.get(setting.name, {}))

    def with_arms(self, arms: Sequence[Arm]) -> "Preset":
        """The same with these arms, in all its settings."""
        otherwise = {
            setting: {name: value for name, value in fields.items() if name != "arms"}
            for setting, fields in self.otherwise.items()
        }
        return replace(self, arms=arms, otherwise=otherwise)

    def started_by(self, policy: str, *, settings: Sequence[str]) -> "Preset":
        """The same for another start model, in one setting. Raises InputError where several are left."""
        left = self.only(settings=settings, arms=()).settings
        if len(left) != 1:
            raise InputError(f"a start model is for one setting: name one with --setting, of {len(left)} that are left")
        return replace(self, settings=[replace(setting, policy=policy) for setting in left])

    def only(self, *, settings: Sequence[str], arms: Sequence[str]) -> "Preset":
        """Some of its settings, by name, and the named arms, whether they are the preset's or not; where none is named,
        all of it. Raises InputError for a name that there is not."""
        for asked, known in (
            (settings, [setting.name for setting in self.settings]),
            (arms, [arm.name for arm in EVERY]),
        ):
            for name in asked:
                if name not in known:
                    raise InputError(f"there is no {name!r} in a study: {did_you_mean(name, known)}")
        some = replace(
            self, settings=[setting for setting in self.settings if not settings or setting.name in settings]
        )
        return some.with_arms([arm for arm in EVERY if arm.name in arms]) if arms else some


EVERY = (*METHODS, *CONTROLS, *VARIANTS, *LONG)
"""All arms, in the order in which they are shown."""

FULL_ONLY = {"targeted-grpo", "unlikelihood", "expert", "no-hint"}
"""Methods and controls that would take the small study beyond its hour."""

SMALL_SIZE: dict[str, Any] = {"rollouts": 256, "tuning_rollouts": 96, "tasks": 64, "held_out_tasks": 32}

SMALL = Preset(
    name="small", arms=[arm for arm in (*METHODS, *CONTROLS) if arm.name not in FULL_ONLY], seeds=1, **SMALL_SIZE
)

IN_THE_HARD_SETTING = {"arms": (*METHODS, *CONTROLS, *VARIANTS), "tune_all": False, **SMALL_SIZE}
"""A rollout there costs four to six of the easy one's, and what happens has happened after 256."""

PRESETS = {
    "small": SMALL,
    "full": Preset(name="full", arms=EVERY, seeds=3, tune_all=True, otherwise={"hard": IN_THE_HARD_SETTING}),
    "larger": replace(
        SMALL.only(settings=["hard"], arms=["targeted", "grpo", "placebo"]),
        name="larger",
        rates=(1e-4,),
        guard_tasks=0,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One run of an arm: at a learning rate, on a seed's tasks."""

    preset: Preset
    setting: Setting
    arm: Arm
    folder: Path
    seed: int
    rate: float

    @property
    def tuning(self) -> bool:
        return self.seed == TUNING_SEED

    def config(self) -> Config:
        """What `python -m distill` is told. A folder that is there already is gone on with."""
        preset, arm = self.preset, self.arm
        rollouts = preset.tuning_rollouts if self.tuning else preset.rollouts * arm.rounds
        return Config(
            out=self.folder,
            resume=(self.folder / "manifest.json").is_file(),
            policy=self.setting.policy,
            env=self.setting.env,
            seed=self.seed,
            rounds=rollouts // preset.a_round,
            rollouts=preset.a_round,
            # What is tuned on is training tasks; the evaluation has to have one task.
            tasks=1 if self.tuning else preset.tasks,
            held_out_tasks=1 if self.tuning else preset.held_out_tasks,
            update=replace(Update(learning_rate=self.rate), **arm.update),
            band=Band(tasks=preset.guard_tasks, off=not arm.guarded),
            **arm.run,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """An arm in a setting, in a study's folder."""

    preset: Preset
    setting: Setting
    arm: Arm
    folder: Path

    def __str__(self) -> str:
        return f"{self.setting.name}/{self.arm.name}"

    @property
    def seeds(self) -> range:
        """A long arm is there to see whether it collapses: once is enough."""
        return range(1 if self.arm.rounds > 1 else self.preset.seeds)

    @property
    def tuned(self) -> "Place | None":
        """The arm whose learning rate this one has; None where nothing is trained."""
        if not self.arm.trained:
            return None
        own = self.preset.tune_all or self.arm.kind not in ("control", "variant")
        arm = self.arm.longer_than or (self.arm if own else DEFAULT)
        return replace(self, arm=arm, folder=self.folder.with_name(arm.name))

    def tuning(self) -> Iterator[Trial]:
        """Every trial that there may be; of the lower rates only those are made that it takes."""
        for rate in (*self.preset.rates, *self.preset.lower_rates):
            yield self._trial(self.folder / "tuning" / f"{rate:g}", TUNING_SEED, rate)

    def measured(self, rate: float) -> Iterator[Trial]:
        for seed in self.seeds:
            yield self._trial(self.seed_folder(seed), seed, rate)

    @property
    def tuning_file(self) -> Path:
        """The learning rate that was chosen, and what others came to."""
        return self.folder / "tuning.json"

    @property
    def begun(self) -> list[int]:
        """The seeds that there are folders of."""
        names = (folder.name.removeprefix("seed-") for folder in self.folder.glob("seed-*"))
        return sorted(int(name) for name in names if name.isdecimal())

    def seed_folder(self, seed: int) -> Path:
        return self.folder / f"seed-{seed}"

    def figures(self, seed: int) -> Path:
        """A seed's figures where it was done on another machine, and only they were taken up (`eval.study.taken`)."""
        return self.seed_folder(seed) / "figures.json"

    def taken_up(self, seed: int) -> dict[str, Any] | None:
        return json_file(self.figures(seed)) if self.figures(seed).is_file() else None

    def _trial(self, folder: Path, seed: int, rate: float) -> Trial:
        return Trial(preset=self.preset, setting=self.setting, arm=self.arm, folder=folder, seed=seed, rate=rate)


def places(preset: Preset, out: Path) -> list[Place]:
    """Every arm in every setting that has it, in the order of the arms: an unfinished study has all settings of the
    first ones."""
    parts = [(setting, preset.within(setting)) for setting in preset.settings]
    return [
        Place(preset=part, setting=setting, arm=arm, folder=out / setting.name / arm.name)
        for arm in preset.arms
        for setting, part in parts
        if arm in part.arms
    ]
