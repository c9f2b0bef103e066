"""Logits out of hidden states, and what is made of them: some rows at a time, so that they are never whole.

A row of logits is as long as the vocabulary, and a loss needs several tensors of that length. So tokens are taken in
chunks, and a chunk's logits are made again in the backward pass in place of being kept. What stays of a token is its
hidden state. Few tokens, or a small vocabulary, are a single chunk, and nothing is made twice.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any, Protocol

import torch
from torch.nn.functional import linear
from torch.utils.checkpoint import checkpoint

from distill.divergence import TopK

CHUNK = 2**24
"""Logits of a chunk: 64 MiB in fp32, 110 tokens at a vocabulary of 152,000."""

Divergence = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Speaker(Protocol):
    """What makes log-probs of what a teacher says at N tokens: of hidden states, or of what a server gives."""

    def token_logprobs(self, said_N: torch.Tensor, tokens_N: torch.Tensor) -> torch.Tensor:
        """The log-probs of some tokens, [N]."""

    def likeliest(self, said_N: torch.Tensor, most: int) -> TopK:
        """At most so many of the likeliest tokens, first the likeliest."""

    def beside(self, said_N: torch.Tensor, student_NV: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probs of the teacher and of the student, of the same choices; the gradient is the student's."""


@dataclass(frozen=True, slots=True)
class Head:
    """A model's last layer. `reading` is what the model has to be in while it is read: without its adapter, say."""

    model: Any
    reading: Callable[[], AbstractContextManager[Any]] = nullcontext

    def logits(self, hidden_ND: torch.Tensor) -> torch.Tensor:
        """[N, V], in fp32 at least, as the model's own forward makes them.

        Some families do something to them after the last matrix: Cohere and Falcon-H1 multiply, Granite divides, Gemma
        caps. `strange_head` finds one that does something else.
        """
        config = self.model.config.get_text_config()
        with self.reading():
            logits_NV: torch.Tensor = self.model.get_output_embeddings()(hidden_ND)
        for name in ("logit_scale", "lm_head_multiplier"):
            if (scale := getattr(config, name, None)) is not None:
                logits_NV = logits_NV * scale
        if (divisor := getattr(config, "logits_scaling", None)) is not None:
            logits_NV = logits_NV / divisor
        if (cap := getattr(config, "final_logit_softcapping", None)) is not None:
            logits_NV = (logits_NV / cap).tanh() * cap
        return logits_NV.to(torch.promote_types(logits_NV.dtype, torch.float32))

    def logprobs(self, hidden_ND: torch.Tensor) -> torch.Tensor:
        """[N, V], whole."""
        return self.logits(hidden_ND).log_softmax(-1)

    def token_logprobs(self, hidden_ND: torch.Tensor, tokens_N: torch.Tensor) -> torch.Tensor:
        """The log-probs of some tokens, [N]; the gradient is the hidden states' and the head's."""

        def some(hidden_CD: torch.Tensor, tokens_C: torch.Tensor) -> torch.Tensor:
            logits_CV = self.logits(hidden_CD)
            return logits_CV.gather(-1, tokens_C[:, None])[:, 0] - logits_CV.logsumexp(-1)

        return in_chunks(some, self.rows, hidden_ND, tokens_N)

    def likeliest(self, hidden_ND: torch.Tensor, most: int) -> TopK:
        """At most so many of the likeliest tokens; makes the logits whole, so it is for few rows."""
        logprobs_NK, ids_NK = self.logprobs(hidden_ND).topk(min(most, self.model.config.get_text_config().vocab_size))
        return TopK(ids_NK, logprobs_NK)

    def beside(self, hidden_ND: torch.Tensor, student_NV: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Both over the whole vocabulary, [N, V]."""
        with torch.no_grad():
            return self.logprobs(hidden_ND), student_NV

    def kept(self) -> "Head":
        """This head as it is now, whatever its model learns: it has a copy of the last matrix."""
        last = self.model.get_output_embeddings()
        bias = getattr(last, "bias", None)
        now = partial(linear, weight=last.weight.detach().clone(), bias=None if bias is None else bias.detach().clone())
        return Head(SimpleNamespace(config=self.model.config, get_output_embeddings=lambda: now))

    @property
    def rows(self) -> int:
        """How many tokens a chunk has."""
        return max(1, CHUNK // int(self.model.config.get_text_config().vocab_size))


def divergences(
    of: Divergence, teacher: Speaker, teacher_N: torch.Tensor, student: Head, student_ND: torch.Tensor
) -> torch.Tensor:
    """How far the student is from the teacher at each of N tokens, in nats, [N]: exact, over the whole vocabulary.

    Both are given by their hidden states, but for a teacher behind a server, of whom less is known. The gradient is
    the student's, its head's included.
    """

    def some(teacher_C: torch.Tensor, student_CD: torch.Tensor) -> torch.Tensor:
        return of(*teacher.beside(teacher_C, student.logprobs(student_CD)))

    return in_chunks(some, student.rows, teacher_N, student_ND)


def in_chunks(some: Callable[..., torch.Tensor], rows: int, *tensors: torch.Tensor) -> torch.Tensor:
    """`some` of so many rows of the tensors at a time; what it makes on the way is made again in the backward pass."""
    if len(tensors[0]) <= rows:
        return some(*tensors)
    chunks = zip(*(tensor.split(rows) for tensor in tensors), strict=True)
    if not torch.is_grad_enabled():
        return torch.cat([some(*chunk) for chunk in chunks])
    return torch.cat([checkpoint(some, *chunk, use_reentrant=False, preserve_rng_state=False) for chunk in chunks])


@torch.no_grad()
def strange_head(model: Any) -> bool:
    """Whether the model's own forward makes other logits of its hidden states than `Head` does."""
    ids = torch.arange(2, 6, device=model.device)[None] % model.config.get_text_config().vocab_size
    own = model(input_ids=ids, use_cache=False).logits[0]
    ours = Head(model).logits(model.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state[0])
    return not torch.allclose(own.to(ours.dtype), ours, rtol=1e-2, atol=1e-2, equal_nan=True)
