"""Regular expressions from a stranger's schema, searched in a stranger's text, in bounded time.

Python's `re` goes back and tries again, which for `^(a+)+$` takes longer than anybody waits. So before it searches,
its work is estimated from how the pattern repeats and how long the text is. Where that is too much, Rust's reader
decides, which is linear, if both read the pattern alike; else the text is taken as fitting: what can't be checked is
not reported.
"""

import re
from collections.abc import Callable
from functools import lru_cache

import jsonschema_rs

MAX_STEPS = 10_000_000
"""Python takes well under a second for so many."""

# What Python and Rust read alike, or Rust more narrowly (\d and \w are ASCII there; $ is the very end).
_ALIKE = re.compile(
    r"""(?: (?: [A-Za-z0-9\ _@\#%,:;=!"'<>/~&`-] | \\[dw.\-/+*?()\[\]{}^$|\\] | [.^$|)] | \((?:\?:)?
          | \[ (?!\^|-|[^\]]*--) (?:[A-Za-z0-9\ _.,:;@\#%=!/+*?()$-]|\\[dw.\-])+ \]
          | \[\^ (?!-|[^\]]*--) [A-Za-z0-9\ _.,:;@\#%=!/+*?()$-]+ \] )
          (?: (?: [*+?] | \{\d{1,3}(?:,\d{0,3})?\} ) \?? (?![*+?{]) )? )*""",
    re.VERBOSE | re.ASCII,
)
_ONE_CHARACTER = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)
_REPEAT = r"(?:[*+]|\{\d*,\d*\}|\{\d\d+\})"
_REPEATED_GROUP = re.compile(rf"\){_REPEAT}")


@lru_cache(maxsize=4096)
def reads_alike(pattern: str) -> bool:
    """Whether what Rust's regular expressions accept is certainly accepted by Python's."""
    if _ALIKE.fullmatch(pattern) is None:
        return False
    try:
        re.compile(pattern)
    except (re.error, OverflowError):
        return False
    return True


def found(pattern: str, text: str) -> bool:
    """Whether the pattern is found in the text, or that can't be told in time. Raises re.error for no pattern."""
    if len(text) <= _longest(pattern):
        return re.search(pattern, text) is not None
    in_rust = _in_rust(pattern)
    return in_rust is None or in_rust(text)


@lru_cache(maxsize=4096)
def _longest(pattern: str) -> float:
    """The longest text that Python surely gets through, by the number of its repeats and whether they are nested."""
    plain = _ONE_CHARACTER.sub("x", pattern)
    repeats = len(re.findall(_REPEAT, plain))
    if _REPEATED_GROUP.search(plain) or re.search(r"\\\d|\(\?P=", pattern):  # exponential at worst
        return float(min(20, MAX_STEPS.bit_length() - 1))
    begins = 0 if plain.startswith(("^", r"\A")) and "|" not in plain else 1
    return float(MAX_STEPS ** (1 / max(1, repeats + begins)))


@lru_cache(maxsize=1024)
def _in_rust(pattern: str) -> Callable[[str], bool] | None:
    if not reads_alike(pattern):
        return None
    try:
        is_valid = jsonschema_rs.Draft202012Validator({"pattern": pattern}).is_valid
    except (ValueError, TypeError):
        return None

    def accepts(text: str) -> bool:
        try:
            return is_valid(text)
        except ValueError:  # a lone surrogate, or Rust's own limit
            return True

    return accepts
