"""Roman numerals."""

SYMBOLS = (
    (1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"),
    (50, "L"), (40, "XL"), (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I"),
)  # fmt: skip
LARGEST = 3999


def to_roman(number: int) -> str:
    """The Roman numeral of a number from 1 to LARGEST; ValueError for another."""
    if not 1 <= number <= LARGEST:
        raise ValueError(f"no Roman numeral for {number}")
    parts = []
    for value, symbol in SYMBOLS:
        count, number = divmod(number, value)
        parts.append(symbol * count)
    return "".join(parts)


def from_roman(text: str) -> int:
    """The number that a Roman numeral stands for; ValueError for what is none, like IIII."""
    number, rest = 0, text.upper()
    for value, symbol in SYMBOLS:
        while rest.startswith(symbol):
            number += value
            rest = rest[len(symbol) :]
    if rest or not text or to_roman(number) != text.upper():
        raise ValueError(f"{text!r} is no Roman numeral")
    return number
