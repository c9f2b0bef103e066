"""How large a query may become while SQLite compiles it.

Each reference to a part of a WITH is a copy of that part, so twenty lines in which each refers twice to the one before
become a million copies, in memory, before anything is carried out that could be cut off. `expansion` is an upper bound
of the copies of any one part. Left out: SQL in general; only names, parentheses and what is quoted are told apart.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

_TOKEN = re.compile(
    r"""(?P<comment>--[^\n]*|/\*.*?(?:\*/|\Z))"""
    r"""|(?P<quoted>'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\])"""
    r"""|(?P<word>[\w$]+)|(?P<mark>[^\s\w])""",
    re.DOTALL,
)


def expansion(sql: str) -> float:
    """At most how many copies of one part of a WITH a query is compiled to; 1 where it has none."""
    tokens = list(_tokens(sql))
    defined = Counter(_defined(tokens))
    size = 1.0
    for name, definitions in defined.items():
        references = tokens.count(name) - definitions
        # Parts of one name may stand in one another; that is largest where they share the references equally.
        size *= max((max(1.0, references / parts) ** parts for parts in range(1, definitions + 1)), default=1.0)
        if size > 1e9:
            break
    return size


def _tokens(sql: str) -> Iterator[str]:
    """Names and marks. A quoted name is the same name; SQLite takes text in single quotes for one too."""
    for match in _TOKEN.finditer(sql):
        if match["quoted"] is not None:
            yield match["quoted"][1:-1].casefold()
        elif match["comment"] is None:
            yield match[0].casefold()


def _defined(tokens: Sequence[str]) -> Iterator[str]:
    """The names that stand before `AS (`, with or without a list of columns between."""
    for place, token in enumerate(tokens):
        if token != "as":
            continue
        after = place + 1
        while after < len(tokens) and tokens[after] in ("not", "materialized"):
            after += 1
        if tokens[after : after + 1] == ["("] and place:
            before = place - 1
            if tokens[before] == ")":
                before = _opening(tokens, before) - 1
            if before >= 0:
                yield tokens[before]


def _opening(tokens: Sequence[str], closing: int) -> int:
    """Where the parenthesis that is closed at a place was opened."""
    depth = 0
    for place in range(closing, -1, -1):
        depth += {")": 1, "(": -1}.get(tokens[place], 0)
        if depth == 0:
            return place
    return 0
