"""A queue that gives out what is most urgent first."""

import heapq
from itertools import count


class PriorityQueue:
    """Names with priorities; the lowest number goes first, and the older one where two are equal."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, str]] = []
        self._order = count()

    def push(self, name: str, priority: int) -> None:
        """Put a name in the queue; ValueError for one that is in it."""
        if name in self.names():
            raise ValueError(f"{name} is in the queue already")
        heapq.heappush(self._heap, (priority, next(self._order), name))

    def pop(self) -> str:
        """Take out the name that goes first; IndexError for an empty queue."""
        if not self._heap:
            raise IndexError("the queue is empty")
        _, _, name = heapq.heappop(self._heap)
        return name

    def peek(self) -> str | None:
        """The name that goes first; None for an empty queue."""
        return self._heap[0][2] if self._heap else None

    def names(self) -> list[str]:
        """All names in the order in which they go."""
        return [name for _, _, name in sorted(self._heap)]

    def cancel(self, name: str) -> bool:
        """Take out a name, wherever it stands; gives whether it was there."""
        kept = [entry for entry in self._heap if entry[2] != name]
        found = len(kept) < len(self._heap)
        heapq.heapify(kept)
        self._heap = kept
        return found

    def __len__(self) -> int:
        return len(self._heap)
