"""Which error became which other one, or none: a matrix over tasks that were done before and after.

Left out: which trajectories are of one task (the caller pairs them), and how it looks.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from critics.finding import WARNING, Criticized

NO_ERROR = "no error"

Matrix = Counter[tuple[str, str]]
"""How often an error (first) became another (second). `NO_ERROR` stands for none on either side."""


def substitution(before: Sequence[Criticized], after: Sequence[Criticized]) -> Matrix:
    """The matrix of two lists that have the same tasks in the same order; warnings are left out.

    Within a task, errors of one code stay as far as both sides have them. What is left of both sides is matched in the
    order of the turns: one error was swapped for another. What is left of one side only went away, or is new. Raises
    ValueError for lists of different lengths.
    """
    matrix: Matrix = Counter()
    for was, is_ in zip(before, after, strict=True):
        first, second = _codes(was), _codes(is_)
        stayed = Counter(first) & Counter(second)
        for code, count in stayed.items():
            matrix[code, code] += count
        gone, new = _without(first, stayed), _without(second, stayed)
        matrix.update(zip(gone, new, strict=False))
        matrix.update((code, NO_ERROR) for code in gone[len(new) :])
        matrix.update((NO_ERROR, code) for code in new[len(gone) :])
    return matrix


def _codes(criticized: Criticized) -> list[str]:
    """The codes of a trajectory's errors in the order of their turns; one of a call counts once."""
    errors = {
        (part.message_index, part.call_index if part.call_index is not None else -1, str(part.code))
        for part in criticized[1]
        if part.confidence != WARNING
    }
    return [code for _, _, code in sorted(errors)]


def _without(codes: Iterable[str], stayed: Counter[str]) -> list[str]:
    left, rest = Counter(stayed), []
    for code in codes:
        if left[code]:
            left[code] -= 1
        else:
            rest.append(code)
    return rest
