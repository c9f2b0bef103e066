"""Run-length encoding of text: aaab is 3a1b."""

from itertools import groupby


def encode_runs(text: str) -> str:
    """Each run of one character as its length and the character; ValueError for a text with digits in it."""
    if any(character.isdigit() for character in text):
        raise ValueError("digits can't be told from lengths")
    return "".join(f"{len(list(run))}{character}" for character, run in groupby(text))


def decode_runs(code: str) -> str:
    """The text that was encoded; ValueError for a code without a length where one must be."""
    text, digits = "", ""
    for character in code:
        if character.isdigit():
            digits += character
        elif digits:
            text += character * int(digits)
            digits = ""
        else:
            raise ValueError(f"no length before {character!r}")
    if digits:
        raise ValueError("a length without a character at the end")
    return text


def longest_run(text: str) -> tuple[str, int]:
    """The character of the longest run and its length; of the first one where several are as long."""
    best = ("", 0)
    for character, run in groupby(text):
        length = len(list(run))
        if length > best[1]:
            best = (character, length)
    return best
