"""Prefill: log-probs at known tokens, by a forward pass and no decoding.

The plain form: a full forward pass over every context, hinted or not. The logits are made at the asked positions only.
Left out: the trunk that a trajectory's hints could share.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch


class Span(NamedTuple):
    """Token ids of a context with its turn, and the positions of the tokens whose distributions are asked for."""

    ids: Sequence[int]
    positions: Sequence[int]


def logprobs_at(model: Any, spans: Sequence[Span]) -> torch.Tensor:
    """The model's log-probs over the vocabulary at each asked token, [N, V] in fp32, spans one after the other.

    A token's distribution comes from the position before it, so positions start at 1. Contexts are padded on the right,
    where causal attention never looks.
    """
    longest = max(len(span.ids) for span in spans)
    ids_BT = torch.tensor([[*span.ids, *[0] * (longest - len(span.ids))] for span in spans], device=model.device)
    hidden_BTD = model.get_decoder()(input_ids=ids_BT, use_cache=False).last_hidden_state
    rows = [row for row, span in enumerate(spans) for _ in span.positions]
    columns = [position - 1 for span in spans for position in span.positions]
    logits_NV = model.get_output_embeddings()(hidden_BTD[rows, columns])
    logprobs_NV: torch.Tensor = logits_NV.float().log_softmax(-1)
    return logprobs_NV


def batched(spans: Sequence[Span], tokens: int) -> Iterator[list[int]]:
    """Places in `spans`, in batches of like lengths with at most `tokens` padded tokens, or one span, each."""
    batch: list[int] = []
    for place in sorted(range(len(spans)), key=lambda place: len(spans[place].ids)):
        if batch and len(spans[place].ids) * (len(batch) + 1) > tokens:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


@torch.inference_mode()
def prefilled(model: Any, spans: Sequence[Span], *, tokens: int = 16_384) -> list[torch.Tensor]:
    """For each span the log-probs [n, V] at its n positions, without gradients, in batches of about `tokens` tokens."""
    results: list[torch.Tensor] = [torch.empty(0)] * len(spans)
    for batch in batched(spans, tokens):
        chosen = [spans[place] for place in batch]
        parts = logprobs_at(model, chosen).split([len(span.positions) for span in chosen])
        for place, part in zip(batch, parts, strict=True):
            results[place] = part
    return results
