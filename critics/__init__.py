"""Where a trajectory went wrong, and which hint would have helped."""

from critics.finding import CERTAIN, WARNING, Finding, read_findings, text_of, write_findings
from critics.hints import hint_for, hint_message, joined, placebo
from critics.rates import Count, Measured, Rate, Ratio, drop, measure
from critics.rules import RULES, criticize, rule

__all__ = [
    "CERTAIN",
    "RULES",
    "WARNING",
    "Count",
    "Finding",
    "Measured",
    "Rate",
    "Ratio",
    "criticize",
    "drop",
    "hint_for",
    "hint_message",
    "joined",
    "measure",
    "placebo",
    "read_findings",
    "rule",
    "text_of",
    "write_findings",
]
