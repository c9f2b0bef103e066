"""A model and its tokenizer from a folder or a hub name, with or without a LoRA adapter.

What can't be loaded as it is, or would not be what its files say, is refused with the reason. Left out: sampling
(`envs.policies.hf`), and how the model wants its messages (`envs.context`).
"""

import json
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer
from transformers.utils.logging import disable_progress_bar

from tools.command import InputError

TINY = Path(__file__).parent / "tiny"
EMBEDDED = {"tiny": TINY, "tiny-shift": TINY / "shift"}
"""The models that are shipped, by name."""

ADAPTER = "adapter_config.json"
HUB_FILES = ["*.json", "*.jinja", "*.safetensors", "*.txt", "*.model"]
"""What is taken of a model on the hub: others have the same weights again, in other forms."""

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_FAILURES = (OSError, ValueError, RuntimeError, ImportError, KeyError, SafetensorError)
"""What transformers and peft raise where files are missing, broken, or of a kind that they don't know."""


def is_hub_name(path: str) -> bool:
    """Whether it has the form `owner/name`."""
    return _HUB_NAME.fullmatch(path) is not None


def model_folder(path: str | Path) -> Path:
    """The folder of a model or an adapter: an embedded one goes by its name, a hub name's is in the local cache.

    What the cache lacks is downloaded. Raises InputError where there is neither a folder nor such a model.
    """
    folder = EMBEDDED.get(str(path), Path(path))
    if folder.exists() or not is_hub_name(str(path)):
        if not any((folder / name).is_file() for name in ("config.json", ADAPTER)):
            what = "it has no config.json" if folder.is_dir() else "there is none"
            raise InputError(
                f"{path} is no model folder: {what} (give 'tiny', a Hugging Face checkpoint or a LoRA adapter)"
            )
        return folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(str(path), allow_patterns=HUB_FILES))
    except LocalEntryNotFoundError as error:
        why = f"it is not in the local cache, and the hub can't be reached ({error.__cause__ or 'offline'})"
    except (HfHubHTTPError, OSError, ValueError) as error:
        why = str(error).strip().partition("\n")[0]
    raise InputError(f"no folder {path}, and no model of that name on the hub: {why}")


def load_model(path: str | Path) -> tuple[Any, Any]:
    """A causal LM and its tokenizer, in fp32 on a CPU and in bf16 on a GPU.

    `path` is a model's folder, the folder of a LoRA adapter, which is merged into its model, or a hub name
    (`owner/name`). Raises InputError for what is none of these, and for a checkpoint that lacks weights.
    """
    disable_progress_bar()
    folder = model_folder(path)
    return _with_adapter(folder) if is_adapter(folder) else _base(folder, folder)


def is_adapter(folder: Path) -> bool:
    return (folder / ADAPTER).is_file()


def without_planning() -> None:
    """Leave cuDNN's attention out, in this whole process: torch prefers it on a Hopper GPU, and it is planned anew for
    every length, which takes a tenth of a second, where lengths hardly repeat."""
    torch.backends.cuda.enable_cudnn_sdp(False)


def _base(path: Path, tokenizer_path: Path) -> tuple[Any, Any]:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    without_planning()
    try:
        tokenizer = AutoTokenizer.from_pretrained(tokenizer_path)
        from_pretrained: Any = AutoModelForCausalLM.from_pretrained
        model, loaded = from_pretrained(path, dtype=dtype, output_loading_info=True)
    except _FAILURES as error:
        raise InputError(f"{path} can't be loaded as a causal language model: {error}") from error
    if missing := sorted(loaded["missing_keys"]):
        raise InputError(
            f"{path} lacks weights, which would be random: {', '.join(missing[:3])} ({len(missing)} in all)"
        )
    if len(tokenizer) > (known := model.get_input_embeddings().num_embeddings):
        raise InputError(f"{path} has a tokenizer with {len(tokenizer)} tokens, and a model that knows {known}")
    if getattr(model.config.get_text_config(), "attn_logit_softcapping", None):
        model.set_attn_implementation("eager")  # sdpa has no cap, and transformers 5.17 leaves it out without a word
    return model.to(device).eval(), tokenizer


def _with_adapter(folder: Path) -> tuple[Any, Any]:
    """The adapter's model with the adapter merged into it; its tokenizer is the adapter's, where it has one."""
    try:
        from peft import PeftModel
    except ImportError as error:
        raise InputError("a LoRA adapter needs the peft package: pip install 'hintsight[lora]'") from error
    base = model_folder(_adapted(folder))
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
        base = json.loads((folder / ADAPTER).read_text(encoding="utf-8")).get("base_model_name_or_path")
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"the adapter_config.json in {folder} can't be read: {error}") from error
    if not isinstance(base, str) or not base:
        raise InputError(f"the adapter_config.json in {folder} names no model: expected base_model_name_or_path")
    if base in EMBEDDED:
        return EMBEDDED[base]
    places = (Path(base), folder / base)
    return next((place for place in places if (place / "config.json").is_file()), base)


def stop_ids_of(config: Any) -> Sequence[int]:
    """The tokens that end a turn by a model's (generation) config."""
    ids = getattr(config, "eos_token_id", None)
    if ids is None:
        return ()
    return (ids,) if isinstance(ids, int) else list(ids)


def usual_tokens(config: Any) -> int | None:
    """A turn's limit by a model's (generation) config."""
    most = getattr(config, "max_new_tokens", None)
    return most if isinstance(most, int) and most > 0 else None


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
