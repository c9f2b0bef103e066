"""Attention of a long trunk where transformers' own would hold a number for every pair of its tokens.

sdpa's causal kernel holds none. But a sliding window or a prefix of earlier keys makes sdpa take a mask of [T, T], and
capped scores or attention sinks make it scores of [H, T, T], in every layer: 10 GB a mask at 100,000 tokens. Here
queries are taken a block at a time, each with the keys that it sees, so that a sliding layer costs its window only; and
a block's mask and scores are made again in the backward pass in place of being kept.

Left out: what isn't sdpa or eager (flash_attention_2 and flex_attention hold no pairs), and branches
(`distill.branches`). Shapes: B rows, H heads, K heads of keys, Q queries, T keys, D wide.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch.nn.functional import dropout as dropped
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from distill.branches import attention, distances, wide
from distill.sharing import why_not_shared

NAME = "hintsight_blocks"
QUERIES = 1024
"""The most queries of a block; a pass over fewer tokens is the model's own."""
SCORES = 2**28
"""Scores of a block: 1 GiB in fp32."""


def block_attention(model: Any, tokens: int) -> AbstractContextManager[None]:
    """Within it, the model's layers attend in blocks, if so many tokens make it worth while."""
    if tokens <= QUERIES or model.config._attn_implementation not in ("sdpa", "eager") or why_not_shared(model):
        return nullcontext()
    ALL_ATTENTION_FUNCTIONS.register(NAME, attend)
    return attention(model, NAME)


def attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    _mask: Any,
    *,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """The attention function that transformers' layers call: [B, H, Q, D] of queries to [B, Q, H, D] of outputs."""
    queries, keys = query.shape[2], key.shape[2]
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    layer = Layer(scale, min(sliding_window or keys, keys), softcap, dropout)
    if layer.window == keys == queries and softcap is None and s_aux is None:
        out: torch.Tensor = sdpa_attention_forward(module, query, key, value, None, dropout=dropout, scaling=scale)[0]
        return out, None
    query, key = query.to(value.dtype), key.to(value.dtype)  # under autocast, rotated ones come in fp32
    past, blocks = keys - queries, []
    rows = min(QUERIES, max(1, SCORES // (query.shape[0] * query.shape[1] * layer.window)))
    for first in range(0, queries, rows):
        end = min(first + rows, queries)
        seen = slice(max(0, past + first + 1 - layer.window), past + end)
        block = query[:, :, first:end], key[:, :, seen], value[:, :, seen]
        blocks.append(checkpoint(layer, *block, s_aux, use_reentrant=False, preserve_rng_state=dropout > 0))
    return torch.cat(blocks, 2).transpose(1, 2).contiguous(), None


class Layer(NamedTuple):
    """What a layer does to its scores."""

    scale: float
    window: int
    softcap: float | None
    dropout: float

    def __call__(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, sinks_H: torch.Tensor | None
    ) -> torch.Tensor:
        """The output of some queries, of which the last one's key is the last: [B, H, Q, D]."""
        groups = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
        queries, keys = query.shape[2], key.shape[2]
        distance_QT = distances(queries, keys, keys - queries, query.device)
        seen_QT = (distance_QT >= 0) & (distance_QT < self.window)
        if self.softcap is None and sinks_H is None:
            return scaled_dot_product_attention(
                query, key, value, attn_mask=seen_QT, dropout_p=self.dropout, scale=self.scale
            )
        scores = (query @ key.transpose(-1, -2)).to(wide(query)) * self.scale
        if self.softcap is not None:
            scores = (scores / self.softcap).tanh() * self.softcap
        scores = scores.masked_fill(~seen_QT, -torch.inf)
        if sinks_H is not None:
            sinks = sinks_H.to(scores.dtype)[:, None, None].expand(*scores.shape[:-1], 1)
            scores = torch.cat([scores, sinks], -1)
        weights = dropped(scores.softmax(-1)[..., :keys], self.dropout)
        return weights.to(value.dtype) @ value
