"""A user who is played by a model: it says what the script wants said, in its own words.

    make("store-v1", user=load_policy("PATH"))

What it says must hold every fact of the script (each word with a digit in it); else the script's own words are used, so
that a task stays solvable. Left out: users who want something that no script knows.
"""

import re
from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING

from envs.trajectory import Message

if TYPE_CHECKING:
    from envs.env import ToolEnv
    from envs.policies.base import Policy

PART = """\
You play a customer who writes to a service desk. Stay in that part: don't help, don't explain, don't thank twice. Say
what you are told to say in one or two sentences of your own, with every name, number and address exactly as it is."""

_FACT = re.compile(r"[^\s,;:!?]*\d[^\s,;:!?]*")


def in_own_words(policy: "Policy", request: str, heard: Sequence[Message], env: "ToolEnv", rng: Random) -> str:
    """What the model says for `request`, after what it has `heard`; the request itself where a fact got lost."""
    from envs.policies.base import Context

    told = "\n".join(f"{message['role']}: {message['content']}" for message in heard)
    asked = f"{f'So far:{chr(10)}{told}{chr(10)}' if told else ''}Say now: {request}"
    messages: list[Message] = [{"role": "system", "content": PART}, {"role": "user", "content": asked}]
    [reply] = policy.act([Context(env=env, messages=messages, tools=[], rng=rng)])
    said = str(reply.message.get("content") or "").strip()
    return said if facts(request) <= facts(said) else request


def facts(text: str) -> set[str]:
    """The words with a digit in them, without the full stop of a sentence."""
    return {word.rstrip(".") for word in _FACT.findall(text)}
