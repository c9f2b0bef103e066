"""A model and its tokenizer from a folder or a hub name, with or without a LoRA adapter.

What can't be loaded as it is, or would not be what its files say, is refused with the reason. Left out: sampling
(`envs.policies.hf`), and how the model wants its messages (`envs.context`).
"""

import json
import re
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer
from transformers.utils.logging import disable_progress_bar

from tools.command import InputError

TINY = Path(__file__).parent / "tiny"

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_FAILURES = (OSError, ValueError, RuntimeError, ImportError, KeyError, SafetensorError)
"""What transformers and peft raise where files are missing, broken, or of a kind that they don't know."""


def load_model(path: str | Path) -> tuple[Any, Any]:
    """A causal LM and its tokenizer, in fp32 on a CPU and in bf16 on a GPU.

    `path` is a model's folder, the folder of a LoRA adapter, which is merged into its model, or a hub name
    (`owner/name`). Raises InputError for what is none of these, and for a checkpoint that lacks weights.
    """
    disable_progress_bar()
    folder = Path(path)
    if (folder / "adapter_config.json").is_file():
        return _with_adapter(folder)
    return _base(path, path)


def _base(path: str | Path, tokenizer_path: str | Path) -> tuple[Any, Any]:
    folder = Path(path)
    known = (folder / "config.json").is_file()
    if not known and (folder.exists() or not _HUB_NAME.fullmatch(str(path))):
        what = "it has no config.json" if folder.is_dir() else "there is none"
        raise InputError(
            f"{path} is no model folder: {what} (give 'tiny', a Hugging Face checkpoint or a LoRA adapter)"
        )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    try:
        tokenizer = AutoTokenizer.from_pretrained(tokenizer_path)
        from_pretrained: Any = AutoModelForCausalLM.from_pretrained
        model, loaded = from_pretrained(path, dtype=dtype, attn_implementation="sdpa", output_loading_info=True)
    except _FAILURES as error:
        raise InputError(f"{path} can't be loaded as a causal language model: {error}") from error
    if missing := sorted(loaded["missing_keys"]):
        raise InputError(
            f"{path} lacks weights, which would be random: {', '.join(missing[:3])} ({len(missing)} in all)"
        )
    if len(tokenizer) > (known := model.get_input_embeddings().num_embeddings):
        raise InputError(f"{path} has a tokenizer with {len(tokenizer)} tokens, and a model that knows {known}")
    return model.to(device).eval(), tokenizer


def _with_adapter(folder: Path) -> tuple[Any, Any]:
    """The adapter's model with the adapter merged into it; its tokenizer is the adapter's, where it has one."""
    try:
        from peft import PeftModel
    except ImportError as error:
        raise InputError("a LoRA adapter needs the peft package: pip install 'hintsight[lora]'") from error
    base = _adapted(folder)
    own = (folder / "tokenizer_config.json").is_file()
    model, tokenizer = _base(base, folder if own else base)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers in an old way
            adapted: Any = PeftModel.from_pretrained(model, folder)
            merged = adapted.merge_and_unload()
    except (*_FAILURES, AttributeError, TypeError) as error:
        raise InputError(f"the adapter in {folder} does not fit its model {base}: {error}") from error
    return merged.eval(), tokenizer


def _adapted(folder: Path) -> str | Path:
    """The model that an adapter is for; a path in it counts from where we are, or else from the adapter's folder."""
    try:
        base = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8")).get("base_model_name_or_path")
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"the adapter_config.json in {folder} can't be read: {error}") from error
    if not isinstance(base, str) or not base:
        raise InputError(f"the adapter_config.json in {folder} names no model: expected base_model_name_or_path")
    if base == "tiny":
        return TINY
    places = (Path(base), folder / base)
    return next((place for place in places if (place / "config.json").is_file()), base)


def longest_context(model: Any) -> int:
    """How many tokens a conversation may have.

    A layer that looks at a window only is held like any other, so a conversation must fit into the window. Raises
    InputError for a model with layers that remember in another way than by keys and values.
    """
    config = model.config.get_text_config()
    longest = next(
        (int(known) for name in ("max_position_embeddings", "n_positions") if (known := getattr(config, name, None))),
        2**20,
    )
    for layer in DynamicCache(config=model.config).layers:
        if type(layer) is DynamicSlidingWindowLayer:
            longest = min(longest, int(config.sliding_window))
        elif type(layer) is not DynamicLayer:
            raise InputError(
                f"a model of the type {config.model_type} has layers without keys and values of their own "
                f"({type(layer).__name__}): serve it, and give openai:MODEL@BASE_URL"
            )
    return longest
