"""What a judge is asked about: the codes, and what each of them means.

Left out: every code that rules decide from the tools and the messages alone (`critics.rules`).
"""

from collections.abc import Mapping

from tools import ErrorCode

MEANINGS: Mapping[ErrorCode, str] = {
    ErrorCode.WRONG_TOOL: "another of the tools is what the request or the rules ask for here",
    ErrorCode.WRONG_VALUE: "an argument has a valid value, and not the one that the request, the rules or the results "
    "say; name the argument",
    ErrorCode.MISSING_CALL: "the turn goes on, or answers, though a call that it relies on was not made",
    ErrorCode.UNNEEDED_CALL: "a call that nothing asks for and no later turn needs",
    ErrorCode.PREMATURE_STOP: "the turn answers while part of what was asked for is not done and could be",
    ErrorCode.MISREAD_RESULT: "the turn says or uses something that an earlier result contradicts",
    ErrorCode.POLICY_VIOLATION: "the turn does what the system text forbids, or leaves out what it demands",
}
"""The judge's codes, as the judge is told of them."""

JUDGE_CODES = frozenset(MEANINGS)

AT_CALL = frozenset({ErrorCode.WRONG_TOOL, ErrorCode.WRONG_VALUE, ErrorCode.UNNEEDED_CALL})
"""Codes that are about one call, so that a finding without one is none."""
