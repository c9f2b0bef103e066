"""What the answer to a call says, in the environment's own words: carried out, refused, or failed by itself.

Environments have no common form. Some set a flag (`is_error`, MCP's `isError`), some answer `{"error": ...}`, some
write `Error: ...`, and some hand on the text of an exception. Three questions are asked of an answer:

- Is it an error? By a flag, or by how the text begins.
- Was it the environment's own fault (a timeout, 429, a lost connection)? Then nobody's call is to blame.
- Is there any word of refusal in it? If not, a call that the schema forbids was carried out all the same.

Left out: which of our codes an error's words stand for (`critics.wording`).
"""

import re
from collections.abc import Mapping
from enum import Enum
from functools import lru_cache
from typing import Any

from critics.finding import content_of

HEAD, TAIL = 400, 120
"""Errors say so at the beginning; MCP's flag stands at the end. The middle of a long answer is data."""
FLAG = 20
"""Characters that a flag such as `"isError": false` takes at most; none is cut in two."""


class Answer(Enum):
    """What an answer is taken for. FLAGGED is an error that a flag tells; a FAULT is the environment's own."""

    NONE = "none"
    NO_ERROR = "no error"
    ERROR = "error"
    FLAGGED = "flagged"
    FAULT = "fault"


NONE, NO_ERROR, ERROR, FLAGGED, FAULT = Answer
"""Python 3.11 takes as long to find a member in its enum as to search a short text."""


_NOTHING = r"""\\*["']?\s*[:=]\s*(?:false|null|none|\\*""\\*|\\*''\\*|\[\]|\{\}|0\b)"""
_NO_ERROR = re.compile(rf"""(?:is_?error|errors?|error_?message|failed){_NOTHING}|(?:errors|failed)["']\s*:\s*\d+""")
_MAY_SAY_SO = re.compile(rf"""error(?:s|_?message)?(?:{_NOTHING}|["']\s*:\s*\d)""")
"""This or `failed` is in all that `_NO_ERROR` finds. It begins with one word, so it is found much faster."""
_FLAGS_OF_SUCCESS = ("iserror=false", '"iserror": false', '"error": ""', '"error": null')
"""What `_NO_ERROR` finds too, found faster: on many logs one of them is in every answer."""
_NO_FLAG = "isError=False"
"""How the answers of an MCP client that prints them whole end."""
_FLAG = re.compile(r"""is_?error\\*["']?\s*[:=]\s*true""")
_WRAPPED = re.compile(r"""text\\*["']?\s*[:=]\s*\\*["']""")
WRAPPING = 240
"""An MCP result that was printed whole has its text so far from its beginning, at most."""
_ERROR = re.compile(
    r"""\W*+(?:[\w.]*?(?:error|exception|traceback|failure|failed to|invalid |unknown |unexpected |missing |no such )"""
    r"""|(?:input |tool |\d+ )?validation error|mcp error"""
    r"""|(?:tool|function|action) \W?[\w.:/-]{1,80}\W? """
    r"""(?:(?:is |was )?not (?:found|available|registered)|does not exist))"""
)
_SPACE = r"""(?:\s|\\+n)*"""
_ERROR_KEY = re.compile(
    rf"""{_SPACE}\[?{_SPACE}\{{{_SPACE}\\*["'](?:(?:errors?|error_?message|exception)\\*["']\s*:|status\\*["']\s*:\s*\\*["']error\b)"""
)
_FAULT_WORDS = (
    "rate limit", "too many requests", "quota", "econn", "enotfound", "network error", "temporarily",
    "service unavailable", "bad gateway", "fetch failed", "overloaded", "out of memory", "cannot connect",
    "unreachable",
)  # fmt: skip
_STATUS = re.compile(r"(?:status(?:[ _]code)?|http(?: error)?|code)\W{0,3}(?:429|5\d\d)\b")
_FAULTS = (
    ("time", re.compile(r"time[d ]*[ -]?out")),
    ("connection ", re.compile(r"connection (?:error|refused|reset|aborted|closed|timeout)")),
    ("internal", re.compile(r"internal[ _](?:server[ _])?error")),
    ("code", _STATUS), ("http", _STATUS), ("status", _STATUS),
)  # fmt: skip
"""A word that is in all that a pattern finds, and the pattern: words are found in a fraction of its time."""
REFUSING = (
    "error", "exception", "traceback", "invalid", "not found", "unknown", "no such", "n't ", "does not", "do not",
    "not exist", "not available", "unavailable", "unsupported", "not supported", "undefined", "not defined",
    "unrecognized", "cannot", "unable", "fail", "missing", "required", "unexpected", "must ", "denied", "forbidden",
    "refuse", "reject", "illegal", "not allowed", "not permitted", "not valid", "bad request", "sorry", "expected",
    "violat", "mismatch", "incorrect", "wrong", "no tool", "no function", "not a ", "not have", "not callable",
    "out of range", "malformed", "could not", "should be", "not enough", "too many", "not implemented", "unauthorized",
    "available tool", "available function", "valid tool", "valid function", "did you mean", "try again",
)  # fmt: skip
"""An answer that has none of these in it is no error, in any environment whose words are English."""


def answer_of(result: Mapping[str, Any] | None) -> Answer:
    """What a tool's message is taken for."""
    if result is None:
        return NONE
    content = result.get("content")
    text = content if type(content) is str else content_of(dict(result))
    if len(text) > HEAD + TAIL:  # then no more of it is read, and it is remembered so
        text = text[: HEAD + FLAG] + text[-TAIL:]
    return _flagged(text) if not _FLAGS.isdisjoint(result) and _is_flagged(result) else _unflagged(text)


_FLAGS = frozenset({"is_error", "isError", "status"})


def _is_flagged(result: Mapping[str, Any]) -> bool:
    return bool(result.get("is_error") or result.get("isError")) or result.get("status") == "error"


@lru_cache(maxsize=8192)  # answers are given again in the same words; a key of one text is found fastest
def _unflagged(text: str) -> Answer:
    return _answer(text, False)


@lru_cache(maxsize=8192)
def _flagged(text: str) -> Answer:
    return _answer(text, True)


def _answer(text: str, flagged: bool) -> Answer:
    ends = _ends(text)
    if not flagged and "error" not in ends and not _ERROR.match(ends, _beginning(ends)):
        return NONE if not ends or ends.isspace() else NO_ERROR
    flagged = flagged or ("true" in ends and _FLAG.search(ends) is not None)
    plain = _without_flags(ends)
    if not flagged and not _ERROR.match(plain, _beginning(plain)) and not _ERROR_KEY.match(plain, _beginning(plain)):
        return NO_ERROR
    if not ends.startswith('{"errors"') and _is_fault(plain):  # what our own worlds refuse is no fault of theirs
        return FAULT
    return FLAGGED if flagged else ERROR


def _is_fault(text: str) -> bool:
    for word in _FAULT_WORDS:
        if word in text:
            return True
    return any(word in text and pattern.search(text) for word, pattern in _FAULTS)


def _beginning(ends: str) -> int:
    """Where the text itself begins, inside what a program has wrapped it in."""
    end = 0
    if ends.find("text", 0, WRAPPING) != -1:
        for match in _WRAPPED.finditer(ends, 0, WRAPPING):
            end = match.end()
    return end


def flagged_answer(result: Mapping[str, Any] | None) -> Answer:
    """The same where the world is one of ours, which flags every error: what its results speak of is data."""
    if result is None:
        return NONE
    return FLAGGED if result.get("is_error") else NO_ERROR


def refuses(result: Mapping[str, Any]) -> bool:
    """Whether there is any word of refusal in an answer; a flag that says there was no error is none."""
    plain = _without_flags(_ends(content_of(dict(result))))
    return any(word in plain for word in REFUSING)


def _without_flags(ends: str) -> str:
    """The text without what says that there was no error."""
    return _NO_ERROR.sub("", ends) if "failed" in ends or _MAY_SAY_SO.search(ends) else ends


def _ends(text: str) -> str:
    """The beginning and the end of an answer, in small letters."""
    end = len(text) - len(_NO_FLAG) if text.endswith(_NO_FLAG) else len(text)
    if len(text) <= HEAD + TAIL:
        ends = text[:end].lower()
    else:
        head = HEAD + FLAG if "error" in text[HEAD - FLAG : HEAD].lower() else HEAD
        ends = f"{text[:head]} {text[len(text) - TAIL : end]}".lower()
    if "error" in ends:
        for flag in _FLAGS_OF_SUCCESS:
            ends = ends.replace(flag, "")
    return ends
