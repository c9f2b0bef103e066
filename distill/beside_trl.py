"""What a correction costs in TRL's self-distillation trainers and here, on this machine, in one run.

    make bench-trl                                        # TRL in an environment of its own, .venv-trl
    make bench-trl ARGS="--tokens 1024 --errors 1 --json"

The same corrections of one random trajectory go to both: context, hint, and the turn that was sampled. TRL gets each as
a prompt that is a text, the hint as its privileged context (`SDFTTrainer`) or feedback (`SDPOTrainer`), and templates
that put the hint right below the prompt; its own code makes the two contexts. It would sample the turn there; here the
turn is given, and no time is counted but the loss and its gradient. Both sides have a live teacher and the exact
reverse KL over the turn's tokens, so that their losses are equal, which the table shows.

Prompts of messages are only tried: one that ends with the user, one that ends with a tool's result. Left out:
sampling, the optimizer's step, what TRL makes of other divergences and teachers.
"""

import argparse
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from itertools import product
from statistics import median
from typing import Any

import torch

from distill.bench import Row, about, asked, load, measured, parser, trajectory
from distill.prefill import Trunk
from distill.ways import OURS, TRUNCATED, Said, Way, ways

Example = Mapping[str, Any]
TRAINERS = ("SDFTTrainer", "SDPOTrainer")
CHAT = "{% for message in messages %}{{ message.content }} {% endfor %}"


def beside(options: argparse.Namespace) -> list[Row]:
    """A row for each way, number of tokens and number of errors."""
    model = load(options)
    rows: list[Row] = []
    for tokens, errors in product(options.tokens, options.errors):
        trunk = trajectory(model, tokens, errors, options)
        ours = ways(model, trunk)
        both = {OURS: ours[OURS], TRUNCATED: ours[TRUNCATED], **trl_ways(model, trunk)}
        chosen = {name: both[name] for name in both if any(part in name for part in options.only.split(","))}
        for method, one in measured(chosen, options.repeats).items():
            assert one.said.divergence_N is not None
            seconds = median(one.seconds)
            row = {"method": method, "tokens": tokens, "errors": errors, "seconds": seconds}
            loss = float(one.said.divergence_N.mean())
            rows.append({**row, "corrections_per_second": errors / seconds, "peak_bytes": one.peak, "loss": loss})
    return rows


def trl_ways(model: Any, trunk: Trunk) -> Mapping[str, Way]:
    """TRL's loss step on all corrections: as one padded batch, and one after the other, as gradients add up."""
    examples, turns = corrections(trunk)
    found: dict[str, Way] = {}
    for name in TRAINERS:
        trainer = trainer_of(name, model, examples)
        alone = [prepared(trainer, [example], [turn]) for example, turn in zip(examples, turns, strict=True)]
        found[f"TRL {name}: one by one"] = partial(_loss_steps, trainer, model, alone)
        if len(turns) > 1:
            found[f"TRL {name}: one batch"] = partial(_loss_steps, trainer, model, [prepared(trainer, examples, turns)])
    return found


def corrections(trunk: Trunk) -> tuple[list[Example], list[list[int]]]:
    """The branches of a trunk as TRL's examples, a word for each token, and their turns."""
    examples: list[Example] = []
    turns: list[list[int]] = []
    for start, ids, positions in trunk.branches:
        hint = len(ids) - len(positions)
        examples.append({"prompt": words(trunk.ids[:start]), "privileged_context": words(ids[:hint])})
        turns.append(list(ids[hint:]))
    return examples, turns


def words(ids: Sequence[int]) -> str:
    return " ".join(f"<{id_}>" for id_ in ids)


def prepared(trainer: Any, examples: Sequence[Example], turns: list[list[int]]) -> Any:
    """What TRL makes of the examples, with the turns in place of what it would sample."""
    trainer._generate = lambda prompt_ids: (prompt_ids, turns)
    return trainer._prepare_training_batch(examples)


def _loss_steps(trainer: Any, model: Any, batches: Sequence[Any]) -> Said:
    model.zero_grad()
    losses: list[torch.Tensor] = []
    for batch in batches:
        loss = trainer.compute_loss(model, batch)
        loss.backward()
        losses.append(loss.detach())
    return Said(torch.stack(losses))


def trainer_of(name: str, model: Any, examples: Sequence[Example]) -> Any:
    """TRL's trainer over our model, set to what we compute: a live teacher, the exact reverse KL, nothing cut off."""
    from datasets import Dataset
    from trl.experimental import sdft, sdpo

    settings: dict[str, Any] = {
        "output_dir": tempfile.gettempdir(),  # nothing is written
        "report_to": "none",
        "use_cpu": model.device.type == "cpu",
        "bf16": False,  # no autocast: the model is in the precision that was asked for
        "gradient_checkpointing": False,
        "per_device_train_batch_size": 1,
        "num_generations": 1,
        "max_prompt_length": None,
        "teacher_model_kind": "live",
        "distillation_mode": "full_logits",
        "distillation_alpha": 1.0,
        "distillation_topk": None,
    }
    given = {"train_dataset": Dataset.from_list(list(examples)), "processing_class": word_tokenizer(model)}
    if name == "SDFTTrainer":
        template = "{prompt} {privileged_context}"
        return sdft.SDFTTrainer(model, args=sdft.SDFTConfig(**settings, teacher_prompt_template=template), **given)
    feedback = {
        "include_environment_feedback": True,
        "use_successful_as_teacher": False,
        "reprompt_template": "{prompt}{solution} {feedback}",
        "feedback_template": "{feedback_raw}",
        "max_reprompt_len": sys.maxsize,
        "scale_rewards": "none",  # one rollout has no deviation
        "diagnostics_warning_interval": 0,  # that no rollout succeeds is meant so
    }
    return sdpo.SDPOTrainer(model, unrewarded, sdpo.SDPOConfig(**settings, **feedback), **given)


def unrewarded(prompts: Sequence[Any], **_: Any) -> list[float]:
    """SDPO wants a reward; a loss that is distillation only doesn't read it."""
    return [0.0] * len(prompts)


def word_tokenizer(model: Any) -> Any:
    """A word for each token id, so that texts are the ids that were meant."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {f"<{id_}>": id_ for id_ in range(model.config.get_text_config().vocab_size)}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<0>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<0>", eos_token="<1>")
    made.chat_template = CHAT
    return made


def messages_taken(options: argparse.Namespace) -> dict[str, dict[str, str]]:
    """For each trainer, what it says of a prompt that ends with the user, and of one that ends with a tool's result."""
    asking = [{"role": "user", "content": words([2, 3])}]
    told = [*asking, {"role": "assistant", "content": words([4])}, {"role": "tool", "content": words([5, 6])}]
    model, said = load(options), dict[str, dict[str, str]]()
    for name in TRAINERS:
        said[name] = {}
        for end, prompt in (("user", asking), ("tool", told)):
            example = {"prompt": prompt, "privileged_context": words([7, 8])}
            trainer = trainer_of(name, model, [example])
            try:
                prepared(trainer, [example], [[9, 10]])
            except ValueError as error:
                said[name][end] = f"refused: {error}"
            else:
                said[name][end] = "taken"
    return said


def table(rows: Sequence[Row], taken: Mapping[str, Mapping[str, str]]) -> str:
    """The rows as text, and below them what TRL says of prompts of messages."""
    lines: list[str] = []
    for tokens, errors in dict.fromkeys((row["tokens"], row["errors"]) for row in rows):
        lines.append(f"\n{tokens:,} tokens, {errors} errors")
        lines.append(f"{'':46}{'seconds':>9}{'corrections/s':>15}{'peak MiB':>10}{'loss':>14}")
        for row in rows:
            if (row["tokens"], row["errors"]) == (tokens, errors):
                peak = "?" if row["peak_bytes"] is None else f"{row['peak_bytes'] / 2**20:,.0f}"
                rate = f"{row['seconds']:>9.3f}{row['corrections_per_second']:>15.2f}"
                lines.append(f"{row['method']:46}{rate}{peak:>10}{row['loss']:>14.6g}")
    lines.append("")
    for name in taken:
        lines += [f"{name}, a prompt that ends with a {end} turn is {said}" for end, said in taken[name].items()]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    made = parser()
    made.prog, made.description = "python -m distill.beside_trl", (__doc__ or "").partition("\n")[0]
    made.set_defaults(model="random:5M", tokens=[4_096], errors=[1, 8], hint_tokens=16, turn_tokens=40)
    options = asked(made, arguments)
    if missing := [name for name in ("trl", "jinja2") if not find_spec(name)]:
        made.error(
            f"{' and '.join(missing)} not installed here; `make bench-trl` makes an environment that has all of it"
        )
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")  # about TRL's own settings
    print(f"TRL {version('trl')} beside ours; {about(options.model, options)}", file=sys.stderr)
    rows, taken = beside(options), messages_taken(options)
    print(json.dumps({"rows": rows, "prompts": taken}, indent=2) if options.json else table(rows, taken))


if __name__ == "__main__":
    main()
