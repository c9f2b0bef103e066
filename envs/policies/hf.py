"""A transformers model as a policy: batched multi-turn sampling, keys and values kept between turns.

A batch goes turn by turn in step: every row's new tokens (results, generation prompt) are prefilled as one block, then
sampled token by token. Rows have different lengths, so the block is padded on its left and a row that has finished its
turn leaves holes; holes are masked and positions count a row's own tokens only, which makes the padding exact.
Left out: rows that enter in the middle of a batch, other devices' tricks (compile, CUDA graphs).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.cache_utils import DynamicCache, DynamicLayer
from transformers.utils.logging import disable_progress_bar

from envs.context import ContextWriter
from envs.policies.base import Context, Reply
from envs.trajectory import Turn
from tools.command import InputError

TINY = Path(__file__).parent / "tiny"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How tokens are drawn. `max_new_tokens` is a turn's limit; temperature 0 is greedy."""

    temperature: float = 1.0
    max_new_tokens: int = 96

    def __post_init__(self) -> None:
        if self.temperature < 0 or self.max_new_tokens < 1:
            raise InputError(
                f"temperature must be 0 or more and max_new_tokens 1 or more, came {self.temperature} and "
                f"{self.max_new_tokens}"
            )


def load_model(path: str | Path) -> tuple[Any, Any]:
    """A causal LM and its tokenizer from a folder, in fp32 on a CPU and in bf16 on a GPU.

    Raises InputError for a folder that isn't a model.
    """
    if not (Path(path) / "config.json").is_file():
        raise InputError(f"{path} is no model folder: it has no config.json (give 'tiny' or a Hugging Face checkpoint)")
    disable_progress_bar()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    try:
        tokenizer = AutoTokenizer.from_pretrained(path)
        model: Any = AutoModelForCausalLM.from_pretrained(path, dtype=dtype, attn_implementation="sdpa")
    except (OSError, ValueError) as error:
        raise InputError(f"{path} can't be loaded as a causal language model: {error}") from error
    return model.to(device).eval(), tokenizer


class LocalPolicy:
    """Samples turns from a model in this process. The model may change between batches, never within one."""

    def __init__(self, name: str, model: Any, tokenizer: Any, sampling: Sampling | None = None) -> None:
        self.name, self.model = name, model
        self.sampling = sampling or Sampling()
        self.writer = ContextWriter(tokenizer, model_type=model.config.model_type)
        self.longest: int = model.config.max_position_embeddings
        self._rows: _Rows | None = None

    @classmethod
    def load(cls, path: str | Path, *, name: str = "", sampling: Sampling | None = None) -> "LocalPolicy":
        """A policy from a model folder; `tiny` is the embedded model."""
        folder = TINY if str(path) == "tiny" else path
        return cls(name or str(path), *load_model(folder), sampling)

    @torch.inference_mode()
    def act(self, contexts: Sequence[Context]) -> list[Reply]:
        """Sample each context's next turn. Contexts must be new ones, or ones of the last call that go on."""
        rows = self._rows.kept(contexts) if self._rows else None
        if rows is None:
            rows = _Rows(self.model, contexts)
            new_ids = [self.writer.first(context.messages, context.tools) for context in contexts]
        else:
            new_ids = [self._heard(context) for context in contexts]
        self._rows = rows
        pending = [turn.token_ids[-1:] if turn else [] for turn in (_last_turn(context) for context in contexts)]
        logits_BV = rows.prefill([[*last, *new] for last, new in zip(pending, new_ids, strict=True)])
        sampled, logprobs = self._sample(rows, logits_BV, [context.rng for context in contexts])
        return [
            self._reply(context, new, tokens, scores)
            for context, new, tokens, scores in zip(contexts, new_ids, sampled, logprobs, strict=True)
        ]

    @torch.inference_mode()
    def complete(self, prompts: Sequence[Sequence[int]], rngs: Sequence[Random]) -> list[list[int]]:
        """Sample one turn after each prompt, remembering nothing."""
        rows = _Rows(self.model, prompts)
        return self._sample(rows, rows.prefill(prompts), rngs)[0]

    def _heard(self, context: Context) -> list[int]:
        """The tokens of what came after the context's last turn."""
        last = context.turns[-1]
        return self.writer.extension(last.prompt_ids, last.token_ids, context.messages[last.message_index + 1 :])

    def _sample(
        self, rows: "_Rows", logits_BV: torch.Tensor, rngs: Sequence[Random]
    ) -> tuple[list[list[int]], list[list[float]]]:
        """Draw tokens until every row has a stop token, its limit, or the model's longest context."""
        sampled: list[list[int]] = [[] for _ in rngs]
        logprobs: list[list[float]] = [[] for _ in rngs]
        running = [True] * len(rngs)
        for place in range(self.sampling.max_new_tokens):
            tokens_B, scores_B = self._draw(rngs, running, logits_BV)
            for row, going in enumerate(running):
                if going:
                    sampled[row].append(tokens_B[row])
                    logprobs[row].append(scores_B[row])
                    full = rows.lengths[row] + 2 > self.longest
                    running[row] = tokens_B[row] not in self.writer.stop_ids and not full
            if not any(running) or place + 1 == self.sampling.max_new_tokens:
                break
            logits_BV = rows.append(tokens_B, running)
        return sampled, logprobs

    def _draw(
        self, rngs: Sequence[Random], running: Sequence[bool], logits_BV: torch.Tensor
    ) -> tuple[list[int], list[float]]:
        """A token for each row and its log-prob (nats, at temperature 1). Chance comes from each row's own rng."""
        logprobs_BV = logits_BV.double().log_softmax(-1)
        if self.sampling.temperature == 0:
            tokens_B1 = logprobs_BV.argmax(-1, keepdim=True)
        else:
            points = [rng.random() if going else 0.0 for rng, going in zip(rngs, running, strict=True)]
            cumulative_BV = (logprobs_BV / self.sampling.temperature).softmax(-1).cumsum(-1)
            points_B1 = torch.tensor(points, dtype=torch.double, device=logits_BV.device)[:, None]
            tokens_B1 = torch.searchsorted(cumulative_BV, points_B1, right=True).clamp_max(logits_BV.shape[-1] - 1)
        scores: list[float] = logprobs_BV.gather(-1, tokens_B1)[:, 0].tolist()
        tokens: list[int] = tokens_B1[:, 0].tolist()
        return tokens, scores

    def _reply(self, context: Context, new: list[int], tokens: list[int], logprobs: list[float]) -> Reply:
        message = self.writer.parse(tokens, f"call_{len(context.turns)}", prompt_ids=new)
        turn = Turn(
            message_index=len(context.messages),
            prompt_ids=new,
            token_ids=tokens,
            logprobs=logprobs,
            raw=self.writer.decode(tokens),
        )
        return Reply(message=message, turn=turn, cut=tokens[-1] not in self.writer.stop_ids)


def _last_turn(context: Context) -> Turn | None:
    return context.turns[-1] if context.turns else None


class _Rows:
    """A batch's keys and values: one row a context, one column a position, holes where a row has no token."""

    def __init__(self, model: Any, keys: Sequence[object]) -> None:
        """An empty row for each key; a key is known by its identity."""
        self.model, self.keys = model, list(keys)
        self.cache = DynamicCache(config=model.config)
        self.cache.layers = [_RoomyLayer() for _ in self.cache.layers]
        self.lengths = [0] * len(self.keys)
        self.filled_BC = torch.zeros(len(self.keys), 0, dtype=torch.bool, device=model.device)

    def kept(self, keys: Sequence[object]) -> "_Rows | None":
        """These rows without those of other keys; None if a key has no row here."""
        places = {id(key): place for place, key in enumerate(self.keys)}
        if not all(id(key) in places for key in keys):
            return None
        if list(keys) != self.keys:
            keep = [places[id(key)] for key in keys]
            self.cache.batch_select_indices(torch.tensor(keep, device=self.model.device))
            self.filled_BC = self.filled_BC[keep]
            self.lengths = [self.lengths[place] for place in keep]
            self.keys = list(keys)
        return self

    def prefill(self, new_ids: Sequence[Sequence[int]]) -> torch.Tensor:
        """Append each row's tokens as one block, padded on the left; logits [B, V] after the last of them."""
        width = max(map(len, new_ids))
        padding = [width - len(ids) for ids in new_ids]
        ids_BW = [[0] * pad + list(ids) for pad, ids in zip(padding, new_ids, strict=True)]
        positions_BW = [
            [0] * pad + list(range(length, length + width - pad))
            for pad, length in zip(padding, self.lengths, strict=True)
        ]
        filled_BW = [[False] * pad + [True] * (width - pad) for pad in padding]
        self.lengths = [length + len(ids) for length, ids in zip(self.lengths, new_ids, strict=True)]
        return self._forward(ids_BW, positions_BW, filled_BW)

    def append(self, tokens: Sequence[int], running: Sequence[bool]) -> torch.Tensor:
        """Append one token to each running row, a hole to the others; logits [B, V] after it."""
        positions = [[length if going else 0] for length, going in zip(self.lengths, running, strict=True)]
        self.lengths = [length + going for length, going in zip(self.lengths, running, strict=True)]
        return self._forward([[token] for token in tokens], positions, [[going] for going in running])

    def _forward(self, ids: list[list[int]], positions: list[list[int]], filled: list[list[bool]]) -> torch.Tensor:
        device = self.model.device
        filled_BW = torch.tensor(filled, device=device)
        self.filled_BC = torch.cat([self.filled_BC, filled_BW], dim=1)
        width, columns = filled_BW.shape[1], self.filled_BC.shape[1]
        # A query sees the filled columns up to its own; its own too if it is a hole, since softmax needs one.
        queries_W1 = torch.arange(columns - width, columns, device=device)[:, None]
        columns_C = torch.arange(columns, device=device)
        mask_BWC = (self.filled_BC[:, None, :] & (columns_C <= queries_W1)) | (columns_C == queries_W1)
        logits_B1V = self.model(
            input_ids=torch.tensor(ids, device=device),
            position_ids=torch.tensor(positions, device=device),
            attention_mask=mask_BWC[:, None],
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits
        last_BV: torch.Tensor = logits_B1V[:, -1].float()
        return last_BV


class _RoomyLayer(DynamicLayer):
    """A cache layer with room to grow: appending a token copies that token, not all that came before it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.columns = 0

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.keys_room, self.values_room = key_states[:, :, :0], value_states[:, :, :0]
        start, self.columns = self.columns, self.columns + key_states.shape[-2]
        if self.columns > self.keys_room.shape[-2]:
            self.keys_room = self._roomier(self.keys_room, start)
            self.values_room = self._roomier(self.values_room, start)
        self.keys_room[:, :, start : self.columns] = key_states
        self.values_room[:, :, start : self.columns] = value_states
        self.keys, self.values = self.keys_room[:, :, : self.columns], self.values_room[:, :, : self.columns]
        return self.keys, self.values

    def _roomier(self, room_BHCD: torch.Tensor, filled: int) -> torch.Tensor:
        batch, heads, _, width = room_BHCD.shape
        larger = room_BHCD.new_empty(batch, heads, self.columns + 128, width)
        larger[:, :, :filled] = room_BHCD[:, :, :filled]
        return larger

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        self.keys_room, self.values_room = self.keys_room[indices], self.values_room[indices]
        self.keys, self.values = self.keys_room[:, :, : self.columns], self.values_room[:, :, : self.columns]
