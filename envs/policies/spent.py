"""What a policy on a server has used: tokens, and what they cost at given prices."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(slots=True, kw_only=True)
class Spent:
    """Sums over all answers; prices are per million tokens. A request that came to nothing is in `retries` only."""

    price_in: float = 0.0
    price_out: float = 0.0
    answers: int = 0
    retries: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def add(self, prompt_tokens: int, completion_tokens: int) -> None:
        self.answers += 1
        self.prompt_tokens += prompt_tokens
        self.completion_tokens += completion_tokens

    @property
    def cost(self) -> float:
        return (self.prompt_tokens * self.price_in + self.completion_tokens * self.price_out) / 1e6

    def to_json(self) -> dict[str, Any]:
        """The sums; the cost is None where no price was given."""
        return {**asdict(self), "cost": self.cost if self.price_in or self.price_out else None}

    def line(self) -> str:
        parts = [f"{self.prompt_tokens:,} tokens in", f"{self.completion_tokens:,} out"]
        if self.price_in or self.price_out:
            parts.append(f"cost {self.cost:.4g}")
        if self.retries:
            parts.append(f"{self.retries} retries")
        return ", ".join(parts)
