"""Which error an environment's own words stand for, where no schema shows it.

Texts of OpenAI-style dispatchers, MCP servers (both SDKs), pydantic, jsonschema, zod and Python's exceptions. Patterns
are tried in order and the first one decides. Each may name the argument that it is about. What they find is a reading
of prose, so it is a warning, and never mixed with what a schema shows.
"""

import re
from typing import NamedTuple

from tools import ErrorCode

_NAME = r"""\\*['"`]?\b(?P<name>[\w.\[\]-]{1,80})\\*['"`]?"""
_QUOTED = r"""\\*['"`](?P<name>[\w.\[\] -]{1,80})\\*['"`]"""
_KIND = r"(?:function|tool|action|api)\b(?! (?:call )?(?:argument|parameter|input|call|response|result))"


class Wording(NamedTuple):
    """A code, and the argument that the words name, empty where they name none."""

    code: ErrorCode
    name: str


_TEXTS: dict[ErrorCode, tuple[tuple[str, str], ...]] = {
    ErrorCode.NONEXISTENT_TOOL: (
        ("no such", r"no such (?:function|tool|action|api)\b"),
        ("un", r"(?:unknown|unrecognized|undefined) " + _KIND),
        ("in", r"(?:invalid|nonexistent|hallucinated) " + _KIND),
        (
            "not ",
            r"(?:function|tool|action)(?: name)?:? \W{0,2}(?!(?:response|call|result|output|use)\b)"
            r"[\w.:<>|-]{1,80}\W{0,2} (?:is |was )?"
            r"(?:not (?:found|defined|available|recognized|registered|supported|exist)|does not exist)",
        ),
        ("not ", r"(?:function|tool|action) (?:is )?(?:not (?:found|available|registered)|does not exist)"),
        ("n't exist", r"(?:function|tool|action)(?: name)? \W{0,2}[\w.:<>|-]{1,80}\W{0,2} doesn't exist"),
        ("is not defined", r"server \\*['\"][^'\"]{1,80}\\*['\"] is not defined"),
        ("is not defined", r"name \\*'[\w.]+\\*' is not defined"),
        ("there is no", r"there is no (?:function|tool|action) (?:named|called)"),
        ("-32601", r"mcp error -32601"),
    ),
    ErrorCode.UNEXPECTED_ARGUMENT: (
        ("unexpected keyword", r"unexpected keyword argument " + _QUOTED),
        ("additional properties", r"additional properties are not allowed \(" + _QUOTED),
        ("extra inputs", r"(?P<name>[\w.]{1,80})\s{0,9}extra inputs are not permitted"),
        ("extra", r"extra fields not permitted|extra_forbidden"),
        ("unrecognized_key", r"unrecognized_keys"),
        (
            "un",
            r"(?:unknown|unexpected|unrecognized) (?:argument|parameter|keyword|key|field|property)"
            r"(?:\(s\)|s)?(?: in object)?:? " + _NAME,
        ),
        ("takes ", r"takes (?:no|\d+|from \d+ to \d+)(?: positional)? arguments?"),
    ),
    ErrorCode.MISSING_ARGUMENT: (
        ("missing", r"missing \d+ required (?:positional|keyword-only) arguments?: " + _QUOTED),
        ("is a required property", _QUOTED + r" is a required property"),
        ("field required", r"(?P<name>[\w.]{1,80})\s*(?:\n|\\+n)\s*field required"),
        (
            "missing",
            r"missing (?:a |the )?required (?:argument|parameter|field|property|keyword|input)s?(?: value)?:? " + _NAME,
        ),
        ("is ", r"(?:argument|parameter|field|property) " + _QUOTED + r" is (?:required|missing)"),
        ("is required", _NAME + r" (?:argument|parameter|field) is required"),
        ("field required", r"field required"),
        ("missing", r"value_error\.missing|type=missing"),
        ("undefined", r"\\*[\"']received\\*[\"']: ?\\*[\"']undefined\\*[\"']"),
    ),
    ErrorCode.MALFORMED_CALL: (
        ("json", r"json ?decode ?error|invalid json|not valid json"),
        ("expecting ", r"expecting value: line|expecting property name|expecting ',' delimiter"),
        ("unterminated", r"unterminated string"),
        (
            "arguments",
            r"(?:could not|failed to|unable to|cannot) (?:parse|decode)(?: the)?(?: (?:tool|function))?(?: call)?"
            r" arguments",
        ),
        ("error decoding", r"error decoding (?:the )?(?:model|tool|function)"),
    ),
    ErrorCode.WRONG_TYPE: (
        ("is not of type", r"is not of type \\*['\"]\w+\\*['\"]"),
        ("input should be", r"input should be (?:a |an )?valid \w+"),
        ("type=", r"type=(?:string|int|float|bool|list|dict|model)\w*_(?:type|parsing)"),
        ("value is not a valid", r"value is not a valid \w+"),
        ("invalid_type", r"\\*[\"']code\\*[\"']: ?\\*[\"']invalid_type\\*[\"']"),
        (
            "must be ",
            _NAME + r" must be (?:of type |an? )(?:string|int(?:eger)?|number|float|bool(?:ean)?|list|array|dict)\b",
        ),
        ("unsupported operand", r"unsupported operand type"),
        ("can only concatenate", r"can only concatenate"),
        ("object ", r"object of type \\*'\w+\\*' has no len|object is not (?:iterable|subscriptable)"),
    ),
    ErrorCode.INVALID_VALUE: (
        ("is not one of", r"is not one of \["),
        ("input should be", r"input should be (?:\\*['\"]|(?:greater|less) than)"),
        ("pattern", r"(?:does not match|string should match) (?:the )?pattern"),
        ("the selected", r"the selected " + _NAME + r" is invalid"),
        ("enum", r"invalid[_ ]enum[_ ]value"),
        ("than the m", r"is (?:less|greater) than the (?:min|max)imum"),
    ),
}
"""By code: a text that is in all that a pattern finds, in small letters, which tells quickly, and the pattern."""
_PATTERNS = [(code, hint, re.compile(text)) for code, texts in _TEXTS.items() for hint, text in texts]


def wording_of(text: str) -> Wording | None:
    """What the text of an error stands for; None where it may be anything, such as an order that isn't there."""
    small = text.lower()  # to search in it is far quicker than to overlook the case
    if len(small) != len(text):  # a letter of few languages becomes two: then the places differ
        text = small
    for code, hint, pattern in _PATTERNS:
        match = pattern.search(small) if hint in small else None
        if match is not None:
            named = "name" in pattern.groupindex and match["name"] is not None
            return Wording(code, text[slice(*match.span("name"))].strip() if named else "")
    return None
