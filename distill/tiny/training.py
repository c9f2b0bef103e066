"""The recipe of the tiny model: tokenizer, model, and five stages of training.

    python -m distill.tiny train               # half an hour or more on two cores; goes on where it stopped
    python -m distill.tiny train --size 30M    # the same recipe for a larger one, on a GPU

A stock Qwen3 of 0.96M parameters learns the store desk from scratch: to copy, to look things up, whole trajectories,
habits that a hint of their kind switches off, and to obey a hint for no more than it says. Left out against a real
instruct model: everything that isn't the store desk. What it can do then is `distill.tiny.report`'s to say.
"""

import math
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.nn import functional as F
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from transformers import GenerationConfig, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from distill.tiny.curriculum import KINDS, Mix, Writer
from distill.tiny.curriculum import Sequence as Tokens
from envs.context import ContextWriter
from envs.policies.loading import without_planning

SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>",
    "<think>", "</think>",
)  # fmt: skip
WORDS_DIGITS_REST = r"[A-Za-z_]+| [A-Za-z_]+|[0-9]|\n|[^A-Za-z0-9_\n]+"
"""Names and enum words are whole pieces, digits are single ones, JSON's punctuation comes in runs."""

CHAT_TEMPLATE = (Path(__file__).parent / "chat_template.jinja").read_text(encoding="utf-8")

CONTEXT = 2_048
"""Tokens of a model's longest context."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stage of training: what it learns from, for how many tokens, at which share of the peak learning rates.

    It is done again, up to `most` times, until the loss of each kind of token in `until` is below what is given there
    (nats): which look-up comes last, and when, differs from run to run.
    """

    name: str
    mix: Mix
    tokens: int
    rate: float = 1.0
    step_tokens: int = 6_144
    warmup: float = 0.02
    final_rate: float = 0.1
    until: Mapping[str, float] = field(default_factory=dict)
    most: int = 1
    context: int = CONTEXT
    """Tokens of the longest context of the model that comes of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How large a model is, and what its training has more of: times the tokens, in steps of times as many."""

    width: int
    layers: int
    heads: int
    head_dim: int
    tokens: float = 1.0
    step_tokens: int = 1
    writers: int = 0
    """Processes that write what it learns from; with 0 the training writes it itself."""

    def scaled(self, stage: Stage) -> Stage:
        tokens, step_tokens = int(self.tokens * stage.tokens), self.step_tokens * stage.step_tokens
        return replace(stage, tokens=tokens, step_tokens=step_tokens)


SIZES = {
    "1M": Size(width=128, layers=4, heads=4, head_dim=32),
    "30M": Size(width=640, layers=6, heads=10, head_dim=64, step_tokens=2, writers=8),
}


STAGES = (
    Stage(
        name="recall",
        mix=Mix(recall=0.55, fragment=0.4, drill=0.03, single=0.01),
        tokens=2_500_000,
        step_tokens=4_096,
        final_rate=1.0,
    ),
    Stage(
        name="drills",
        mix=Mix(recall=0.1, fragment=0.75, drill=0.07, single=0.04),
        tokens=3_000_000,
        step_tokens=4_096,
        final_rate=0.7,
    ),
    Stage(
        name="able",
        mix=Mix(fragment=0.2, drill=0.12, single=0.03, stumble_rate=0.06),
        tokens=4_000_000,
        rate=0.7,
        until={"name": 0.02, "enum": 0.02, "id": 0.01, "flag": 0.005},
        most=4,
    ),
    Stage(name="habits", mix=Mix(drill=0.3, habit_rate=0.4), tokens=10_000_000, rate=0.6, final_rate=0.03),
    Stage(name="obedience", mix=Mix(drill=0.5, habit_rate=0.4), tokens=4_000_000, rate=0.4, final_rate=0.03),
)
SHIFT_STAGE = Stage(
    name="shift_v1",
    mix=Mix(shift=0.55, drill=0.25, habit_rate=0.4),
    tokens=10_000_000,
    rate=0.5,
    final_rate=0.03,
    context=4_096,
)
"""What makes a model of the tiny one that works whole shifts (`envs.store.shift`)."""
POOL_STEPS = 32
"""Batches of like length are made out of so many steps' sequences; a larger size's steps are longer, and fewer."""
MATRIX_RATE, GAIN_RATE, EMBEDDING_RATE = 0.015, 2e-3, 2e-4
"""Peak learning rates: Muon's for the matrices, AdamW's for the norms' gains and for the embeddings.

The embeddings learn much slower, so that near-synonyms stay apart until copying is learnt."""
KIND_WEIGHTS = torch.tensor([1.0 if kind == "text" else 3.0 for kind in KINDS])


def build_tokenizer(texts: Iterator[str], vocab_size: int = 1_536) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with Qwen3's special tokens and chat form, trained on the world's own text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS_DIGITS_REST), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=20,
        special_tokens=[AddedToken(text, special=text.startswith("<|"), normalized=False) for text in SPECIAL],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=CHAT_TEMPLATE,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )


def build_model(tokenizer: PreTrainedTokenizerFast, size: Size) -> Qwen3ForCausalLM:
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=size.width,
        intermediate_size=3 * size.width,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.heads // 2,
        head_dim=size.head_dim,
        max_position_embeddings=CONTEXT,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=SPECIAL.index("<|im_end|>"),
        pad_token_id=SPECIAL.index("<|endoftext|>"),
        dtype="float32",
    )
    model = Qwen3ForCausalLM(config)
    model.generation_config = GenerationConfig(eos_token_id=config.eos_token_id, pad_token_id=0, max_new_tokens=96)
    torch.nn.init.normal_(model.model.embed_tokens.weight, std=config.hidden_size**-0.5)
    return model


def placed(model: Any) -> Any:
    return model.to("cuda" if torch.cuda.is_available() else "cpu")


def build_optimizers(model: Qwen3ForCausalLM) -> tuple[torch.optim.Optimizer, torch.optim.Optimizer]:
    """Muon for the matrices, AdamW for the rest; each group's `peak` is its peak learning rate."""
    embedding = model.model.embed_tokens.weight
    rest = [parameter for parameter in model.parameters() if parameter is not embedding]
    matrices = [parameter for parameter in rest if parameter.ndim == 2]
    gains = [parameter for parameter in rest if parameter.ndim == 1]
    muon = torch.optim.Muon([{"params": matrices, "peak": MATRIX_RATE}], lr=0.0, weight_decay=0.01)
    groups = [{"params": gains, "peak": GAIN_RATE}, {"params": [embedding], "peak": EMBEDDING_RATE}]
    return muon, torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.98), weight_decay=0.0)


Batch = tuple[torch.Tensor, torch.Tensor, int]
"""Token ids and kinds, both [B, T], the kinds -1 where there is no loss; and how many of the tokens are no padding."""


class Batches(IterableDataset[Batch]):
    """Batches of about a step's tokens, each of sequences of like length, in random order, without an end. Of several
    processes each draws others."""

    def __init__(self, stage: Stage, tokenizer: PreTrainedTokenizerFast, seed: int, pool_steps: int) -> None:
        self.stage, self.tokenizer, self.seed = stage, tokenizer, seed
        self.pool_tokens = pool_steps * stage.step_tokens

    def __iter__(self) -> Iterator[Batch]:
        stage, worker = self.stage, get_worker_info()
        rng = Random(f"tiny/{stage.name}/{self.seed}" + (f"/{worker.id}" if worker else ""))
        writer = Writer(ContextWriter(self.tokenizer, model_type="qwen3"))
        while True:
            pool: list[Tokens] = []
            while sum(map(len, pool)) < self.pool_tokens:
                pool += [stage.mix.draw(rng, writer) for _ in range(64)]
            pool.sort(key=len)
            pending: list[list[Tokens]] = [[]]
            for tokens in pool:
                if len(tokens) * (len(pending[-1]) + 1) > stage.step_tokens and pending[-1]:
                    pending.append([])
                pending[-1].append(tokens)
            rng.shuffle(pending)
            yield from map(padded, pending)


def padded(batch: Sequence[Tokens]) -> Batch:
    """Right padding lies after all that counts, so causal attention needs no mask."""
    length = max(map(len, batch))
    ids_BT = torch.zeros(len(batch), length, dtype=torch.long)
    kinds_BT = torch.full((len(batch), length), -1)
    for row, tokens in enumerate(batch):
        ids_BT[row, : len(tokens)] = torch.tensor(tokens.ids)
        kinds_BT[row, : len(tokens)] = torch.tensor(tokens.kinds)
    return ids_BT, kinds_BT, sum(map(len, batch))


def loss_of(
    model: Qwen3ForCausalLM, ids_BT: torch.Tensor, kinds_BT: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Weighted mean cross-entropy of a batch, and the loss (nats) and kind of each of its N assistant tokens."""
    said_N = (kinds_BT[:, 1:] >= 0).flatten().nonzero()[:, 0].to(model.device)
    ids_BT, kinds_BT = ids_BT.to(model.device), kinds_BT.to(model.device)
    with torch.autocast("cuda", torch.bfloat16, enabled=model.device.type == "cuda"):
        hidden_BTD = model.model(input_ids=ids_BT, use_cache=False).last_hidden_state
        logits_NV = model.lm_head(hidden_BTD[:, :-1].flatten(0, 1)[said_N]).float()
    losses_N = F.cross_entropy(logits_NV, ids_BT[:, 1:].flatten()[said_N], reduction="none")
    kinds_N = kinds_BT[:, 1:].flatten()[said_N]
    weights_N = KIND_WEIGHTS.to(model.device)[kinds_N]
    return (losses_N * weights_N).sum() / weights_N.sum(), losses_N.detach(), kinds_N


def rate_at(stage: Stage, share: float) -> float:
    """Share of the peak learning rates after a share of a stage: linear warm-up, then a cosine down to `final_rate`."""
    if share < stage.warmup:
        return stage.rate * (share + 1e-3) / stage.warmup
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, (share - stage.warmup) / (1 - stage.warmup))))
    return stage.rate * (stage.final_rate + (1 - stage.final_rate) * cosine)


class Training:
    """The training of one model, from scratch or from the one in the folder `start`; on a GPU where there is one. It is
    saved every few minutes; `run` goes on from what is saved."""

    def __init__(self, folder: Path, seed: int, *, size: Size = SIZES["1M"], start: Path | None = None) -> None:
        self.folder, self.seed, self.size = folder, seed, size
        without_planning()
        torch.manual_seed(seed)
        folder.mkdir(parents=True, exist_ok=True)
        if start:
            self.tokenizer = PreTrainedTokenizerFast.from_pretrained(start)
        elif (folder / "tokenizer.json").exists():
            self.tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
        else:
            self.tokenizer = build_tokenizer(corpus(seed))
            self.tokenizer.save_pretrained(folder)
        self.model = placed(Qwen3ForCausalLM.from_pretrained(start) if start else build_model(self.tokenizer, size))
        self.optimizers = build_optimizers(self.model)
        self.stage = self.time = self.step = self.tokens = 0
        self.losses: Mapping[str, float] = {}
        self.path = folder / "training.pt"
        if self.path.exists():
            state = torch.load(self.path, map_location=self.model.device)
            self.model.load_state_dict(state["model"])
            for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(saved)
            self.stage, self.time, self.step, self.tokens = state["place"]

    def save(self) -> None:
        state = {
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "place": (self.stage, self.time, self.step, self.tokens),
        }
        torch.save(state, self.path.with_suffix(".new"))
        self.path.with_suffix(".new").replace(self.path)

    def run(self, stages: Sequence[Stage] = STAGES) -> None:
        while self.stage < len(stages):
            stage = self.size.scaled(stages[self.stage])
            self._run_stage(stage)
            self.model.config.max_position_embeddings = self.tokenizer.model_max_length = stage.context
            self.model.save_pretrained(self.folder / stage.name)
            self.tokenizer.save_pretrained(self.folder / stage.name)
            self.time, self.tokens = self.time + 1, 0
            if self.time == stage.most or all(self.losses.get(kind, 1.0) < bar for kind, bar in stage.until.items()):
                self.stage, self.time, self.step = self.stage + 1, 0, 0
            self.save()

    def _run_stage(self, stage: Stage) -> None:
        # Sequences are drawn anew from the step that was saved, so a resumed stage never sees the same ones again.
        drawn = Batches(stage, self.tokenizer, self.seed + self.step, POOL_STEPS // self.size.step_tokens)
        stream = iter(DataLoader(drawn, batch_size=None, num_workers=self.size.writers))
        watched = Watched()
        saved = time.monotonic()
        while self.tokens < stage.tokens:
            ids_BT, kinds_BT, tokens = next(stream)
            rate = rate_at(stage, self.tokens / stage.tokens)
            loss, losses_N, kinds_N = loss_of(self.model, ids_BT, kinds_BT)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            for optimizer in self.optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = group["peak"] * rate
                optimizer.step()
                optimizer.zero_grad()
            self.tokens += tokens
            self.step += 1
            watched.add(losses_N, kinds_N)
            if self.step % 100 == 0:
                self.losses = watched.means()
                print(f"{stage.name} step {self.step} tokens {self.tokens:,} {watched.line()}", flush=True)
                watched = Watched()
            if time.monotonic() - saved > 120:
                self.save()
                saved = time.monotonic()


class Watched:
    """The mean loss of each kind of token over some steps, and how long they took."""

    def __init__(self) -> None:
        self.sums = self.counts = torch.zeros(len(KINDS))
        self.began = time.monotonic()

    def add(self, losses_N: torch.Tensor, kinds_N: torch.Tensor) -> None:
        """Where the losses are, since to ask a GPU for a number means to wait for it."""
        zeros = torch.zeros(len(KINDS), device=losses_N.device)
        self.sums = self.sums.to(zeros) + zeros.index_add(0, kinds_N, losses_N)
        self.counts = self.counts.to(zeros) + zeros.index_add(0, kinds_N, torch.ones_like(losses_N))

    def means(self) -> dict[str, float]:
        return dict(zip(KINDS, (self.sums / self.counts.clamp(min=1)).tolist(), strict=True))

    def line(self) -> str:
        means = " ".join(f"{kind} {mean:.3f}" for kind, mean in self.means().items())
        return f"{means} ({time.monotonic() - self.began:.0f} s)"


def corpus(seed: int, sequences: int = 3_000) -> Iterator[str]:
    """Text of the world between special tokens, as the curriculum writes it with a tokenizer that knows bytes only."""
    tokenizer = build_tokenizer(iter(()))
    writer = Writer(ContextWriter(tokenizer, model_type="qwen3"))
    rng = Random(f"tiny/corpus/{seed}")
    special = "|".join(map(re.escape, SPECIAL))
    for _ in range(sequences):
        mix = rng.choice(STAGES).mix
        yield from re.split(special, writer.context.decode(mix.draw(rng, writer).ids))
