"""What corrections cost beside a plain update of the model, on this machine: every way in one run, side by side.

    python -m distill bench                                             # a random model of 100M parameters
    python -m distill bench --model random:5M --tokens 4096 --errors 8 --hint-tokens 16 --turn-tokens 40
    python -m distill bench --model PATH --tokens 20480 --errors 1,3,8 --json

It needs torch and transformers and nothing else of what hintsight needs, so that `python -m distill.bench` runs on any
machine with a GPU. A trajectory is random tokens with erroneous turns at even distances; each is asked for all of its
tokens, and has a hint. `distill.ways` are the ways. Left out: rollouts, the optimizer's step, several trajectories a
pass.
"""

import argparse
import ctypes
import gc
import json
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import product
from pathlib import Path
from random import Random
from statistics import median
from typing import Any, NamedTuple

import torch
import transformers

from distill.prefill import Branch, Trunk
from distill.sharing import checkpointed, why_not_shared
from distill.ways import (
    DETACHED,
    NAIVE,
    PLAIN,
    TEACHER_NAIVE,
    TEACHER_REUSED,
    Said,
    Way,
    gradient_cosine,
    ways,
)

Row = Mapping[str, Any]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def bench(options: argparse.Namespace) -> Iterator[list[Row]]:
    """A row for each way, number of tokens and number of errors: those of the same numbers together, as they come."""
    model = load(options)
    if reason := why_not_shared(model):
        print(f"every hinted context is read whole, since {reason}", file=sys.stderr)
    for tokens, errors in product(options.tokens, options.errors):
        trunk = trajectory(model, tokens, errors, options)
        every = ways(model, trunk)
        chosen = {name: every[name] for name in every if any(part in name for part in options.only.split(","))}
        found = measured(chosen, options.repeats)
        plain = median(found[PLAIN].seconds) if PLAIN in found else None
        rows: list[Row] = []
        for method, one in found.items():
            row = {
                "method": method,
                "tokens": tokens,
                "errors": errors,
                "seconds": median(one.seconds),
                "relative": median(one.seconds) / plain if plain else None,
                "peak_bytes": one.peak,
                "max_abs_diff": one.said.apart(found[NAIVE].said) if NAIVE in found else None,
            }
            rows.append({**row, "gradient_cosine": gradient_cosine(model, trunk)} if method == DETACHED else row)
        yield rows


class Timed(NamedTuple):
    """What is known of one way: what it says, its memory, and the seconds of its repeats."""

    said: Said
    peak: int | None
    seconds: list[float]


def measured(named: Mapping[str, Way], repeats: int) -> dict[str, Timed]:
    """Every way once for its memory and what it says, then all of them in turn for their time, if that isn't enough.

    A way that the device has no memory for is left out, and said to be.
    """
    found: dict[str, Timed] = {}
    for name, way in named.items():
        room, began = Room(), _now()
        try:
            said = way()
        except torch.OutOfMemoryError:
            print(f"out of memory: {name}", file=sys.stderr)
            continue
        _wait()
        found[name] = Timed(said, room.peak(), [] if repeats else [_now() - began])
        print(f"{_now() - began:.1f} s for the first time: {name}", file=sys.stderr)
    for _ in range(repeats):
        for name, timed in found.items():
            _wait()
            began = _now()
            named[name]()
            _wait()
            timed.seconds.append(_now() - began)
    return found


class Room:
    """The most memory that was in use since it was made, above what was in use then.

    On a GPU the allocator says it. On a CPU it is the resident memory of the process, whose peak Linux keeps; where
    that can't be asked for, nothing is known.
    """

    def __init__(self) -> None:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
            self.before: int | None = torch.cuda.memory_allocated()
        else:
            with suppress(OSError, AttributeError):
                ctypes.CDLL("libc.so.6").malloc_trim(0)
            with suppress(OSError):
                Path("/proc/self/clear_refs").write_text("5")
            self.before = _resident("VmRSS")

    def peak(self) -> int | None:
        if torch.cuda.is_available():
            return torch.cuda.max_memory_allocated() - (self.before or 0)
        now = _resident("VmHWM")
        return None if now is None or self.before is None else now - self.before


def _resident(name: str) -> int | None:
    with suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith(name)).split()[1])
    return None


def _now() -> float:
    """Seconds; of one thread on a CPU those that it computed for, which other programs don't add to."""
    alone = not torch.cuda.is_available() and torch.get_num_threads() == 1
    return time.process_time() if alone else time.perf_counter()


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def load(options: argparse.Namespace) -> Any:
    """The model to measure, in evaluation mode, so that no dropout makes ways differ."""
    settings: dict[str, Any] = {"dtype": DTYPES[options.dtype]}
    if options.attention:
        settings["attn_implementation"] = options.attention
    torch.manual_seed(0)
    if options.model.startswith("random:"):
        longest = 2 * max(options.tokens)
        shape = sizes(parameters(options.model), options.vocabulary)
        config = transformers.Qwen3Config(**shape, max_position_embeddings=longest)
        with torch.device(options.device):  # where random numbers come fast
            model = transformers.AutoModelForCausalLM.from_config(config, **settings)
    else:
        model = transformers.AutoModelForCausalLM.from_pretrained(options.model, **settings)
    model = model.to(options.device).eval()
    if options.recompute:
        checkpointed(model)
    return model


def parameters(name: str) -> int:
    """'random:100M' to 100,000,000."""
    units = {"K": 10**3, "M": 10**6, "B": 10**9}
    size = name.removeprefix("random:")
    return int(float(size[:-1]) * units[size[-1].upper()])


def sizes(wanted: int, vocabulary: int = 0) -> dict[str, Any]:
    """A Qwen3 of about so many parameters: as deep as its width over 64, its vocabulary large where it is."""
    vocabulary = vocabulary or (151_936 if wanted >= 300_000_000 else 4_096)

    def counted(width: int) -> int:
        return vocabulary * width + 12 * (width // 64) * width**2

    width = min(range(128, 16_384, 64), key=lambda width: abs(math.log(counted(width) / wanted)))
    return {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": 3 * width,
        "num_hidden_layers": width // 64,
        "num_attention_heads": width // 64,
        "num_key_value_heads": width // 64 if width // 64 % 2 else width // 128,
        "head_dim": 64,
        "tie_word_embeddings": True,
    }


def trajectory(model: Any, tokens: int, errors: int, options: argparse.Namespace) -> Trunk:
    """Random tokens with erroneous turns at even distances, none of them at the end; asked for all of their tokens."""
    rng = Random(0)
    vocabulary = model.config.get_text_config().vocab_size
    turn, hint = options.turn_tokens, options.hint_tokens
    ids = [rng.randrange(vocabulary) for _ in range(tokens)]
    ends = [tokens * (number + 1) // (errors + 1) for number in range(errors)]
    branches: list[Branch] = []
    for end in ends:
        start = end - turn
        hinted = [*(rng.randrange(vocabulary) for _ in range(hint)), *ids[start:end]]
        branches.append(Branch(start, hinted, range(start + hint, end + hint)))
    return Trunk(ids, [position for end in ends for position in range(end - turn, end)], branches)


def table(rows: Sequence[Row]) -> str:
    """The rows as text, a table for each number of tokens and errors."""
    lines: list[str] = []
    for tokens, errors in dict.fromkeys((row["tokens"], row["errors"]) for row in rows):
        some = [row for row in rows if (row["tokens"], row["errors"]) == (tokens, errors)]
        lines.append(f"\n{tokens:,} tokens, {errors} errors")
        lines.append(f"{'':44}{'seconds':>9}{'of plain':>10}{'peak MiB':>10}{'differs by':>12}")
        for row in some:
            peak = "?" if row["peak_bytes"] is None else f"{row['peak_bytes'] / 2**20:,.0f}"
            apart = "" if row["max_abs_diff"] is None else f"{row['max_abs_diff']:.1e}"
            relative = "" if row["relative"] is None else f"{row['relative']:.3f}"
            line = f"{row['method']:44}{row['seconds']:>9.3f}{relative:>10}{peak:>10}{apart:>12}".rstrip()
            cosine = row.get("gradient_cosine")
            lines.append(line if cosine is None else f"{line}  gradient cosine {cosine:.3f}")
        of = {row["method"]: row["seconds"] for row in some}
        if TEACHER_NAIVE in of and TEACHER_REUSED in of:
            cheaper = of[TEACHER_NAIVE] / of[TEACHER_REUSED]
            lines.append(f"the teacher alone, its trunk reused, is {cheaper:.1f} times cheaper than naive")
    return "\n".join(lines)


def about(model_name: str, options: argparse.Namespace) -> str:
    """What was measured, and on what."""
    on_gpu = options.device.startswith("cuda")
    device = torch.cuda.get_device_name() if on_gpu else f"CPU, {torch.get_num_threads()} threads"
    memory = "the allocator's" if on_gpu else "of the process, by Linux"
    return (
        f"{model_name}, {options.dtype}, {device}; hints of {options.hint_tokens} and turns of {options.turn_tokens} "
        f"tokens; median of {options.repeats or 1}; peak memory {memory}, above what was in use before"
    )


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def parser() -> argparse.ArgumentParser:
    """argparse's own, since nothing may be needed but torch and transformers."""
    on_gpu = torch.cuda.is_available()
    made = argparse.ArgumentParser(prog="python -m distill bench", description=(__doc__ or "").partition("\n")[0])
    made.add_argument("--model", default="random:100M", help="a Hugging Face model folder, or random:SIZE (K, M, B)")
    made.add_argument("--tokens", type=_numbers, default=[4_096, 20_480], help="tokens of a trajectory, some of them")
    made.add_argument("--errors", type=_numbers, default=[1, 3, 8], help="erroneous turns in it, some of them")
    made.add_argument("--hint-tokens", type=int, default=60, help="tokens of a hint with its message")
    made.add_argument("--turn-tokens", type=int, default=300, help="tokens of an erroneous turn")
    made.add_argument("--vocabulary", type=int, default=0, help="of a random model; else by its size")
    made.add_argument("--only", default="", help="the ways that have this, or one of these, in their names")
    made.add_argument("--dtype", choices=DTYPES, default="bf16" if on_gpu else "fp32")
    made.add_argument("--device", default="cuda" if on_gpu else "cpu")
    made.add_argument("--attention", default="", help="the trunk's, as transformers names them; else the model's own")
    made.add_argument("--recompute", action="store_true", help="make activations again in the backward pass")
    made.add_argument("--repeats", type=int, default=3, help="times that each way is timed; 0: as its memory is")
    shape = made.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="print the rows as a list")
    shape.add_argument("--table", action="store_true", help="print them as tables (the default)")
    return made


def asked(made: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options; what can't be measured ends the program, with what is wrong."""
    options = made.parse_args(arguments)
    if min([*options.tokens, *options.errors, options.hint_tokens, options.turn_tokens, options.repeats + 1]) < 1:
        made.error("expected tokens, errors, hint tokens and turn tokens from 1, and repeats from 0")
    for tokens, errors in product(options.tokens, options.errors):
        if tokens // (errors + 1) <= options.turn_tokens + 1:
            made.error(f"{errors} turns of {options.turn_tokens} tokens don't fit into {tokens}")
    if options.model.startswith("random:"):
        try:
            parameters(options.model)
        except (ValueError, KeyError, IndexError):
            made.error(f"expected a size like random:100M, came {options.model}")
    elif not Path(options.model).is_dir():
        made.error(f"{options.model} is no model folder; give one, or random:SIZE")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    options = asked(parser(), arguments)
    print(about(options.model, options), file=sys.stderr)
    rows: list[Row] = []
    for some in bench(options):
        rows += some
        if not options.json:
            print(table(some), flush=True)
    if options.json:
        print(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
