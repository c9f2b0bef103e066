"""Rows of comma-separated values."""

SEPARATOR = ","
QUOTE = '"'


def parse_row(line: str) -> list[str]:
    """The cells of a line. A quoted cell may hold separators, and a quote that is written twice.

    Raises ValueError for a quote that is not closed.
    """
    cells, cell = [], ""
    quoted = False
    position = 0
    while position < len(line):
        character = line[position]
        if quoted and character == QUOTE and line[position + 1 : position + 2] == QUOTE:
            cell += QUOTE
            position += 1
        elif character == QUOTE:
            quoted = not quoted
        elif character == SEPARATOR and not quoted:
            cells.append(cell)
            cell = ""
        else:
            cell += character
        position += 1
    if quoted:
        raise ValueError("a quote is not closed")
    return [*cells, cell]


def format_row(cells: list[str]) -> str:
    """A line of cells, quoted where they have to be."""
    return SEPARATOR.join(map(_quoted, cells))


def _quoted(cell: str) -> str:
    if SEPARATOR in cell or QUOTE in cell:
        return QUOTE + cell.replace(QUOTE, QUOTE * 2) + QUOTE
    return cell


def read_table(text: str) -> list[dict[str, str]]:
    """The rows below the first as dicts by its cells. Empty lines are left out; missing cells are empty."""
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        return []
    names = parse_row(lines[0])
    table = []
    for line in lines[1:]:
        cells = parse_row(line)
        cells += [""] * (len(names) - len(cells))
        table.append(dict(zip(names, cells, strict=False)))
    return table
