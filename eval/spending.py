"""What a policy on a server has used, as the manifests beside its files say: tokens, and what they cost.

Left out: what is not in a manifest. A model in this process costs nothing here, and its tokens are in its turns.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from envs.manifest import manifest_path, read_manifest
from tools.command import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """Means over the trajectories that a server was asked for, those that a fault ended too.

    `cost_per_task` is None where a command was given no prices.
    """

    prompt_tokens_per_task: float
    completion_tokens_per_task: float
    cost_per_task: float | None

    def to_json(self) -> dict[str, float | None]:
        return asdict(self)


def spending(files: Iterable[Path], *, env: str, split: str, policy: str) -> Spending | None:
    """What was spent on the files of one policy in one world; None where a file's manifest doesn't say.

    Raises InputError for a manifest that can't be read.
    """
    entries: list[Mapping[str, Any]] = []
    for path in files:
        record = read_manifest(path)
        config = record.get("config", {})
        ours = (config.get("env"), config.get("split"), config.get("policy")) == (env, split, policy)
        if not ours or not record.get("spent"):
            return None
        entries += record["spent"]
    try:
        tried = sum(int(entry["trajectories"]) for entry in entries)
        tokens = [sum(int(entry[name]) for entry in entries) for name in ("prompt_tokens", "completion_tokens")]
        costs = [entry["cost"] for entry in entries]
        cost = None if None in costs else sum(map(float, costs))
    except (KeyError, TypeError, ValueError) as error:
        where = " or ".join(str(manifest_path(path)) for path in files)
        raise InputError(f"{where} doesn't say in a known form what was spent ({error!r}): move it away") from error
    if not tried:
        return None
    return Spending(
        prompt_tokens_per_task=tokens[0] / tried,
        completion_tokens_per_task=tokens[1] / tried,
        cost_per_task=None if cost is None else cost / tried,
    )
