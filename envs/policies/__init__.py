"""What acts in an environment: a scripted policy or a model. One file each, heavy imports inside.

`load_policy` gives one by its name, or the model of a folder.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from envs.policies.base import Context, Policy, Reply
from envs.policies.scripted import ExpertPolicy, HabitualPolicy, RandomPolicy
from tools.command import InputError, did_you_mean

SCRIPTED: Mapping[str, Callable[[], Policy]] = {
    "expert": ExpertPolicy,
    "random": RandomPolicy,
    "habitual": HabitualPolicy,
}
MODELS = ("tiny",)
"""Models that are shipped; any other is given by its folder."""

__all__ = [
    "MODELS",
    "SCRIPTED",
    "Context",
    "ExpertPolicy",
    "HabitualPolicy",
    "Policy",
    "RandomPolicy",
    "Reply",
    "load_policy",
]


def load_policy(name: str, *, temperature: float = 1.0) -> Policy:
    """A policy by its name (`expert`, `random`, `habitual`, `tiny`), or the model in the folder of that path.

    `habitual@0.1` makes each mistake at that rate.

    A model that samples at another temperature than 1 has it in its name (`tiny@0.5`), so that trajectories of the two
    are never taken for the same policy's. Scripted policies have no temperature.
    Raises InputError for what is neither a name nor a model folder, and for a negative temperature.
    """
    if name in SCRIPTED:
        return SCRIPTED[name]()
    if name.startswith("habitual@"):
        return _habitual(name)
    if name not in MODELS and not Path(name).is_dir():
        known = did_you_mean(name, [*SCRIPTED, *MODELS])
        raise InputError(f"no policy {name!r}, and no folder of that path: {known} (or give a model folder)")
    from envs.policies.hf import LocalPolicy, Sampling

    shown = name if temperature == 1 else f"{name}@{temperature:g}"
    return LocalPolicy.load(name, name=shown, sampling=Sampling(temperature=temperature))


def _habitual(name: str) -> Policy:
    try:
        policy = HabitualPolicy(float(name.partition("@")[2]))
    except ValueError as error:
        raise InputError(f"{name!r}: expected a rate from 0 to 1, as in habitual@0.1 ({error})") from error
    policy.name = name
    return policy
