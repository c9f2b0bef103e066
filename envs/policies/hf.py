"""A transformers model as a policy: batched multi-turn sampling, keys and values kept between turns.

A batch goes turn by turn in step: every row's new tokens (results, generation prompt) are prefilled, then all rows are
sampled token by token until each has finished its turn. Left out: how rows are held (`envs.policies.rows`), loading
(`envs.policies.loading`), other devices' tricks (compile, CUDA graphs).
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import torch

from envs.context import ContextWriter
from envs.policies.base import Context
from envs.policies.loading import TINY, load_model, longest_context, model_folder, stop_ids_of, usual_tokens
from envs.policies.rows import Rows
from envs.policies.turns import Sampled, Sampling, TokenPolicy, check_same, ids_of
from tools import InfrastructureFault

__all__ = ["TINY", "LocalPolicy", "Sampling", "load_model"]

_LOG = logging.getLogger(__name__)


class OutOfMemory(Exception):
    """A batch was too large for the machine."""


class LocalPolicy(TokenPolicy):
    """Samples turns from a model in this process. The model may change between batches, never within one.

    Finished contexts cost nothing, and new ones may join those that go on without anything being read again. `joins`
    says whether joining is worth it: on a CPU a young row pays for the old rows' columns. Who else is in a batch
    changes log-probs in the last bits, and with them, once in a while, a token. `largest_batch` gets smaller once one
    did not fit into memory.
    """

    def __init__(self, name: str, model: Any, tokenizer: Any, sampling: Sampling | None = None) -> None:
        stop_ids = stop_ids_of(model.generation_config)
        writer = ContextWriter(tokenizer, model_type=model.config.model_type, stop_ids=stop_ids)
        usual = usual_tokens(model.generation_config)
        super().__init__(name, writer, longest_context(model), sampling, usual=usual)
        self.model = model
        self.joins = model.device.type != "cpu"
        self.largest_batch = 2**31
        self._rows: Rows | None = None

    @classmethod
    def load(cls, path: str | Path, *, name: str = "", sampling: Sampling | None = None) -> "LocalPolicy":
        """A policy from a model's or an adapter's folder, or a hub name; `tiny` is the embedded model."""
        folder = model_folder(path)
        policy = cls(name or str(path), *load_model(folder), sampling)
        policy.folder = folder
        return policy

    def reload(self, path: str | Path) -> None:
        model, tokenizer = load_model(path)
        shapes = [{key: tuple(part.shape) for key, part in each.state_dict().items()} for each in (self.model, model)]
        check_same(path, shapes, [each.get_vocab() for each in (self.writer.tokenizer, tokenizer)])
        self.model, self._rows = model, None

    @torch.inference_mode()
    def complete(self, prompts: Sequence[Sequence[int]], rngs: Sequence[Random]) -> list[list[int]]:
        """Sample one turn after each prompt, remembering nothing."""
        rows = Rows(self.model, prompts)
        return [sampled.token_ids for sampled in self._sample(rows, rows.prefill(prompts), rngs)]

    @torch.inference_mode()
    def _sample_after(self, contexts: Sequence[Context], heard: Sequence[Sequence[int]]) -> list[Sampled]:
        """A turn after each context; a batch that does not fit into memory is halved, from now on too."""
        chances = [context.rng.getstate() for context in contexts]
        size = min(self.largest_batch, len(contexts))
        sampled: list[Sampled] = []
        while len(sampled) < len(contexts):
            part = slice(len(sampled), len(sampled) + size)
            try:
                with _memory_counts():
                    sampled += self._together(contexts[part], heard[part])
            except OutOfMemory as error:
                self._rows = None
                for context, chance in zip(contexts[part], chances[part], strict=True):
                    context.rng.setstate(chance)
                if size == 1:
                    raise InfrastructureFault(f"out of memory with a single conversation: {error}") from error
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()
                size = (size + 1) // 2
                if self.largest_batch == 2**31:
                    _LOG.warning("%s: out of memory; going on with a batch of %d or less", self.name, size)
                self.largest_batch = size
        return sampled

    def _together(self, contexts: Sequence[Context], heard: Sequence[Sequence[int]]) -> list[Sampled]:
        """A turn after each context, in one batch. A context without a row is prefilled from its start."""
        rows = self._rows = self._rows.kept(contexts) if self._rows else Rows(self.model, contexts)
        fed = [
            [*(context.turns[-1].token_ids[-1:] if length else ids_of(context)), *new]
            for context, length, new in zip(contexts, rows.lengths, heard, strict=True)
        ]
        return self._sample(rows, rows.prefill(fed), [context.rng for context in contexts])

    def _sample(self, rows: Rows, logits_RV: torch.Tensor, rngs: Sequence[Random]) -> list[Sampled]:
        """Draw tokens until every row has a stop token, its limit, or the model's longest context."""
        sampled = [Sampled(token_ids=[], logprobs=[]) for _ in rngs]
        running = list(range(len(rngs)))
        for place in range(self.most_tokens):
            tokens_R, scores_R = self._draw([rngs[row] for row in running], logits_RV)
            for row, token, score in zip(running, tokens_R, scores_R, strict=True):
                sampled[row].token_ids.append(token)
                sampled[row].logprobs.append(score)
            going = [
                number
                for number, row in enumerate(running)
                if tokens_R[number] not in self.writer.stop_ids and rows.lengths[row] + 2 <= self.longest
            ]
            running = [running[number] for number in going]
            if not running or place + 1 == self.most_tokens:
                break
            logits_RV = rows.append([tokens_R[number] for number in going], running)
        return sampled

    def _draw(self, rngs: Sequence[Random], logits_RV: torch.Tensor) -> tuple[list[int], list[float]]:
        """A token for each row and its log-prob (nats, at temperature 1). Chance comes from each row's own rng."""
        if self.sampling.temperature == 1:
            return _drawn(rngs, logits_RV)
        logprobs_RV = logits_RV.double().log_softmax(-1)
        if self.sampling.temperature == 0:
            tokens_R1 = logprobs_RV.argmax(-1, keepdim=True)
        else:
            cumulative_RV = (logprobs_RV / self.sampling.temperature).softmax(-1).cumsum(-1)
            tokens_R1 = _at(cumulative_RV, _points(rngs, logits_RV.device))
        scores: list[float] = logprobs_RV.gather(-1, tokens_R1)[:, 0].tolist()
        tokens: list[int] = tokens_R1[:, 0].tolist()
        return tokens, scores


def _drawn(rngs: Sequence[Random], logits_RV: torch.Tensor) -> tuple[list[int], list[float]]:
    """The same at temperature 1, in a third of the time: one softmax, in single precision, and only its sum in double.
    It may differ in the last bits, as it does with who else is in the batch."""
    probs_RV = logits_RV.softmax(-1)
    cumulative_RV = probs_RV.cumsum(-1, dtype=torch.double)
    tokens_R1 = _at(cumulative_RV, _points(rngs, logits_RV.device) * cumulative_RV[:, -1:])
    return tokens_R1[:, 0].tolist(), probs_RV.gather(-1, tokens_R1)[:, 0].log().tolist()


def _points(rngs: Sequence[Random], device: torch.device) -> torch.Tensor:
    return torch.tensor([rng.random() for rng in rngs], dtype=torch.double, device=device)[:, None]


def _at(cumulative_RV: torch.Tensor, points_R1: torch.Tensor) -> torch.Tensor:
    """Where each point falls."""
    return torch.searchsorted(cumulative_RV, points_R1, right=True).clamp_max(cumulative_RV.shape[-1] - 1)


@contextmanager
def _memory_counts() -> Iterator[None]:
    """A GPU's allocator has an error of its own; a CPU's says it in the text of one that may mean anything."""
    try:
        yield
    except MemoryError as error:
        raise OutOfMemory(str(error)) from error
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error):
            raise OutOfMemory(str(error).partition("\n")[0]) from error
        raise
