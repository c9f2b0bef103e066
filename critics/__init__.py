"""Where a trajectory went wrong, and which hint would have helped."""

from critics.finding import CERTAIN, WARNING, Criticized, Finding, read_findings, text_of, write_findings
from critics.hints import hint_for, hint_message, joined, placebo
from critics.rates import Count, Difference, Measured, Rate, Ratio, by_task, difference, drop, measure
from critics.rules import RULES, criticize, rule

__all__ = [
    "CERTAIN",
    "RULES",
    "WARNING",
    "Count",
    "Criticized",
    "Difference",
    "Finding",
    "Measured",
    "Rate",
    "Ratio",
    "by_task",
    "criticize",
    "difference",
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
