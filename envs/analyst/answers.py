"""The answer to a question, and whether what was submitted is that answer, by value."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

MOST_ROWS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """A number, a text or rows. `decimals` is how far numbers that are not whole are to be rounded: any number that
    rounds to the same is right. Rows come in any order unless `ordered`. `form` names the cells of a row."""

    value: Any
    decimals: int | None = None
    ordered: bool = False
    form: str = ""

    @property
    def says_something(self) -> bool:
        """Whether nobody would have guessed it, and it can be written by hand: not nothing, nought or many rows."""
        if isinstance(self.value, list):
            cells = [cell for row in self.value for cell in row]
            return 0 < len(self.value) <= MOST_ROWS and None not in cells and "" not in cells
        return self.value not in (None, "", 0, 1)

    @property
    def asked(self) -> str:
        """How a request says what is to be submitted."""
        if not isinstance(self.value, list):
            kind = "text" if isinstance(self.value, str) else "number"
            return f"Submit a {kind}{self._rounded}."
        return f"Submit a list of rows [{self.form}]{'' if self.ordered else ', in any order'}{self._rounded}."

    @property
    def _rounded(self) -> str:
        places = {1: "one decimal", 2: "two decimals"}.get(self.decimals or 0)
        return f", rounded to {places}" if places else ""

    @property
    def submitted(self) -> Any:
        """The answer as an expert writes it."""
        if isinstance(self.value, list):
            return [[self._written(cell) for cell in row] for row in self.value]
        return self._written(self.value)

    def _written(self, cell: Any) -> Any:
        return round(cell, self.decimals) if isinstance(cell, float) and self.decimals is not None else cell

    def matches(self, came: Any) -> bool:
        """Whether what came is the answer."""
        if not isinstance(self.value, list):
            return self._same(self.value, came)
        if not isinstance(came, list) or len(came) != len(self.value):
            return False
        if self.ordered:
            return all(map(self._same_row, self.value, came))
        left = list(came)
        for row in self.value:
            place = next((place for place, other in enumerate(left) if self._same_row(row, other)), None)
            if place is None:
                return False
            del left[place]
        return True

    def _same_row(self, row: Sequence[Any], came: Any) -> bool:
        return isinstance(came, list) and len(came) == len(row) and all(map(self._same, row, came))

    def _same(self, cell: Any, came: Any) -> bool:
        if isinstance(cell, str):
            return isinstance(came, str) and came.strip() == cell
        if not isinstance(came, (int, float)) or isinstance(came, bool):
            return False
        if isinstance(cell, int) or self.decimals is None:
            return bool(came == cell)
        return bool(abs(came - cell) <= 0.5 * 10**-self.decimals + 1e-9 * max(1.0, abs(cell)))
