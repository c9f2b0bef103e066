"""Attention of branches: each looks at its own part of a trunk's keys and values, and at itself, and nothing is masked.

It is done in two stages. The first reads the trunk, a branch at a time, all of it up to where the branch leaves; the
second is causal attention within each branch. Both give the log-sum-exp of their scores with their output, and by it
they are merged into what one softmax over all keys gives, exactly. So the kernels are the fast ones that take no mask,
the trunk's keys are not copied, nor repeated for the query heads that share them, and the branches of all trunks lie in
one row without padding. Attention sinks are one more term of the merge. A sliding window or a soft cap makes the scores
plainly, of a window of the trunk only.

Source of the merge: T. Dao et al., "FlashAttention", NeurIPS 2022, section 3.1. With a gradient, which no teacher has,
scores are made plainly, since the kernels' log-sum-exp has none. Shapes: H heads, K heads of keys, W branch tokens in
all, N branches of at most L tokens, T trunk tokens, D wide.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple

import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

NAME = "hintsight_branches"
Keys = Sequence[tuple[torch.Tensor, torch.Tensor]]
"""The keys and values of some trunks by layer, each [trunks, K, T, D]."""


class Leaf(NamedTuple):
    """Where a branch lies: its trunk's row, how many of the trunk's keys it sees, its first token and its length."""

    row: int
    start: int
    first: int
    length: int


class Branches(NamedTuple):
    """All branches of a pass, with the keys that they leave."""

    keys: Keys
    leaves: Sequence[Leaf]

    def padded(self, row_HWD: torch.Tensor) -> torch.Tensor:
        """The branches side by side, [N, H, L, D], with zeros behind the shorter ones."""
        parts = [row_HWD[:, leaf.first : leaf.first + leaf.length].transpose(0, 1) for leaf in self.leaves]
        return torch.nn.utils.rnn.pad_sequence(parts, batch_first=True).transpose(1, 2)


def branch_attention(model: Any) -> AbstractContextManager[None]:
    """Within it, the model's layers attend as branches do; they have to be given `branches`."""
    ALL_ATTENTION_FUNCTIONS.register(NAME, attend)
    return attention(model, NAME)


@contextmanager
def attention(model: Any, name: str) -> Iterator[None]:
    """Within it, the model's layers have the attention of that name."""
    kept = model.config._attn_implementation
    model.config._attn_implementation = name
    try:
        yield
    finally:
        model.config._attn_implementation = kept


def attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    _mask: Any,
    *,
    branches: Branches,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """The attention function that transformers' layers call: [1, H, W, D] of queries to [1, W, H, D] of outputs."""
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    layer = Layer(scale, sliding_window, softcap)
    query, key = query.to(value.dtype), key.to(value.dtype)  # under autocast, rotated ones come in fp32
    query_HWD, groups = query[0], query.shape[1] // key.shape[1]
    trunk_key, trunk_value = branches.keys[module.layer_idx]
    trunk_key, trunk_value = trunk_key.to(value.dtype), trunk_value.to(value.dtype)
    if expand := getattr(module, "expand_kv", None):  # latent attention keeps its keys and values compressed
        trunk_key, trunk_value = expand(trunk_key, trunk_value)
    stages = [
        layer.trunk(
            query_HWD[:, leaf.first : leaf.first + leaf.length],
            trunk_key[leaf.row, :, : leaf.start],
            trunk_value[leaf.row, :, : leaf.start],
        )
        for leaf in branches.leaves
    ]
    above_HWD, above_HW = (torch.cat(parts, 1) for parts in zip(*stages, strict=True))
    own = layer.own(
        branches.padded(query_HWD),
        branches.padded(key[0]).repeat_interleave(groups, 1),
        branches.padded(value[0]).repeat_interleave(groups, 1),
    )
    lengths = [leaf.length for leaf in branches.leaves]
    own_HWD, own_HW = (
        torch.cat([part[:, :length] for part, length in zip(padded, lengths, strict=True)], 1) for padded in own
    )
    total_HW = torch.logaddexp(above_HW, own_HW)
    merged_HWD = above_HWD * (above_HW - total_HW).exp()[..., None] + own_HWD * (own_HW - total_HW).exp()[..., None]
    if s_aux is not None:
        merged_HWD = merged_HWD * (total_HW - s_aux[:, None].to(total_HW.dtype)).sigmoid()[..., None]
    return merged_HWD.to(query.dtype).transpose(0, 1)[None], None


class Layer(NamedTuple):
    """The two stages of one layer; each gives outputs, and the log-sum-exp of the scores that they are weighted by."""

    scale: float
    window: int | None
    softcap: float | None

    def trunk(
        self, query_HLD: torch.Tensor, key_KTD: torch.Tensor, value_KTD: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """A branch's look at its trunk: [H, L, D] and [H, L]. The query heads of a key head stand in one line."""
        heads, length, _ = query_HLD.shape
        past = key_KTD.shape[1]
        window_LT = None
        if self.window is not None:
            first = max(0, past + 1 - self.window)
            key_KTD, value_KTD = key_KTD[:, first:], value_KTD[:, first:]
            distance_LT = distances(length, past - first, past - first, query_HLD.device)
            window_LT = (distance_LT < self.window).repeat(heads // len(key_KTD), 1)
        if key_KTD.shape[1] == 0:
            none = query_HLD.new_full((heads, length), -torch.inf, dtype=wide(query_HLD))
            return query_HLD.new_zeros((heads, length, value_KTD.shape[-1])), none
        lines = query_HLD.reshape(len(key_KTD), -1, query_HLD.shape[-1])
        out, scores = self._weighted(lines[None], key_KTD[None], value_KTD[None], window_LT, causal=False)
        return out.reshape(heads, length, -1), scores.reshape(heads, length)

    def own(
        self, query_NHLD: torch.Tensor, key_NHLD: torch.Tensor, value_NHLD: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Every branch's look at itself: [N, H, L, D] and [N, H, L]."""
        length = query_NHLD.shape[2]
        window_LL = None
        if self.window is not None and length > self.window:
            distance_LL = distances(length, length, 0, query_NHLD.device)
            window_LL = (distance_LL >= 0) & (distance_LL < self.window)
        return self._weighted(query_NHLD, key_NHLD, value_NHLD, window_LL, causal=True)

    def _weighted(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, seen: torch.Tensor | None, *, causal: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Outputs and log-sum-exp; `seen`, a mask, says all where it is given, else every key is seen or `causal`."""
        if seen is None and self.softcap is None and (kernel := _flash(query)):
            width = value.shape[-1]
            filled = torch.nn.functional.pad(
                value, (0, key.shape[-1] - width)
            )  # latent attention's values are narrower
            out, summed = kernel(query, key, filled, 0.0, causal, scale=self.scale)[:2]
            return out[..., :width], summed
        scores = (query @ key.transpose(-1, -2)).to(wide(query)) * self.scale
        if self.softcap is not None:
            scores = (scores / self.softcap).tanh() * self.softcap
        if seen is None and causal:
            seen = distances(query.shape[-2], key.shape[-2], 0, query.device) >= 0
        if seen is not None:
            scores = scores.masked_fill(~seen, -torch.inf)
        summed = scores.logsumexp(-1)
        # A query that sees none of these keys has -inf minus -inf here; its weight in the merge is 0.
        weights = (scores - summed[..., None]).exp().nan_to_num(0.0)
        return weights.to(value.dtype) @ value, summed


def _flash(query: torch.Tensor) -> Callable[..., Any] | None:
    """The kernel that gives the log-sum-exp too, where there is one for this device, type and width."""
    if torch.is_grad_enabled():
        return None
    if query.device.type == "cpu":
        return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    if query.is_cuda and query.dtype in (torch.bfloat16, torch.float16) and query.shape[-1] in range(8, 257, 8):
        return torch.ops.aten._scaled_dot_product_flash_attention
    return None


def distances(queries: int, keys: int, first: int, device: torch.device) -> torch.Tensor:
    """How far before each query each key lies, where the first query stands at the key's place `first`."""
    return torch.arange(first, first + queries, device=device)[:, None] - torch.arange(keys, device=device)


def wide(tensor: torch.Tensor) -> torch.dtype:
    """What scores are in: fp32 at least."""
    return torch.promote_types(tensor.dtype, torch.float32)
