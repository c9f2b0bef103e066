"""Prefill: log-probs at known tokens, by a forward pass and no decoding; hints share what comes before them.

A trajectory is a *trunk*. Each hint is a *branch* that leaves the trunk right above its turn: the hint, the generation
prompt and the same turn, which attend to the trunk's keys and values up to there, and to themselves. So the teacher's
scores of all hinted turns cost one pass over the trunk and one over the branches; where the teacher is the student
itself, its trunk is the pass that the student makes anyway. Logits are made at the asked positions only. Without
branches this is the plain prefill.

Left out: packing the branches of one long trunk into several passes; sliding-window and recurrent layers.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from transformers.cache_utils import Cache, DynamicCache

from tools.command import InputError


class Branch(NamedTuple):
    """What a hint puts in place of `trunk[start:]`. `asked` are positions in the context `trunk[:start] + ids`."""

    start: int
    ids: Sequence[int]
    asked: Sequence[int]


class Trunk(NamedTuple):
    """Token ids, the positions in them that are asked for (from 1), and the branches that leave it."""

    ids: Sequence[int]
    asked: Sequence[int] = ()
    branches: Sequence[Branch] = ()

    def cut(self) -> "Trunk":
        """Without what comes after the last token that matters: a causal model's distributions don't depend on it."""
        branches = [Branch(start, ids[: max(asked) - start], asked) for start, ids, asked in self.branches]
        needed = max([*self.asked, *(branch.start for branch in branches)])
        return Trunk(self.ids[:needed], self.asked, branches)

    @property
    def tokens(self) -> int:
        return len(self.ids) + sum(len(branch.ids) for branch in self.branches)


def on_trunks(model: Any, trunks: Sequence[Trunk], *, keep: bool = False) -> tuple[torch.Tensor, Cache | None]:
    """One pass over the trunks: log-probs [N, V] in fp32 at their asked tokens, one trunk after the other.

    `keep` gives the trunks' keys and values too, for `on_branches`. A token's distribution comes from the position
    before it. Trunks are padded on the right, where causal attention never looks.
    """
    longest = max(len(trunk.ids) for trunk in trunks)
    ids_BT = torch.tensor([[*trunk.ids, *[0] * (longest - len(trunk.ids))] for trunk in trunks], device=model.device)
    cache = DynamicCache(config=model.config) if keep else None
    hidden_BTD = model.get_decoder()(input_ids=ids_BT, past_key_values=cache, use_cache=keep).last_hidden_state
    places = [(row, position - 1) for row, trunk in enumerate(trunks) for position in trunk.asked]
    return _logprobs(model, hidden_BTD, places), cache


def on_branches(model: Any, trunks: Sequence[Trunk], cache: Cache) -> torch.Tensor:
    """One pass over all branches, above the keys and values of their trunks: log-probs [M, V] at the asked tokens.

    The branches of a trunk lie one after the other in its row; a mask keeps them apart, and each from the part of the
    trunk that its hint replaces. `cache` holds the branches too afterwards: it serves once.
    """
    trunk_columns = cache.get_seq_length()
    width = max(sum(len(branch.ids) for branch in trunk.branches) for trunk in trunks)
    # For each branch token: id, position, how much of the trunk it sees, the number of its branch (-1 for padding).
    tokens_BW4 = [
        [
            (token, branch.start + offset, branch.start, number)
            for number, branch in enumerate(trunk.branches)
            for offset, token in enumerate(branch.ids)
        ]
        for trunk in trunks
    ]
    padded = torch.tensor([[*row, *[(0, 0, 0, -1)] * (width - len(row))] for row in tokens_BW4], device=model.device)
    ids_BW, positions_BW, seen_BW, branch_BW = padded.unbind(-1)
    trunk_BWT = torch.arange(trunk_columns, device=model.device) < seen_BW[..., None]
    own_BWW = (branch_BW[:, :, None] == branch_BW[:, None, :]).tril()
    hidden_BWD = model.get_decoder()(
        input_ids=ids_BW,
        position_ids=positions_BW,
        attention_mask=_mask(model, torch.cat([trunk_BWT, own_BWW], dim=-1)[:, None]),
        past_key_values=cache,
        use_cache=True,
    ).last_hidden_state
    places = [(row, column) for row, trunk in enumerate(trunks) for column in _asked_columns(trunk)]
    return _logprobs(model, hidden_BWD, places)


def _asked_columns(trunk: Trunk) -> Iterator[int]:
    """Where in its row of branches the distribution of each asked token comes from."""
    before = 0
    for branch in trunk.branches:
        yield from (before + position - 1 - branch.start for position in branch.asked)
        before += len(branch.ids)


def _mask(model: Any, seen_B1WC: torch.Tensor) -> torch.Tensor:
    """The mask as the model's attention reads it. Eager attention would add a boolean mask, silently wrong."""
    match model.config._attn_implementation:
        case "sdpa":
            return seen_B1WC
        case "eager":
            return torch.zeros_like(seen_B1WC, dtype=model.dtype).masked_fill_(~seen_B1WC, torch.finfo(model.dtype).min)
        case other:
            raise InputError(f"branches need a mask that {other} attention can't take: load the model with sdpa")


def _logprobs(model: Any, hidden_BTD: torch.Tensor, places: Sequence[tuple[int, int]]) -> torch.Tensor:
    rows, columns = zip(*places, strict=True) if places else ((), ())
    logits_NV = model.get_output_embeddings()(hidden_BTD[list(rows), list(columns)])
    logprobs_NV: torch.Tensor = logits_NV.float().log_softmax(-1)
    return logprobs_NV


def batched(trunks: Sequence[Trunk], tokens: int) -> Iterator[list[int]]:
    """Places in `trunks`, in batches of like lengths with at most `tokens` padded tokens, or one trunk, each."""
    batch: list[int] = []
    widest = 0
    for place in sorted(range(len(trunks)), key=lambda place: len(trunks[place].ids)):
        trunk = trunks[place]
        branches = trunk.tokens - len(trunk.ids)
        if batch and (len(trunk.ids) + max(widest, branches)) * (len(batch) + 1) > tokens:
            yield batch
            batch, widest = [], 0
        batch.append(place)
        widest = max(widest, branches)
    if batch:
        yield batch


@torch.no_grad()
def plain_prefill(model: Any, trunks: Sequence[Trunk], *, tokens: int = 16_384) -> Iterator[tuple[int, torch.Tensor]]:
    """For each trunk, by its place, the log-probs [n, V] at its own n asked tokens; about `tokens` tokens a pass."""
    for places in batched([trunk._replace(branches=()) for trunk in trunks], tokens):
        chosen = [trunks[place]._replace(branches=()).cut() for place in places]
        logprobs_NV, _ = on_trunks(model, chosen)
        yield from zip(places, logprobs_NV.split([len(trunk.asked) for trunk in chosen]), strict=True)


@torch.no_grad()
def hinted_prefill(model: Any, trunks: Sequence[Trunk], *, tokens: int = 16_384) -> Iterator[tuple[int, torch.Tensor]]:
    """For each trunk, by its place, the log-probs [m, V] at the m asked tokens of its branches: what a teacher says."""
    for places in batched(trunks, tokens):
        chosen = [trunks[place]._replace(asked=()).cut() for place in places]
        _, cache = on_trunks(model, chosen, keep=True)
        assert cache is not None
        sizes = [sum(len(branch.asked) for branch in trunk.branches) for trunk in chosen]
        yield from zip(places, on_branches(model, chosen, cache).split(sizes), strict=True)
