"""Prefill: what a model makes of known tokens, by a forward pass and no decoding; hints share what comes before them.

A trajectory is a *trunk*. Each hint is a *branch* that leaves the trunk right above its turn: the hint, the generation
prompt and the same turn, which attend to the trunk's keys and values up to there, and to themselves. So the teacher's
scores of all hinted turns cost one pass over the trunk and one over the branches; where the teacher is the student
itself, its trunk is the pass that the student makes anyway. A model whose layers can't share (`distill.sharing`) reads
every hinted context whole. Hidden states come out, at the asked positions only; `distill.head` makes logits of them.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import torch

from distill.blocks import block_attention
from distill.branches import Branches, Keys, Leaf, branch_attention
from distill.head import Head
from distill.sharing import KeptKeys, why_not_shared

PASS_TOKENS = 16_384
"""About so many tokens go through a model at a time, unless a single trunk or branch is longer."""


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


def on_trunks(model: Any, trunks: Sequence[Trunk], *, keep: bool = False) -> tuple[torch.Tensor, Keys | None]:
    """One pass over the trunks: hidden states [N, D] of their asked tokens, one trunk after the other.

    `keep` gives the trunks' keys and values too, for `on_branches`, where the model can share them. A token's hidden
    state is that of the position before it, which decides it. Trunks are padded on the right, where causal attention
    never looks.
    """
    longest = max(len(trunk.ids) for trunk in trunks)
    ids_BT = torch.tensor([[*trunk.ids, *[0] * (longest - len(trunk.ids))] for trunk in trunks], device=model.device)
    cache = KeptKeys() if keep and not why_not_shared(model) else None
    with block_attention(model, longest):
        hidden_BTD = _decoded(model, input_ids=ids_BT, past_key_values=cache)
    places = [(row, position - 1) for row, trunk in enumerate(trunks) for position in trunk.asked]
    return _at(hidden_BTD, places), cache.kept if cache else None


def on_detached(model: Any, trunk: Trunk, *, keep: bool = False) -> tuple[torch.Tensor, Keys | None]:
    """`on_trunks` of one trunk, with no gradient through the tokens before those that are asked for first.

    What those tokens would have had to change in themselves is left out of the gradient: it is another one.
    """
    start = min(trunk.asked) - 1
    if start < 1 or why_not_shared(model):
        return on_trunks(model, [trunk], keep=keep)
    with torch.no_grad():
        _, keys = on_trunks(model, [Trunk(trunk.ids[:start])], keep=True)
    assert keys is not None
    cache = KeptKeys(keys)
    ids_BT = torch.tensor([list(trunk.ids[start:])], device=model.device)
    with block_attention(model, len(trunk.ids)):
        hidden_BTD = _decoded(model, input_ids=ids_BT, past_key_values=cache)
    return _at(hidden_BTD, [(0, position - 1 - start) for position in trunk.asked]), cache.kept if keep else None


def on_own_branches(
    model: Any,
    trunks: Sequence[Trunk],
    keys: Keys | None,
    *,
    tokens: int = PASS_TOKENS,
    attending: Callable[[Any], AbstractContextManager[None]] = branch_attention,
) -> torch.Tensor:
    """The branches of all trunks above the trunks' `keys`: hidden states [M, D] of their asked tokens, with gradients.

    About `tokens` branch tokens go through the model at a time, its layers `attending` as branches do. Without keys
    each branch's context is read whole.
    """
    rows = [(row, branch) for row, trunk in enumerate(trunks) for branch in trunk.branches]
    if keys is None:
        contexts = [Trunk([*trunks[row].ids[: branch.start], *branch.ids], branch.asked) for row, branch in rows]
        return torch.cat([on_trunks(model, [context])[0] for context in contexts])
    passes: list[list[tuple[int, Branch]]] = [[]]
    taken = 0
    for row, branch in rows:
        if passes[-1] and taken + len(branch.ids) > tokens:
            passes.append([])
            taken = 0
        passes[-1].append((row, branch))
        taken += len(branch.ids)
    with attending(model):
        return torch.cat([_one_pass(model, taken, keys) for taken in passes])


on_branches = torch.no_grad()(on_own_branches)
"""`on_own_branches` without a gradient: what a teacher says, who has none."""


def _one_pass(model: Any, rows: Sequence[tuple[int, Branch]], keys: Keys) -> torch.Tensor:
    """Some branches in one row: hidden states of their asked tokens."""
    leaves: list[Leaf] = []
    ids: list[int] = []
    positions: list[int] = []
    places: list[tuple[int, int]] = []
    for row, branch in rows:
        leaves.append(Leaf(row, branch.start, len(ids), len(branch.ids)))
        places += [(0, len(ids) + position - 1 - branch.start) for position in branch.asked]
        ids += branch.ids
        positions += range(branch.start, branch.start + len(branch.ids))
    hidden_1WD = _decoded(
        model,
        input_ids=torch.tensor([ids], device=model.device),
        position_ids=torch.tensor([positions], device=model.device),
        branches=Branches(keys, leaves),
    )
    return _at(hidden_1WD, places)


def _decoded(model: Any, **inputs: Any) -> torch.Tensor:
    """The one place where a model runs."""
    hidden_BTD: torch.Tensor = model.get_decoder()(use_cache=False, **inputs).last_hidden_state
    return hidden_BTD


def _at(hidden_BTD: torch.Tensor, places: Sequence[tuple[int, int]]) -> torch.Tensor:
    rows, columns = zip(*places, strict=True) if places else ((), ())
    return hidden_BTD[list(rows), list(columns)]


def batched(trunks: Sequence[Trunk], tokens: int) -> Iterator[list[int]]:
    """Places in `trunks`, in batches of like lengths with at most `tokens` tokens, or one trunk, each.

    Trunks count with their padding; branches have none.
    """
    batch: list[int] = []
    branches = 0
    for place in sorted(range(len(trunks)), key=lambda place: len(trunks[place].ids)):
        trunk = trunks[place]
        more = branches + trunk.tokens - len(trunk.ids)
        if batch and len(trunk.ids) * (len(batch) + 1) + more > tokens:
            yield batch
            batch, more = [], trunk.tokens - len(trunk.ids)
        batch.append(place)
        branches = more
    if batch:
        yield batch


@torch.no_grad()
def plain_hidden(
    model: Any, trunks: Sequence[Trunk], *, tokens: int = PASS_TOKENS
) -> Iterator[tuple[int, torch.Tensor]]:
    """For each trunk, by its place, the hidden states [n, D] at its own asked tokens; about `tokens` a pass."""
    for places in batched([trunk._replace(branches=()) for trunk in trunks], tokens):
        chosen = [trunks[place]._replace(branches=()).cut() for place in places]
        hidden_ND, _ = on_trunks(model, chosen)
        yield from zip(places, hidden_ND.split([len(trunk.asked) for trunk in chosen]), strict=True)


@torch.no_grad()
def hinted_hidden(
    model: Any, trunks: Sequence[Trunk], *, tokens: int = PASS_TOKENS
) -> Iterator[tuple[int, torch.Tensor]]:
    """For each trunk, by its place, the hidden states [m, D] of the m asked tokens of its branches: the teacher's."""
    for places in batched(trunks, tokens):
        chosen = [trunks[place]._replace(asked=()).cut() for place in places]
        _, keys = on_trunks(model, chosen, keep=True)
        sizes = [sum(len(branch.asked) for branch in trunk.branches) for trunk in chosen]
        yield from zip(places, on_branches(model, chosen, keys, tokens=tokens).split(sizes), strict=True)


@torch.no_grad()
def plain_prefill(
    model: Any, trunks: Sequence[Trunk], *, tokens: int = PASS_TOKENS
) -> Iterator[tuple[int, torch.Tensor]]:
    """For each trunk, by its place, the log-probs [n, V] at its own n asked tokens; about `tokens` tokens a pass."""
    head = Head(model)
    for place, hidden_ND in plain_hidden(model, trunks, tokens=tokens):
        yield place, head.logprobs(hidden_ND)


@torch.no_grad()
def hinted_prefill(
    model: Any, trunks: Sequence[Trunk], *, tokens: int = PASS_TOKENS
) -> Iterator[tuple[int, torch.Tensor]]:
    """For each trunk, by its place, the log-probs [m, V] at the m asked tokens of its branches: what a teacher says."""
    head = Head(model)
    for place, hidden_MD in hinted_hidden(model, trunks, tokens=tokens):
        yield place, head.logprobs(hidden_MD)
