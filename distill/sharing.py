"""The keys and values of trunks: kept whole by a pass over them, and which models can share them.

transformers' own cache drops what a sliding layer will not see again, and copies what it appends. Here a pass keeps
what every layer hands in, as it is, so that branches can leave anywhere. Keeping twice keeps the same, so a layer whose
activations are made again in the backward pass (`checkpointed`) may keep again.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer, DynamicSlidingWindowLayer
from transformers.modeling_layers import GradientCheckpointingLayer

from distill.branches import Keys, attention

KNOWN_LAYERS = {"full_attention", "sliding_attention"}


class KeptLayer(DynamicLayer):
    """One layer's keys and values in one pass, below those of an earlier pass where there are some."""

    def __init__(self, before: tuple[torch.Tensor, torch.Tensor] | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.before = before

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if self.before:
            key_states = torch.cat([self.before[0], key_states], dim=-2)
            value_states = torch.cat([self.before[1], value_states], dim=-2)
        self.keys, self.values = key_states, value_states
        return key_states, value_states

    def get_seq_length(self) -> int:
        """Of what came before this pass: transformers asks for it at the start of one."""
        return self.before[0].shape[-2] if self.before else 0


class KeptKeys(Cache):
    """What a pass is given to keep its keys and values, all of them; `before` are an earlier pass's."""

    def __init__(self, before: Keys = ()) -> None:
        super().__init__(layer_class_to_replicate=KeptLayer)
        self.layers.extend(KeptLayer(pair) for pair in before)

    @property
    def kept(self) -> Keys:
        layers: list[Any] = self.layers
        return [(layer.keys, layer.values) for layer in layers]


def why_not_shared(model: Any) -> str:
    """Why the branches of a trunk can't share its keys and values in this model; empty where they can."""
    config = model.config.get_text_config()
    if not model._supports_attention_backend:
        return f"{config.model_type} has an attention of its own"
    types = {type(layer) for layer in DynamicCache(config=model.config).layers}
    if strange := sorted(kind.__name__ for kind in types - {DynamicLayer, DynamicSlidingWindowLayer}):
        return f"{config.model_type} has layers without keys and values of their own ({strange[0]})"
    if strange := sorted(set(getattr(config, "layer_types", None) or ()) - KNOWN_LAYERS):
        return f"{config.model_type} has layers of the type {strange[0]}"
    if getattr(config, "num_kv_shared_layers", 0):
        return f"{config.model_type} has layers that share keys with each other"
    if any(kind in str(getattr(config, "rope_parameters", "")) for kind in ("'longrope'", "'dynamic'")):
        return f"{config.model_type} turns its keys by the length of the context that they are in"
    if getattr(config, "expert_capacity", None) or getattr(config, "capacity_factor", None):
        return f"{config.model_type} routes a token by what else is in its batch"
    return ""


def checkpointed(model: Any) -> None:
    """Make a layer's activations again in the backward pass in place of keeping them; the trunk is kept all the same.

    transformers does so with layers in training mode only, and takes their cache away. The layers' own flags are set,
    and not their parts', so that dropout stays as it is. A layer is gone through again with the attention that it had.
    """

    def again() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), attention(model, model.config._attn_implementation)

    newer = getattr(model, "activation_checkpointing_enable", None)  # the name since transformers 5.23
    (newer or model.gradient_checkpointing_enable)({"use_reentrant": False, "context_fn": again})
    for layer in model.modules():
        if isinstance(layer, GradientCheckpointingLayer):
            layer.training = True
            layer._can_checkpoint_with_cache = True
