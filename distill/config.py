"""What a run is told: the config behind `python -m distill`, without what carries it out."""

from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import OmitArgPrefixes

from critics.hints import HintStyle
from tools.command import InputError

HintKind = Literal["real", "placebo", "shuffled", "none"]
Method = Literal["targeted", "rejection", "unlikelihood", "hints-at-top", "expert"]
TeacherKind = Literal["frozen", "live", "ema"]
DivergenceKind = Literal["forward-kl", "reverse-kl", "jensen-shannon"]
Scope = Literal["error", "call", "from-error", "turn"]
Spread = Literal["ddp", "fsdp2"]
Precision = Literal["as-loaded", "bf16"]
Tracker = Literal["trackio", "tensorboard", "wandb"]

SEEDS_PER_RUN = 1_000_000
"""Seeds of a run's training tasks start at its own seed times this."""

GUARD_SEEDS = 900_000
"""Where, after a run's first seed, those of the guard's tasks start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """How the student is moved to the teacher."""

    method: Method = "targeted"
    """What is learnt from a round's rollouts: 'targeted' hints (--correct 0 --reward 1 is the final reward alone).
    Baselines: 'rejection' imitates those that ended well; 'unlikelihood' makes the error tokens unlikely;
    'hints-at-top' is self-distillation of whole trajectories, all hints above the first turn; 'expert' imitates what
    the world's expert says in place of an erroneous turn."""
    teacher: TeacherKind = "frozen"
    """Who reads the hint: 'frozen' is the start model, 'live' the student itself as it is at each step, 'ema' a moving
    average of the student."""
    teacher_by: str = ""
    """Another model reads the hint: 'openai:MODEL@BASE_URL', served by vLLM, with the student's tokenizer."""
    teacher_top: int = 20
    """The likeliest tokens that such a model is asked for at each target; all others are one tail."""
    divergence: DivergenceKind = "reverse-kl"
    """What is made small: KL(teacher || student), KL(student || teacher), or Jensen and Shannon's mean of both."""
    scope: Scope = "error"
    """The tokens it is made small at: the error's, its call's, all from the first error's on, or the whole turn's."""
    admit: float = 0.3
    """A correction is trained on if the hint leaves less than this share of its error tokens' probability; 'inf' lets
    all of them in."""
    anchor: float = 1.0
    """Weight, beside the corrections, of the divergence from the start model (nats a token) on what it was sure of in
    right turns, on final answers, and on whether a turn acts or answers; 0 is none."""
    learning_rate: float = 2e-4
    """AdamW's in the first round; it falls linearly over the rounds, and an undone round halves it."""
    epochs: int = 4
    """Passes over a round's corrections."""
    minibatch: int = 4
    """Trajectories a step, each with all of its corrections."""
    max_gradient: float = 1.0
    """Gradients of a larger norm are scaled down to it."""
    ema_decay: float = 0.95
    """What an 'ema' teacher keeps of itself at each step."""
    refresh: bool = False
    """A frozen teacher becomes the student after each round that its guard lets pass."""
    correct: float = 1.0
    """Weight of the corrections; 0 makes none."""
    reward: float = 0.0
    """Weight, beside the corrections, of the final reward over all sampled tokens: each trajectory against others of
    its task (GRPO), so tasks need several rollouts (--per-task). 0 is none."""
    clip: float = 0.2
    """Where the reward's gradient ends: a token that has become this much likelier or less likely."""
    pass_tokens: int = 16_384
    """Tokens of a forward and backward pass; a minibatch of more is taken in several, with the same gradient."""
    recompute: bool = False
    """Make activations again in the backward pass: long trajectories fit into memory, and cost a third more time."""
    detach: bool = False
    """Leave out the gradient through what comes before a trajectory's first error: cheaper, and another gradient."""

    @property
    def sampled(self) -> float:
        """Weight of what is made small at sampled tokens themselves: the final reward's loss, or a baseline's."""
        return self.reward if self.method == "targeted" else 1.0

    def check(self) -> None:
        """Raises InputError for a value out of its range."""
        if not (0 < self.learning_rate < 1 and self.epochs >= 1 and self.minibatch >= 1 and self.max_gradient > 0):
            raise InputError(f"expected 0 < learning rate < 1, epochs, minibatch and max gradient above 0, came {self}")
        if not (0 <= self.ema_decay < 1 and (0 < self.admit <= 1 or self.admit == inf) and self.anchor >= 0):
            raise InputError(f"expected 0 <= ema decay < 1, 0 < admit <= 1 (or inf) and anchor from 0, came {self}")
        if self.teacher_by and (self.teacher != "frozen" or self.refresh or self.teacher_top < 1):
            raise InputError("--teacher-by is a frozen teacher, never refreshed, with a --teacher-top from 1")
        if self.refresh and self.teacher != "frozen":
            raise InputError(f"--refresh is about a frozen teacher: one that is {self.teacher!r} moves by itself")
        if not (self.correct >= 0 and self.reward >= 0 and 0 < self.clip < 1 and self.pass_tokens >= 1):
            raise InputError(f"expected correct and reward from 0, 0 < clip < 1, pass tokens above 0, came {self}")
        if self.method != "targeted" and (self.reward or self.detach or self.correct != 1):
            raise InputError(
                f"--correct, --reward and --detach are about targeted hints: leave them out with {self.method}"
            )
        if self.detach and self.reward:
            raise InputError("detach leaves out what the reward is about: set one of them")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """On how many devices, in which precision, and how much of the model is trained."""

    spread: Spread = "ddp"
    """Under torchrun, 'ddp' keeps the whole model on each device; 'fsdp2' cuts weights, gradients and the optimizer
    over all."""
    precision: Precision = "as-loaded"
    """'bf16' computes in bf16; 'as-loaded' in the model's own precision: fp32 on a CPU, bf16 on a GPU. The trained
    weights and the optimizer are kept in fp32."""
    micro_batch: int = 0
    """Trajectories of a step that a device works on at once; the step's gradients are accumulated. 0 is all."""
    lora: int = 0
    """Rank of the LoRA adapter that is trained in place of the model; 0 is none. The checkpoint is an adapter."""
    lora_alpha: int = 0
    """LoRA's alpha; 0 is twice the rank."""

    def check(self) -> None:
        """Raises InputError for a value out of its range."""
        if self.micro_batch < 0 or self.lora < 0 or self.lora_alpha < 0:
            raise InputError(f"expected micro batch, lora and lora alpha from 0, came {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """How far a round may take the model from the start model. A round that leaves the band is undone."""

    tasks: int = 32
    """Training tasks to try after each round; 0 leaves out all but the divergences."""
    success: float = 0.05
    """Success may not surely (95%) fall by more than this share of the tasks."""
    valid_calls: float = 0.8
    """Valid calls per task may not fall below this share of the start's."""
    malformed: float = 5.0
    """Malformed calls per 100 may not surely rise by more than this."""
    final_divergence: float = 0.05
    """Divergence from the start model on final answers may not be larger, in nats a token."""
    clean_divergence: float = 0.05
    """The same on calls that were right, where no habit of the world's applies."""
    off: bool = False
    """No guard: no round is undone, but for a loss that is no finite number."""

    def check(self) -> None:
        """Raises InputError for a value out of its range."""
        if self.tasks < 0 or not (0 <= self.success <= 1 and 0 <= self.valid_calls <= 1):
            raise InputError(f"expected tasks from 0, success and valid calls from 0 to 1, came {self}")
        if not (self.malformed >= 0 and self.final_divergence > 0 and self.clean_divergence > 0):
            raise InputError(f"expected malformed from 0 and divergences above 0, came {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Train away what a model does wrong with its tools, and measure by how much."""

    out: Path
    """Folder for the run; it must be new or empty, unless it is resumed."""
    resume: bool = False
    """Go on with the run in the folder where it stopped; the other options must be as they were."""
    dry_run: bool = False
    """Make a round's corrections and say what the hints do, without an update."""
    policy: str = "tiny"
    """The model to train: 'tiny' (the embedded one), a Hugging Face model's folder, or hf: and a folder or hub name."""
    rollouts_by: str = ""
    """Another policy makes the training rollouts: 'vllm:PATH' takes the student's weights after each update,
    'openai:MODEL@BASE_URL' keeps its own (token ids are needed, which vLLM's servers give). The student by itself."""
    env: str = "store-v0"
    """The world to train in."""
    hint: HintKind = "real"
    """'real' hints say what was overlooked. Controls: 'placebo' hints are well-formed and irrelevant, 'shuffled' ones
    are real hints of other turns, and with 'none' the teacher reads what the student does."""
    hint_style: HintStyle = "reminder"
    """Where hints stand: in a 'reminder' by the system, in a 'system-note' of the user's, or at the end of the last
    tool result."""
    critic: str = "rules"
    """Who says what is wrong in training: 'rules', 'rules,judge:MODEL@BASE_URL' (or judge:FOLDER), whose findings are
    trained on too, and 'hints:MODEL@BASE_URL' to have hints written. 'rules,judge' trains on a judge's --findings."""
    trajectories: Path | None = None
    """Train on these trajectories, which must have their token ids, in place of the model's own rollouts."""
    findings: Path | None = None
    """What is wrong in these trajectories; else the critics say it."""
    seed: int = 0
    """Seed of tasks, sampling and minibatches."""
    rounds: int = 8
    """Rounds of rollouts -> findings -> hinted prefill -> update."""
    rollouts: int = 64
    """Rollouts a round."""
    per_task: int = 1
    """Rollouts of each training task; a round has so many fewer tasks. The final reward compares them."""
    tasks: int = 128
    """Held-out tasks to evaluate on, before and after."""
    held_out_tasks: int = 64
    """Tasks with tools that no hint ever names, to evaluate on, before and after."""
    batch: int = 64
    """Episodes that are sampled side by side."""
    temperature: float = 1.0
    """Sampling temperature, in training and evaluation."""
    max_tokens: int | None = None
    """The most tokens of a turn; by itself what the model's generation config says (tiny: 96), else 1,024."""
    report_to: tuple[Tracker, ...] = ()
    """Trackers that are told of every round and step."""
    update: Annotated[Update, OmitArgPrefixes] = field(default_factory=Update)
    """The update itself."""
    scale: Annotated[Scale, OmitArgPrefixes] = field(default_factory=Scale)
    """What it runs on."""
    band: Band = field(default_factory=Band)
    """The guard."""

    def training_seeds(self, number: int) -> range:
        """The tasks of a round; runs of different seeds share none."""
        tasks = self.rollouts // self.per_task
        first = self.seed * SEEDS_PER_RUN + number * tasks
        return range(first, first + tasks)

    @property
    def guard_seeds(self) -> range:
        """The guard's tasks, of the training split too."""
        first = self.seed * SEEDS_PER_RUN + GUARD_SEEDS
        return range(first, first + self.band.tasks)

    def check(self) -> None:
        """Raises InputError for a value out of its range; not at construction, where tyro would make a box of it."""
        self.update.check()
        self.scale.check()
        self.band.check()
        for name in ("rounds", "rollouts", "per_task", "tasks", "held_out_tasks", "batch"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, came {getattr(self, name)}")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise InputError(f"max-tokens must be at least 1, came {self.max_tokens}")
        if not 0 <= self.seed < 1_000:
            raise InputError(f"seed must be from 0 to 999, came {self.seed}")
        if self.rounds * self.rollouts > GUARD_SEEDS or self.band.tasks > SEEDS_PER_RUN - GUARD_SEEDS:
            raise InputError(f"a run has at most {GUARD_SEEDS} rollouts, came {self.rounds} rounds of {self.rollouts}")
        if self.rollouts % self.per_task:
            raise InputError(f"{self.rollouts} rollouts a round are no whole number of tasks with {self.per_task} each")
        if self.update.reward and self.temperature != 1:
            raise InputError(f"--reward takes log-probs as they were sampled: temperature 1, came {self.temperature:g}")
        if self.update.reward and self.per_task == 1 and not self.trajectories:
            raise InputError("--reward compares rollouts of the same task: give --per-task 4, say")
        if self.hint != "real" and self.update.method != "targeted":
            raise InputError(
                f"--hint {self.hint} is a control of targeted hints: leave it out with {self.update.method}"
            )
        if self.findings and not self.trajectories:
            raise InputError("--findings needs --trajectories: the file that the findings are about")
