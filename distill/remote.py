"""A teacher behind vLLM's servers: it reads each hinted context, and says which tokens it finds likeliest.

`openai:MODEL@BASE_URL[,BASE_URL...]` names it; it has to have the student's tokenizer, since it reads token ids. Of
each target it gives its `teacher_top` likeliest tokens, and the one that was said; all others are a tail
(`distill.divergence.TopK`). Servers give no keys and values, so contexts are read whole, several at a time.

Left out: what only asks one position (vLLM says it of the whole prompt, and its answers are long), and a teacher that
moves.
"""

import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import cycle
from typing import Any

import torch

from distill.config import Update
from distill.divergence import TopK
from distill.prefill import Trunk
from distill.teacher import Teacher
from envs.policies.refusal import refusal
from envs.policies.server import server_policy, shown
from tools.command import InputError

TRIES, SECONDS = 8, 600.0
"""How often a server is asked for one context, and for how long it is waited for."""
AT_ONCE = 16
"""Contexts that a server is asked about at a time."""


class RemoteTeacher(Teacher):
    """Nothing of it is here: `model` is the student, whose vocabulary and longest context hold for it too.

    Raises InputError for a name of another form.
    """

    def __init__(self, student: Any, update: Update) -> None:
        super().__init__(student, replace(update, teacher="live"))  # no second model, but what anchors need
        self.live = self.moves = False
        servers = server_policy(update.teacher_by)
        self.name, self.urls, self.top = servers.model, servers.urls, update.teacher_top

    @property
    def head(self) -> "TopHead":
        return TopHead()

    def read(self, trunks: Sequence[Trunk], *, tokens: int) -> Iterator[tuple[int, torch.Tensor]]:
        """For each trunk, by its place, what is said at the asked tokens of its branches, as `TopHead` reads it.

        Raises InputError where a server doesn't answer, or not as vLLM does.
        """
        branches = [(trunk, branch) for trunk in trunks for branch in trunk.branches]
        contexts = [
            Trunk([*trunk.ids[: branch.start], *branch.ids][: max(branch.asked) + 1], branch.asked)
            for trunk, branch in branches
        ]
        said = iter(self._asked(contexts))
        for place, trunk in enumerate(trunks):
            yield place, torch.cat([next(said).packed for _ in trunk.branches]).to(self.model.device)

    def _asked(self, contexts: Sequence[Trunk]) -> list[TopK]:
        import openai

        key = os.environ.get("OPENAI_API_KEY") or "none"
        clients = [
            openai.OpenAI(base_url=url, api_key=key, max_retries=TRIES - 1, timeout=SECONDS) for url in self.urls
        ]
        try:
            with ThreadPoolExecutor(AT_ONCE * len(clients)) as pool:
                return list(pool.map(self._ask, contexts, cycle(clients)))
        finally:
            for client in clients:
                client.close()

    def _ask(self, context: Trunk, client: Any) -> TopK:
        """What a server says of one context's asked tokens."""
        import openai

        wrong = partial("the teacher {}, model {!r}, {}".format, shown(str(client.base_url)), self.name)
        ids = list(context.ids)
        body = {"model": self.name, "prompt": ids, "max_tokens": 1, "temperature": 0, "prompt_logprobs": self.top}
        try:
            text = client.post("/completions", cast_to=str, body=body)
        except openai.OpenAIError as error:
            raise InputError(wrong(f"does not answer: {refusal(error).text}")) from error
        try:
            entries = json.loads(text)["choices"][0]["prompt_logprobs"]
            said = [entries[position] for position in context.asked]
            known = TopK.from_prompt_logprobs(said, width=self.top + 1)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise InputError(wrong("gives no prompt_logprobs: it has to be vLLM's own server")) from error
        if known.ids_NK.shape[1] > self.top + 1:
            raise InputError(wrong(f"gives more than its {self.top} likeliest tokens"))
        tokens_N1 = torch.tensor([ids[position] for position in context.asked])[:, None]
        vocabulary = self.model.config.get_text_config().vocab_size
        if not (known.ids_NK == tokens_N1).any(-1).all() or int(known.ids_NK.max()) >= vocabulary:
            raise InputError(wrong("says something of other tokens than it was given: has it another tokenizer?"))
        return known


class TopHead:
    """What a remote teacher's likeliest tokens say; they come packed, [N, K, 2]. See `distill.head.Speaker`."""

    def token_logprobs(self, said_NK2: torch.Tensor, tokens_N: torch.Tensor) -> torch.Tensor:
        return TopK.unpacked(said_NK2).of(tokens_N)

    def likeliest(self, said_NK2: torch.Tensor, most: int) -> TopK:
        return TopK.unpacked(said_NK2).likeliest(most)

    def beside(self, said_NK2: torch.Tensor, student_NV: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return TopK.unpacked(said_NK2).with_tails(student_NV)
