"""What acts in an environment: a scripted policy, a person, a record, or a model here or on a server. One file each,
heavy imports inside.

`load_policy` gives one by its name, or the model of a folder.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from envs.policies.base import AsyncPolicy, Context, ContextTooLong, Policy, Reply
from envs.policies.scripted import ExpertPolicy, HabitualPolicy, RandomPolicy
from tools.command import InputError, did_you_mean

if TYPE_CHECKING:
    from envs.policies.server import ServerOptions

SCRIPTED: Mapping[str, Callable[[], Policy]] = {
    "expert": ExpertPolicy,
    "random": RandomPolicy,
    "habitual": HabitualPolicy,
}
MODELS = ("tiny", "tiny-shift")
"""Models that are shipped; any other is given by its folder, its name on the hub, or its server."""
LOCAL = ("hf", "vllm")
"""What a model in this process may run in."""

__all__ = [
    "MODELS",
    "SCRIPTED",
    "AsyncPolicy",
    "Context",
    "ContextTooLong",
    "ExpertPolicy",
    "HabitualPolicy",
    "Policy",
    "RandomPolicy",
    "Reply",
    "load_policy",
]


def load_policy(
    name: str, *, temperature: float = 1.0, max_tokens: int | None = None, server: "ServerOptions | None" = None
) -> Policy:
    """A policy by its name, or the model in the folder of that path.

    `expert`, `random`, `habitual`, and `habitual@0.1`, which makes each mistake at that rate; `tiny` and `tiny-shift`,
    the models that are shipped; `hf:PATH`, the same as PATH, and `hf:OWNER/NAME`, a model on the hub; `vllm:` and any
    of these, the same in vLLM; `openai:MODEL@BASE_URL[,BASE_URL...]`, a model on servers, which are asked as `server`
    says; `replay:FILE`, what a policy said in that file; `human`, who sits at the terminal.

    A turn of a model has at most `max_tokens`; without it, as many as its generation config says (`tiny`: 96), else
    1,024, or what its server allows.
    A model that samples at another temperature than 1 has it in its name (`tiny@0.5`), so that trajectories of the two
    are never taken for the same policy's. Others have no temperature.
    Raises InputError for what is neither a name nor a model folder, for a negative temperature, and for turns without
    a token.
    """
    if name in SCRIPTED:
        return SCRIPTED[name]()
    kind, _, rest = name.partition(":")
    if name.startswith("habitual@"):
        return _habitual(name)
    if name == "human":
        from envs.policies.person import PersonPolicy

        return PersonPolicy()
    if kind == "replay":
        from envs.policies.recorded import RecordedPolicy

        return RecordedPolicy(Path(rest))
    if kind == "openai":
        from envs.policies.server import ServerOptions, server_policy

        options = server or ServerOptions()
        if max_tokens is not None:
            options = replace(options, max_tokens=max_tokens)
        return server_policy(name, temperature=temperature, options=options)
    if kind in LOCAL:
        return _local(kind, rest, temperature, max_tokens)
    return _local("", name, temperature, max_tokens)


def _local(kind: str, path: str, temperature: float, max_tokens: int | None) -> Policy:
    """A model in this process. Only what is said to be a model may be looked for on the hub, no mistyped word."""
    if path not in MODELS and not Path(path).is_dir() and not (kind and path.count("/") == 1):
        forms = "give a model folder, hf:OWNER/NAME, openai:MODEL@BASE_URL or replay:FILE"
        known = did_you_mean(path, [*SCRIPTED, *MODELS, "human"])
        raise InputError(f"no policy {path!r}, and no folder of that path: {known} (or {forms})")
    from envs.policies.turns import Sampling

    shown = path if kind != "vllm" else f"vllm:{path}"
    shown = shown if temperature == 1 else f"{shown}@{temperature:g}"
    sampling = Sampling(temperature=temperature, max_new_tokens=max_tokens)
    if kind == "vllm":
        from envs.policies.engine import EnginePolicy

        return EnginePolicy(path, name=shown, sampling=sampling)
    from envs.policies.hf import LocalPolicy

    return LocalPolicy.load(path, name=shown, sampling=sampling)


def _habitual(name: str) -> Policy:
    try:
        policy = HabitualPolicy(float(name.partition("@")[2]))
    except ValueError as error:
        raise InputError(f"{name!r}: expected a rate from 0 to 1, as in habitual@0.1 ({error})") from error
    policy.name = name
    return policy
