"""A batch's keys and values between turns: one row a conversation, one column a token.

Rows are packed: each row's tokens stand one after the other without holes, finished rows take no part in a pass, and
new ones may come at any turn. Left out: sampling (`envs.policies.hf`).
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer

GROUP_TOKENS = 1_024
"""A prefill takes so many tokens at a time: more of them fall out of a processor's caches."""
SPARE = 1.5
"""Finished rows are moved out of the way when a pass reads so many times the rows that go on: moving costs too."""


class Rows:
    """The rows of some contexts, which are known by identity; `lengths` are their numbers of tokens, in order.

    A row lies at a place of the cache. Rows that a pass works on are made to lie together, in places from 0 on, so that
    the pass reads them where they are.
    """

    def __init__(self, model: Any, keys: Sequence[object]) -> None:
        self.model, self.keys = model, list(keys)
        self.cache = DynamicCache(config=model.config)
        self.plan = _Plan()
        self.layers = [_PlacedLayer(self.plan) for _ in self.cache.layers]
        self.cache.layers = [*self.layers]
        self.lengths = [0] * len(self.keys)
        self.places = list(range(len(self.keys)))

    def kept(self, keys: Sequence[object]) -> "Rows":
        """The rows of these keys, without all others; a key without a row gets an empty one."""
        rows_now = zip(self.keys, self.places, self.lengths, strict=True)
        known = {id(key): (place, length) for key, place, length in rows_now}
        taken = {known[id(key)][0] for key in keys if id(key) in known}
        free = iter(place for place in range(len(taken) + len(keys)) if place not in taken)
        rows = [known.get(id(key)) or (next(free), 0) for key in keys]
        self.keys, self.places, self.lengths = list(keys), [place for place, _ in rows], [length for _, length in rows]
        self._gather(range(len(keys)))
        return self

    def prefill(self, new_ids: Sequence[Sequence[int]]) -> torch.Tensor:
        """Append each row's tokens, at least one; logits [B, V] after the last of them.

        Rows with about as many tokens make a block, padded on the left.
        """
        logits: list[torch.Tensor] = []
        order: list[int] = []
        for rows in _groups([len(ids) for ids in new_ids]):
            logits.append(self._block([new_ids[row] for row in rows], rows))
            order += rows
        logits_BV = torch.cat(logits)
        if order == sorted(order):
            return logits_BV
        return logits_BV[sorted(range(len(order)), key=order.__getitem__)]

    def append(self, tokens: Sequence[int], rows: Sequence[int]) -> torch.Tensor:
        """Append one token to each of some rows, in ascending order; logits [R, V] after it. Rows that were left out
        once are left out until the next prefill."""
        if max(self.places[row] for row in rows) + 1 > SPARE * len(rows):
            self._gather(rows)
        span = max(self.places[row] for row in rows) + 1
        # A row that has finished and still lies among the others gets a token that its next one overwrites.
        ids, columns = [[0]] * span, [[0]] * span
        for place, length in zip(self.places, self.lengths, strict=True):
            if place < span:
                columns[place] = [length]
        for row, token in zip(rows, tokens, strict=True):
            ids[self.places[row]] = [token]
            self.lengths[row] += 1
        self.plan.places = slice(0, span)
        logits_SV = self._forward(ids, columns, columns)
        return logits_SV[[self.places[row] for row in rows]]

    def _block(self, new_ids: Sequence[Sequence[int]], rows: Sequence[int]) -> torch.Tensor:
        """Append tokens to some rows. Padding is written behind a row's tokens, where the next ones overwrite it."""
        width = max(map(len, new_ids))
        ids, columns, positions = [], [], []
        for row, new in zip(rows, new_ids, strict=True):
            start, end, pad = self.lengths[row], self.lengths[row] + len(new), width - len(new)
            ids.append([0] * pad + list(new))
            columns.append([*range(end, end + pad), *range(start, end)])
            positions.append([end - 1] * pad + columns[-1][pad:])
            self.lengths[row] = end
        places = [self.places[row] for row in rows]
        together = places == list(range(places[0], places[0] + len(places)))
        self.plan.places = (
            slice(places[0], places[0] + len(places)) if together else torch.tensor(places, device=self.model.device)
        )
        return self._forward(ids, columns, positions)

    def _forward(self, ids: list[list[int]], columns: list[list[int]], positions: list[list[int]]) -> torch.Tensor:
        device = self.model.device
        self.plan.columns_BW = torch.tensor(columns, device=device)
        self.plan.rows = max(self.plan.rows, max(self.places) + 1)
        self.plan.end = max(map(max, columns)) + 1
        columns_C = torch.arange(self.plan.end, device=device)
        hidden_BWC = columns_C > self.plan.columns_BW[:, :, None]
        logits_B1V = self.model(
            input_ids=torch.tensor(ids, device=device),
            position_ids=torch.tensor(positions, device=device),
            attention_mask=_additive(hidden_BWC, self.model.dtype),
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits
        last_BV: torch.Tensor = logits_B1V[:, -1].float()
        return last_BV

    def _gather(self, rows: Sequence[int]) -> None:
        """Let some rows lie in the first places; rows that lie there in their stead swap with them."""
        size = len(rows)
        outside = [row for row in rows if self.places[row] >= size]
        if not outside:
            return
        taken = {self.places[row] for row in rows}
        free = [place for place in range(size) if place not in taken]
        row_at = {place: row for row, place in enumerate(self.places)}
        moves = [(row, self.places[row], place) for row, place in zip(outside, free, strict=True)]
        # What nobody's row is any more may be written over.
        moves += [(row_at[to], to, of) for _, of, to in moves if to in row_at]
        for row, _, to in moves:
            self.places[row] = to
        end = max(self.lengths[row] for row, _, _ in moves)
        for layer in self.layers:
            layer.move([of for _, of, _ in moves], [to for _, _, to in moves], end)


def _groups(sizes: Sequence[int]) -> Iterator[list[int]]:
    """Rows by their number of tokens, so that little of a group is padding and none is too large to be fast."""
    group: list[int] = []
    for row in sorted(range(len(sizes)), key=lambda row: -sizes[row]):
        if group and (sizes[row] * 2 < sizes[group[0]] or (len(group) + 1) * sizes[group[0]] > GROUP_TOKENS):
            yield sorted(group)
            group = []
        group.append(row)
    yield sorted(group)


def _additive(hidden_BWC: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The mask that hides these columns, [B, 1, W, C]. Of booleans, sdpa would make one in each layer; and eager
    attention, which some families have only, adds a mask whatever it is made of."""
    mask_BWC = torch.zeros(hidden_BWC.shape, dtype=dtype, device=hidden_BWC.device)
    return mask_BWC.masked_fill_(hidden_BWC, float("-inf"))[:, None]


class _Plan:
    """Where the next pass writes and reads: the same in all layers."""

    places: slice | torch.Tensor
    columns_BW: torch.Tensor
    rows = 0
    end = 0


class _PlacedLayer(DynamicLayer):
    """A cache layer whose rows have columns of their own; a plan says which are written, and how far is read."""

    def __init__(self, plan: _Plan) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.plan = plan

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        key_states = key_states.to(value_states.dtype)  # under autocast, rotated ones come in fp32
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.keys_room, self.values_room = key_states[:0, :, :0], value_states[:0, :, :0]
        plan = self.plan
        if plan.rows > self.keys_room.shape[0] or plan.end > self.keys_room.shape[2]:
            self.keys_room, self.values_room = self._roomier(self.keys_room), self._roomier(self.values_room)
        places, end = plan.places, plan.end
        rows_B = (
            torch.arange(places.start, places.stop, device=key_states.device) if isinstance(places, slice) else places
        )
        self.keys_room[rows_B[:, None], :, plan.columns_BW] = key_states.transpose(1, 2)
        self.values_room[rows_B[:, None], :, plan.columns_BW] = value_states.transpose(1, 2)
        return self.keys_room[:, :, :end][places], self.values_room[:, :, :end][places]

    def _roomier(self, room_BHCD: torch.Tensor) -> torch.Tensor:
        rows, heads, columns, width = room_BHCD.shape
        wider = columns if self.plan.end <= columns else self.plan.end + 128
        # Zeros: what is masked must be finite, since a weight of 0 times what is none is none.
        larger = room_BHCD.new_zeros(max(rows, self.plan.rows), heads, wider, width)
        larger[:rows, :, :columns] = room_BHCD
        return larger

    def move(self, of: Sequence[int], to: Sequence[int], end: int) -> None:
        """Let the rows at some places lie at others, as far as there are any; none goes further than `end`."""
        if not self.is_initialized or not self.keys_room.shape[0]:
            return
        rows = max(*of, *to) + 1
        if rows > self.keys_room.shape[0]:
            self.plan.rows = max(self.plan.rows, rows)
            self.keys_room, self.values_room = self._roomier(self.keys_room), self._roomier(self.values_room)
        self.keys_room[to, :, :end] = self.keys_room[of, :, :end]
        self.values_room[to, :, :end] = self.values_room[of, :, :end]
