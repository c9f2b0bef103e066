"""The processes that train together under `torchrun`, and how they share out work and put it together again.

Each process (a *rank*) knows all trajectories, corrections and lessons; it rolls out, scores and trains on its share of
them. What is shared out and gathered again is in the order that one process would have it in, so that more
processes give the numbers of one, up to rounding. Only the main one writes files and talks.
Left out: how gradients and weights are spread (`distill.student`).
"""

import io
from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import Any, Generic, NamedTuple, TypeVar

import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.utils import set_seed

T = TypeVar("T")
U = TypeVar("U")

_NOTHING = object()


class Ranks:
    """This process among those that train together; one process is all of them."""

    def __init__(self, *, cpu: bool) -> None:
        self.accelerator = Accelerator(cpu=cpu)
        self.rank = int(self.accelerator.process_index)
        self.world = int(self.accelerator.num_processes)
        self.main = self.rank == 0

    def share(self, items: Sequence[T]) -> list[T]:
        """What of `items` is this rank's to do: every `world`-th one."""
        return list(items[self.rank :: self.world])

    def gathered(self, mine: Sequence[T]) -> list[T]:
        """What all ranks made of their shares, one result an item, in the order of the items."""
        if self.world == 1:
            return list(mine)
        packed = io.BytesIO()
        torch.save(list(mine), packed)
        shares: list[Any] = [None] * self.world
        dist.all_gather_object(shares, packed.getvalue())
        device = (
            "cpu" if self.accelerator.device.type == "cpu" else self.accelerator.device
        )  # a tensor would come back on the device that it was sent from
        lists = [torch.load(io.BytesIO(share), map_location=device, weights_only=False) for share in shares]
        return [item for item in chain(*zip_longest(*lists, fillvalue=_NOTHING)) if item is not _NOTHING]

    def from_main(self, value: T) -> T:
        """The main process's value, for all: where rounding could let ranks decide differently."""
        if self.world == 1:
            return value
        values: list[Any] = [value]
        dist.broadcast_object_list(values, src=0)
        said: T = values[0]
        return said

    def summed(self, numbers: Sequence[float], device: torch.device) -> list[float]:
        """The sums of some numbers over all ranks."""
        total = torch.tensor(numbers, dtype=torch.double, device=device)
        if self.world > 1:
            dist.all_reduce(total)
        sums: list[float] = total.tolist()
        return sums

    def wait(self) -> None:
        """Until all ranks are here: what the main process has written is there for all."""
        if self.world > 1:
            self.accelerator.wait_for_everyone()


def seed_all(seed: int) -> None:
    """The same chance on all ranks: adapters begin with the same random weights."""
    set_seed(seed)


class Part(NamedTuple, Generic[T, U]):
    """What is worked on at once: some items, some of what goes beside them, and whether either counts."""

    items: list[T]
    beside: list[U]
    items_count: bool
    beside_counts: bool


def micro_batches(items: Sequence[T], beside: Sequence[U], ranks: Ranks, size: int) -> list[Part[T, U]]:
    """A rank's share of a step's items and of what goes beside them, in parts of at most `size` items (0: in one).

    All ranks have as many parts, and all parts have something of both, since ranks go through a model in step: where
    nothing is left to do, it is something that another does, and doesn't count. Beside the items is at most one thing
    for each.
    """
    most = -(-len(items) // ranks.world)
    size = size or most
    mine, also = ranks.share(items), ranks.share(beside)
    cut = [slice(start, start + size) for start in range(0, most, size)]
    return [
        Part(mine[part] or list(items[:1]), also[part] or list(beside[:1]), bool(mine[part]), bool(also[part]))
        for part in cut
    ]
