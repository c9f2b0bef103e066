"""What `python -m critics` is told about its judge."""

from dataclasses import dataclass
from pathlib import Path

from critics.judge.asker import MOST_TOKENS
from critics.judge.critic import Critic
from envs.policies.server import ServerOptions
from tools.command import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeOptions:
    """Which model reads what rules can't see, and what that costs."""

    judge: str | None = None
    """Ask a model about what rules can't see: openai:MODEL@BASE_URL, or hf:FOLDER of one on this machine."""
    judge_hints: bool = False
    """Let it write the hints too; one that gives the right path away is refused."""
    judge_cache: Path | None = None
    """Where its answers are kept, so that nothing is paid for twice; else beside the findings, or the trajectories."""
    judge_concurrency: int = 32
    """The most questions in flight at a server."""
    judge_max_tokens: int = MOST_TOKENS
    """The most tokens of an answer; a model that thinks first may need more."""
    price_in: float = 0.0
    """What a million tokens of prompt cost, in a currency of your choice."""
    price_out: float = 0.0
    """What a million tokens of answer cost."""

    def critic(self, beside: Path) -> Critic:
        """The critic that these options name; its answers are kept beside a file, unless they say where."""
        if self.judge is None:
            if self.judge_hints or self.judge_cache:
                raise InputError("--judge-hints and --judge-cache need a --judge")
            return Critic("rules")
        if self.judge_cache is None and str(beside) == "-":
            raise InputError("say with --judge-cache where the answers about standard input are to be kept")
        hints = f",hints:{self.judge}" if self.judge_hints else ""
        options = ServerOptions(
            concurrency=self.judge_concurrency,
            max_tokens=self.judge_max_tokens,
            price_in=self.price_in,
            price_out=self.price_out,
        )
        cache = self.judge_cache or beside.with_name(f"{beside.name}.judge.jsonl")
        return Critic(f"rules,judge:{self.judge}{hints}", cache=cache, options=options)
