"""LoRA: a small adapter is trained in place of the model."""

import warnings
from typing import Any

from distill.config import Scale
from envs.policies.loading import EMBEDDED
from tools.command import InputError


def adapted(model: Any, scale: Scale) -> Any:
    """`model` with a new adapter in its linear layers, and nothing else to be trained; or as it is, where none is asked
    for. The same model, with the adapter in it, goes on to act.

    Raises InputError where peft is missing, or finds no layers.
    """
    if not scale.lora:
        return model
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise InputError("--lora needs the peft package: pip install 'hintsight[lora]'") from error
    config = LoraConfig(
        r=scale.lora,
        lora_alpha=scale.lora_alpha or 2 * scale.lora,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    for name, folder in EMBEDDED.items():
        if str(getattr(model, "name_or_path", "")) == str(folder):
            model.name_or_path = model.config._name_or_path = name
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers in an old way
            return get_peft_model(model, config)
    except ValueError as error:
        raise InputError(f"this model can't have a LoRA adapter: {error}") from error
