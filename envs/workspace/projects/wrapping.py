"""Text in lines of a given width."""


def wrap_words(text: str, width: int) -> list[str]:
    """Lines of whole words, none longer than the width unless a single word is."""
    lines: list[str] = []
    line = ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    if line:
        lines.append(line)
    return lines


def shorten(text: str, width: int, mark: str = "...") -> str:
    """The text, cut so that it fits the width together with the mark that says so."""
    if len(text) <= width:
        return text
    return text[: max(0, width - len(mark))].rstrip() + mark


def indent_lines(text: str, depth: int) -> str:
    """Every line that is not empty moved to the right by so many spaces."""
    return "\n".join(" " * depth + line if line.strip() else line for line in text.split("\n"))


def in_columns(rows: list[list[str]], gap: int = 2) -> list[str]:
    """Rows of cells as lines in which the columns stand below each other; nothing follows the last cell."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    space = " " * gap
    return [
        space.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]  # fmt: skip
