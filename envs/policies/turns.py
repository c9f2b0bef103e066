"""What the models in this process have in common: a context becomes tokens, and sampled tokens become a turn.

Left out: how tokens are drawn, which is `envs.policies.hf`'s and `envs.policies.engine`'s.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from envs.context import ContextWriter
from envs.policies.base import Context, Reply
from envs.trajectory import Turn
from tools.command import InputError

MOST_TOKENS = 1_024
"""A turn's limit, where neither the sampling nor the model's generation config says one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How tokens are drawn. `max_new_tokens` is a turn's limit, None the model's own; temperature 0 is greedy."""

    temperature: float = 1.0
    max_new_tokens: int | None = None

    def __post_init__(self) -> None:
        if self.temperature < 0 or (self.max_new_tokens is not None and self.max_new_tokens < 1):
            raise InputError(
                f"temperature must be 0 or more and max_new_tokens 1 or more, came {self.temperature} and "
                f"{self.max_new_tokens}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """What was sampled after one context: a turn's token ids, and their log-probs (nats, at temperature 1)."""

    token_ids: list[int]
    logprobs: list[float]


class TokenPolicy(ABC):
    """Token ids in, token ids out. `longest` is the most tokens of a conversation; `usual` a turn's limit by the model.

    `folder` is where its first weights came from; None where that isn't known.
    """

    name: str
    folder: Path | None = None

    def __init__(
        self, name: str, writer: ContextWriter, longest: int, sampling: Sampling | None, *, usual: int | None = None
    ) -> None:
        self.name, self.writer, self.longest, self.usual = name, writer, longest, usual
        self.sampling = sampling or Sampling()

    @property
    def most_tokens(self) -> int:
        """A turn's limit."""
        return self.sampling.max_new_tokens or self.usual or MOST_TOKENS

    @abstractmethod
    def reload(self, path: str | Path) -> None:
        """Act with the weights in this folder (or hub name) from the next batch on: a model's, or an adapter's.

        It has to be the same model with the same tokenizer. Nothing of the old weights stays: contexts that go on are
        read again. Raises InputError, and goes on with the old weights, where that can't be.
        """

    @abstractmethod
    def _sample_after(self, contexts: Sequence[Context], heard: Sequence[Sequence[int]]) -> list[Sampled]:
        """A turn after each context, which has room for at least one token after what it `heard`."""

    def act(self, contexts: Sequence[Context]) -> list[Reply]:
        """Sample each context's next turn.

        A context that has no room for another token gets an empty reply that is `too_long`. Raises InfrastructureFault
        where a single context does not fit into memory.
        """
        extended = [self._heard(context) for context in contexts]
        heard = [new for new, _ in extended]
        going = [
            number
            for number, (context, new) in enumerate(zip(contexts, heard, strict=True))
            if _length(context) + len(new) < self.longest
        ]
        sampled = self._sample_after([contexts[number] for number in going], [heard[number] for number in going])
        turns = dict(zip(going, sampled, strict=True))
        return [
            self._reply(context, new, exact, turns.get(number))
            for number, (context, (new, exact)) in enumerate(zip(contexts, extended, strict=True))
        ]

    def _heard(self, context: Context) -> tuple[list[int], bool]:
        """The tokens of what came after the context's last turn, or the whole prompt where there is none; and whether
        they are exactly the model's chat form."""
        if not context.turns:
            return self.writer.first(context.messages, context.tools), True
        last = context.turns[-1]
        return self.writer.extend(last.prompt_ids, last.token_ids, context.messages[last.message_index + 1 :])

    def _reply(self, context: Context, heard: list[int], exact: bool, sampled: Sampled | None) -> Reply:
        if sampled is None:
            return Reply(message={"role": "assistant", "content": ""}, cut=True, too_long=True)
        tokens = sampled.token_ids
        message = self.writer.parse(tokens, f"call_{len(context.turns)}", prompt_ids=heard)
        turn = Turn(
            message_index=len(context.messages),
            prompt_ids=heard,
            token_ids=tokens,
            logprobs=sampled.logprobs,
            raw=self.writer.decode(tokens),
        )
        return Reply(message=message, turn=turn, cut=tokens[-1] not in self.writer.stop_ids, token_exact=exact)


def ids_of(context: Context) -> list[int]:
    """The tokens of all that was heard and said, up to and with the last turn."""
    return [token for turn in context.turns for token in (*turn.prompt_ids, *turn.token_ids)]


def check_same(path: str | Path, shapes: Sequence[object], vocabularies: Sequence[object]) -> None:
    """Raises InputError unless the old and the new weights' shapes, and vocabularies, are equal."""
    for what, (old, new) in (("shape", shapes), ("vocabulary", vocabularies)):
        if old != new:
            raise InputError(f"{path} is another model than the one that acts: it has another {what}")


def _length(context: Context) -> int:
    return sum(len(turn.prompt_ids) + len(turn.token_ids) for turn in context.turns)
