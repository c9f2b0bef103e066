"""The critic that reads: a model that says where the mistakes are which rules can't see.

`Judge` asks it, `answer.py` checks what it says, `Critic` puts it beside the rules. How good one is:
`python -m critics.judge store-v1 --judge MODEL@URL`. No torch is loaded unless a model of this machine is the judge.
"""

from critics.judge.codes import JUDGE_CODES
from critics.judge.critic import Critic
from critics.judge.hinting import HintWriter
from critics.judge.judge import Judge

__all__ = ["JUDGE_CODES", "Critic", "HintWriter", "Judge"]
