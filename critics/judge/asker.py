"""Who is asked: a model behind an OpenAI-compatible server, or one in this process.

An asker takes many questions and tells of each outcome as it comes. A server's retries, waits and costs are those of
`envs.policies.server`. Left out: what is asked (`critics.judge.prompt`) and what is kept (`critics.judge.cache`).
"""

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, Protocol, cast

from critics.judge.cache import Said
from envs.policies.base import FAULTS, Context, ContextTooLong, Reply
from envs.policies.chat import Request
from envs.policies.server import ServerOptions, ServerPolicy, server_policy
from envs.policies.spent import Spent
from envs.trajectory import Message
from tools.command import InputError

Question = Sequence[Message]

MOST_TOKENS = 2_048
"""Of an answer, unless the options say otherwise."""

BATCH = 8
"""Questions that a model in this process reads at once."""


class Failed(NamedTuple):
    """No answer: the infrastructure failed, or (`too_long`) the model has no room for the question."""

    why: str
    too_long: bool = False


Heard = Callable[[int, Said | Failed], None]
"""Told of the outcome of a question, by its place."""


class Asker(Protocol):
    """A model that is asked. `name` is part of every cached answer's key; `spent` counts tokens."""

    name: str
    spent: Spent
    notes: list[str]

    def ask(self, questions: Sequence[Question], form: Mapping[str, Any] | None, heard: Heard) -> None:
        """Ask all, in any order. Raises InputError where no question can be answered."""


class ServerAsker:
    """Asks a server, many questions at a time. `form` is its `response_format`."""

    def __init__(self, policy: ServerPolicy) -> None:
        self.policy, self.name, self.spent, self.notes = policy, policy.name, policy.spent, policy.notes

    def ask(self, questions: Sequence[Question], form: Mapping[str, Any] | None, heard: Heard) -> None:
        more = {} if form is None else {"response_format": form}

        async def one(place: int) -> None:
            try:
                answer = await self.policy.complete(Request(messages=list(questions[place]), more=more))
            except ContextTooLong as error:
                heard(place, Failed(str(error), too_long=True))
            except FAULTS as error:
                heard(place, Failed(str(error)))
            else:
                text = answer.message.get("content")
                heard(place, Said(text if isinstance(text, str) else "", *answer.tokens))

        async def every() -> None:
            async with self.policy:
                await asyncio.gather(*map(one, range(len(questions))))

        asyncio.run(every())


class LocalAsker:
    """Asks a transformers model in this process. It can't hold it to a form: answers are validated all the same."""

    def __init__(self, path: str, max_tokens: int) -> None:
        from envs.policies.hf import LocalPolicy, Sampling

        sampling = Sampling(temperature=0.0, max_new_tokens=max_tokens)
        self.policy = LocalPolicy.load(path, sampling=sampling)
        self.name = f"hf:{path}{_fingerprint(Path(path))}"
        self.spent = Spent()
        self.notes: list[str] = []

    def ask(self, questions: Sequence[Question], form: Mapping[str, Any] | None, heard: Heard) -> None:
        for start in range(0, len(questions), BATCH):
            batch = questions[start : start + BATCH]
            try:
                replies = self.policy.act([_context(question) for question in batch])
            except FAULTS as error:
                replies = []
                for place in range(start, start + len(batch)):
                    heard(place, Failed(str(error)))
            for place, reply in enumerate(replies, start):
                heard(place, self._outcome(reply))

    def _outcome(self, reply: Reply) -> Said | Failed:
        if reply.too_long or reply.turn is None:
            return Failed("the model has no room for the question", too_long=True)
        tokens = len(reply.turn.prompt_ids), len(reply.turn.token_ids)
        self.spent.add(*tokens)
        return Said(str(reply.message.get("content") or ""), *tokens)


def _context(question: Question) -> Context:
    # A question is no episode: there is no world, which a model that is offered no tools doesn't ask for.
    return Context(env=cast(Any, None), messages=list(question), tools=[], rng=Random(0))


def _fingerprint(folder: Path) -> str:
    """Which weights a folder has now: a model that is trained again in its place is another one."""
    weights = [
        (path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(folder.glob("*.safetensors"))
    ]
    return f"#{hashlib.sha256(repr(weights).encode()).hexdigest()[:8]}" if weights else ""


def asker_of(name: str, options: ServerOptions | None = None) -> Asker:
    """The asker that `openai:MODEL@BASE_URL[,...]`, `hf:FOLDER` or a folder names.

    Raises InputError for a name of another form, and for a folder that isn't there.
    """
    options = options or ServerOptions()
    if options.max_tokens is None:
        options = replace(options, max_tokens=MOST_TOKENS)
    if name.startswith("openai:") or "@http" in name:
        spelled = name if name.startswith("openai:") else f"openai:{name}"
        policy = server_policy(spelled, temperature=0.0, options=options)
        return ServerAsker(policy)
    path = name.removeprefix("hf:")
    if path != "tiny" and not Path(path).is_dir():
        raise InputError(f"no judge {name!r}: expected openai:MODEL@BASE_URL, or hf:FOLDER of a model on this machine")
    assert options.max_tokens is not None
    return LocalAsker(path, options.max_tokens)
