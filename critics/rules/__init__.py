"""What is an error: one rule per code, each a function from a `Reading` to findings.

    @rule(ErrorCode.PREMATURE_STOP)
    def premature_stop(reading: Reading) -> Iterator[Finding]: ...

`criticize` runs all of them. Whether a call fits its tool is asked of `tools.check`, once per call, in
`critics.reading`. Left out: errors that only a reader of meaning sees (`wrong_tool`, `misread_result`, ...).
"""

from critics.rules import calls, grounding, refusals, turns
from critics.rules.registry import RULES, Rule, criticize, rule

__all__ = ["RULES", "Rule", "calls", "criticize", "grounding", "refusals", "rule", "turns"]
