"""The attention of branches in one stage: every branch token looks at the keys of all trunks and branches in one line,
and a mask says which of them it sees.

It is here to be measured beside `distill.branches`, which needs no mask, by `python -m distill bench`. The kernels are
`by_sdpa`, and `by_flex`, which skips the blocks of keys that nobody sees. Left out: sliding windows, soft caps, sinks.
Shapes: H heads, K heads of keys, W branch tokens in all, T trunk tokens, S keys in all, D wide.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

import torch
from torch.nn.attention.flex_attention import create_block_mask, flex_attention
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from distill.branches import Branches, attention

NAME = "hintsight_branches_in_one_stage"
Seen = Callable[..., torch.Tensor]
"""Whether a query sees a key: of batch, head, the query's place and the key's, as flex_attention asks it."""
Attended = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, float], torch.Tensor]
"""Outputs [1, H, W, D] of queries, keys and values, by the scale of their scores."""
Kernel = Callable[[Seen, int, int, torch.device], Attended]
"""An attention of W queries to S keys, which it prepares for once a pass."""


def one_stage(model: Any, kernel: Kernel) -> AbstractContextManager[None]:
    """Within it, the model's layers attend as branches do, by this kernel; for `on_branches`."""
    ALL_ATTENTION_FUNCTIONS.register(NAME, _OneStage(kernel))
    return attention(model, NAME)


def by_sdpa(seen: Seen, queries: int, keys: int, device: torch.device) -> Attended:
    """PyTorch's scaled_dot_product_attention, with the mask whole."""
    mask_WS = seen(0, 0, torch.arange(queries, device=device)[:, None], torch.arange(keys, device=device))

    def attended(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float) -> torch.Tensor:
        return torch.nn.functional.scaled_dot_product_attention(
            query, key, value, attn_mask=mask_WS, scale=scale, enable_gqa=True
        )

    return attended


def by_flex(seen: Seen, queries: int, keys: int, device: torch.device) -> Attended:
    """PyTorch's flex_attention, compiled on a GPU."""
    blocks = create_block_mask(seen, None, None, queries, keys, device=device.type)
    kernel: Any = _compiled() if device.type == "cuda" else flex_attention

    def attended(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float) -> torch.Tensor:
        out: torch.Tensor = kernel(query, key, value, block_mask=blocks, scale=scale, enable_gqa=True)
        return out

    return attended


@cache
def _compiled() -> Callable[..., Any]:
    return torch.compile(flex_attention)


class _OneStage:
    """The attention function that transformers' layers call; its kernel is prepared at a pass's first layer."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.prepared: tuple[Branches, Attended] | None = None

    def __call__(
        self,
        module: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        _mask: Any,
        *,
        branches: Branches,
        scaling: float | None = None,
        **_: Any,
    ) -> tuple[torch.Tensor, None]:
        """[1, H, W, D] of queries to [1, W, H, D] of outputs."""
        trunk_key, trunk_value = branches.keys[module.layer_idx]
        key, value = (
            torch.cat([trunk.transpose(0, 1).flatten(1, 2)[None].to(own.dtype), own], 2)
            for trunk, own in ((trunk_key, key), (trunk_value, value))
        )
        if self.prepared is None or self.prepared[0] is not branches:
            seen = _seen(branches, trunk_key.shape[0], trunk_key.shape[2], query.device)
            self.prepared = branches, self.kernel(seen, query.shape[2], key.shape[2], query.device)
        scale = query.shape[-1] ** -0.5 if scaling is None else scaling
        return self.prepared[1](query, key, value, scale).transpose(1, 2), None


def _seen(branches: Branches, trunks: int, length: int, device: torch.device) -> Seen:
    """A branch token sees its trunk up to where its branch leaves, and its branch up to itself."""
    lengths = torch.tensor([leaf.length for leaf in branches.leaves], device=device)
    leaf_W = torch.arange(len(lengths), device=device).repeat_interleave(lengths)
    row_W = torch.tensor([leaf.row for leaf in branches.leaves], device=device)[leaf_W]
    start_W = torch.tensor([leaf.start for leaf in branches.leaves], device=device)[leaf_W]
    above = trunks * length

    def seen(_batch: Any, _head: Any, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        place = (key - above).clamp_min(0)
        own = (key >= above) & (leaf_W[place] == leaf_W[query]) & (place <= query)
        trunk = (key < above) & (key // length == row_W[query]) & (key % length < start_W[query])
        return own | trunk

    return seen
