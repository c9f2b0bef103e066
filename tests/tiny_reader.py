"""A tiny model that judges: the shipped one, taught in some minutes to see that an episode of the store ended early.

    python -m tests.tiny_reader FOLDER

It reads the judge's real prompt and writes the judge's real JSON, about one code in one world: enough to try the path
from a model's words to a gradient with a real model, and no more.
"""

import json
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from random import Random

import torch
from torch.nn import functional as F

from critics import criticize
from critics.judge.planting import EARLY, planted
from critics.judge.prompt import question
from critics.judge.window import windows
from critics.reading import read
from envs.policies.hf import LocalPolicy
from tests.scripted_judge import error
from tools import ErrorCode

STEPS, BATCH, RATE = 160, 4, 6e-4
WORLD = "store-v0"

Example = tuple[list[int], list[int]]
"""The tokens of a question and of its answer."""


def examples(policy: LocalPolicy) -> Iterator[Example]:
    """Questions about training tasks, half of them about an episode that ended too early, without end."""
    for first in count(0, 16):
        for code in (ErrorCode.PREMATURE_STOP, None):
            for trajectory, made in planted(WORLD, code, range(first, first + 16), split="train"):
                reading = read(trajectory)
                [window] = windows(reading, criticize(trajectory))
                errors = [] if made is None else [premature(reading.turns.index(made.message_index) + 1)]
                answer = f"{json.dumps({'errors': errors})}<|im_end|>"
                asked = policy.writer.first(question(window), None)
                yield asked, policy.writer.tokenizer.encode(answer, add_special_tokens=False)


def premature(turn: int) -> dict[str, object]:
    return {**error("premature_stop", turn, None, EARLY), "explanation": "there is more to do"}


def shuffled(made: Iterator[Example], rng: Random, size: int = 32) -> Iterator[Example]:
    pool = [next(made) for _ in range(size)]
    while True:
        place = rng.randrange(size)
        yield pool[place]
        pool[place] = next(made)


def train(folder: Path, *, steps: int = STEPS) -> None:
    """Teach the shipped model to judge, and save it. Seeded; some minutes on two cores."""
    torch.manual_seed(0)
    policy = LocalPolicy.load("tiny")
    model, rng = policy.model, Random(0)
    made = shuffled(examples(policy), rng)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.0)
    model.train()
    for step in range(steps):
        batch = [next(made) for _ in range(BATCH)]
        longest = max(len(asked) + len(answer) for asked, answer in batch)
        ids_BT = torch.zeros(BATCH, longest, dtype=torch.long)
        wanted_BT = torch.full((BATCH, longest), -100)
        for row, (asked, answer) in enumerate(batch):
            end = len(asked) + len(answer)
            ids_BT[row, :end] = torch.tensor([*asked, *answer])
            wanted_BT[row, len(asked) : end] = torch.tensor(answer)
        hidden_BTD = model.get_decoder()(input_ids=ids_BT).last_hidden_state
        asked_for = wanted_BT[:, 1:] != -100
        logits_NV = model.get_output_embeddings()(hidden_BTD[:, :-1][asked_for])
        loss = F.cross_entropy(logits_NV.float(), wanted_BT[:, 1:][asked_for])
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / 10) * (1 - step / steps)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % 10 == 9 and __name__ == "__main__":
            print(step + 1, round(loss.item(), 4), flush=True)
    model.eval()
    model.save_pretrained(folder)
    policy.writer.tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    train(Path(sys.argv[1]))
