"""Lists in pieces."""

from collections.abc import Iterable, Iterator, Sequence


def in_batches(items: Sequence[int], size: int) -> Iterator[list[int]]:
    """The items in lists of `size`; the last one holds what is left."""
    if size < 1:
        raise ValueError("a batch holds at least one item")
    for start in range(0, len(items), size):
        yield list(items[start : start + size])


def sliding(items: Sequence[int], width: int) -> list[tuple[int, ...]]:
    """All stretches of `width` items that follow each other."""
    return [tuple(items[start : start + width]) for start in range(len(items) - width + 1)]


def without_repeats(items: Iterable[int]) -> list[int]:
    """The items in their order, each once."""
    seen: set[int] = set()
    kept = []
    for item in items:
        if item not in seen:
            seen.add(item)
            kept.append(item)
    return kept


def interleave(first: Sequence[int], second: Sequence[int]) -> list[int]:
    """One of each in turn, and then what is left of the longer one."""
    mixed = []
    for left, right in zip(first, second, strict=False):
        mixed += [left, right]
    shorter = min(len(first), len(second))
    return [*mixed, *first[shorter:], *second[shorter:]]


def rotate(items: Sequence[int], steps: int) -> list[int]:
    """The items moved to the left; what falls out in front comes in at the end."""
    if not items:
        return []
    cut = steps % len(items)
    return [*items[cut:], *items[:cut]]
