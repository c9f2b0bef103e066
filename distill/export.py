"""python -m distill export RUN FOLDER: a run's corrections as a `datasets` folder, for other trainers.

One row a correction, as `corrections.jsonl` has it, with its three texts beside the token ids: the plain context, the
hinted one, and the turn. The folder is a data set of Parquet that `datasets.load_dataset(FOLDER)` reads where
`datasets` is installed here, else of JSON lines that it reads too. Left out: trajectories (`python -m envs`).
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional

from envs import Archive, read_records
from tools.command import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """What to export."""

    run: Annotated[Path, Positional]
    """A run folder of `python -m distill`."""
    folder: Annotated[Path, Positional]
    """The folder to make; it must be new or empty."""
    admitted: bool = False
    """Leave out corrections that were not trained on."""


def export(asked: Export) -> int:
    """Write the data set; gives its number of rows. Raises InputError for what is no run, and a folder in use."""
    if not (asked.run / "corrections.jsonl").is_file():
        raise InputError(f"{asked.run} has no corrections.jsonl: give a run folder of python -m distill")
    if asked.folder.exists() and (not asked.folder.is_dir() or any(asked.folder.iterdir())):
        raise InputError(f"{asked.folder} is there already: choose another folder, or remove it")
    asked.folder.mkdir(parents=True, exist_ok=True)
    (asked.folder / "README.md").write_text(_card(asked.run), encoding="utf-8")
    rows = _rows(asked)
    if find_spec("datasets"):
        from datasets import Dataset, disable_progress_bars

        disable_progress_bars()
        table = Dataset.from_list(list(rows))
        table.to_parquet(asked.folder / "train.parquet")
        return len(table)
    count = 0
    with Archive(asked.folder / "train.jsonl") as archive:
        for row in rows:
            archive.write(row)
            count += 1
    return count


def _rows(asked: Export) -> Iterator[dict[str, Any]]:
    texts = _decoder(asked.run)
    for record in read_records(asked.run / "corrections.jsonl"):
        if asked.admitted and not record["admitted"]:
            continue
        start, end = record["target"]
        shift = len(record["hinted_ids"]) - len(record["plain_ids"])
        yield {
            **record,
            "plain_text": texts(record["plain_ids"][:start]),
            "hinted_text": texts(record["hinted_ids"][: start + shift]),
            "turn_text": texts(record["plain_ids"][start:end]),
        }


def _decoder(run: Path) -> Any:
    """What makes text of the run's token ids: the tokenizer of its checkpoint, or of the model that it began with."""
    from transformers import AutoTokenizer

    from envs.policies.loading import EMBEDDED

    policy = json.loads((run / "manifest.json").read_text(encoding="utf-8"))["config"]["policy"]
    places = [run / "checkpoint", EMBEDDED.get(policy, Path(policy.removeprefix("hf:")))]
    tokenizer = AutoTokenizer.from_pretrained(next((place for place in places if place.is_dir()), places[-1]))
    return lambda ids: tokenizer.decode(ids, skip_special_tokens=False)


def _card(run: Path) -> str:
    return (
        f"# Corrections of the run {run.name}\n\n"
        "Each row is an erroneous turn of an agent: its context without and with a hint above it (`plain_*`, "
        "`hinted_*`), the turn itself (`turn_text`, positions `target` of `plain_ids`), the error's tokens "
        "(`error_tokens`), and the log-probs of the turn's tokens without and with the hint.\n"
    )
