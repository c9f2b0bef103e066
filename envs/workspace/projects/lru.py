"""A cache that forgets what was used longest ago."""

from collections import OrderedDict


class LruCache:
    """Holds up to `size` values by key. Reading a value or writing it counts as using it."""

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError("a cache holds at least one value")
        self.size = size
        self.hits = 0
        self.misses = 0
        self._values: OrderedDict[str, int] = OrderedDict()

    def store(self, key: str, value: int) -> None:
        """Keep a value; the one that was used longest ago goes if there is no room."""
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > self.size:
            self._values.popitem(last=False)

    def fetch(self, key: str, default: int | None = None) -> int | None:
        """The value of a key, or the default where there is none."""
        if key not in self._values:
            self.misses += 1
            return default
        self.hits += 1
        self._values.move_to_end(key)
        return self._values[key]

    def keys(self) -> list[str]:
        """The keys, the one that was used longest ago first."""
        return list(self._values)

    def hit_rate(self) -> float:
        """The share of reads that found a value; 0 before the first."""
        reads = self.hits + self.misses
        return self.hits / reads if reads else 0.0

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: object) -> bool:
        return key in self._values
