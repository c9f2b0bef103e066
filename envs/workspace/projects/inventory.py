"""What is on the shelves."""


class OutOfStockError(ValueError):
    """More was asked for than there is."""


class Inventory:
    """Counts of items by name."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def put(self, item: str, count: int = 1) -> int:
        """Add to the shelf; gives how many there are now."""
        if count < 1:
            raise ValueError("at least one is put on a shelf")
        self._counts[item] = self._counts.get(item, 0) + count
        return self._counts[item]

    def take(self, item: str, count: int = 1) -> int:
        """Take from the shelf; gives how many are left. Raises OutOfStockError where there are not so many."""
        if count > self.count_of(item):
            raise OutOfStockError(f"there are {self.count_of(item)} of {item}")
        self._counts[item] -= count
        if not self._counts[item]:
            del self._counts[item]
            return 0
        return self._counts[item]

    def count_of(self, item: str) -> int:
        """How many there are of an item; 0 for one that was never there."""
        return self._counts.get(item, 0)

    def running_low(self, limit: int) -> list[str]:
        """The items of which there are fewer than the limit, in order."""
        return sorted(item for item, count in self._counts.items() if count < limit)

    def total(self) -> int:
        """How many things there are in all."""
        return sum(self._counts.values())

    def __contains__(self, item: object) -> bool:
        return item in self._counts
