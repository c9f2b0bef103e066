"""A run folder as far as it is written: manifest, rounds, summary, evaluation, corrections; for the report.

Left out: figures that are made of it (`eval.report`).
"""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from critics.finding import Criticized
from envs.archive import read_records, read_trajectories
from eval.folder import json_file
from eval.leaderboard import criticized
from eval.scored import Scored
from tools.command import InputError

LEAST_MOVED = 0.1
"""A hint that takes less probability than this from the error isn't instructive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What a run has written. `summary` is None while it is going on."""

    path: Path
    manifest: dict[str, Any]
    rounds: Sequence[dict[str, Any]]
    summary: dict[str, Any] | None

    @classmethod
    def read(cls, path: Path) -> "Record":
        """Raises InputError for what is no run folder, or one of another schema version."""
        if not (path / "manifest.json").is_file():
            raise InputError(f"{path} is no run folder: give a folder that python -m distill wrote")
        manifest = json_file(path / "manifest.json")
        version = manifest.get("schema_version", 1)
        if version != 1:
            raise InputError(f"{path / 'manifest.json'}: schema_version is {version!r}, this hintsight reads 1")
        metrics, summary = path / "metrics.jsonl", path / "summary.json"
        return cls(
            path=path,
            manifest=manifest,
            rounds=list(read_records(metrics)) if metrics.is_file() else [],
            summary=json_file(summary) if summary.is_file() else None,
        )

    @property
    def name(self) -> str:
        hint = (self.manifest.get("config") or {}).get("hint", "real")
        return self.path.resolve().name + ("" if hint == "real" else f" ({hint} hints)")

    def baselines(self) -> list[Path]:
        """The runs that stand in this one's folder to be compared with it."""
        return sorted(path.parent for path in (self.path / "baselines").glob("*/manifest.json"))

    def evaluation(self, when: str, split: str = "test") -> list[Criticized]:
        """What the policy did; empty where there is nothing yet."""
        path = self.path / "evaluation" / f"{when}-{split}.jsonl"
        if not path.is_file():
            return []
        return [(part, criticized(part, f"{path}: {part.id}")) for part in read_trajectories(path)]

    def corrections(self) -> Iterator[tuple[dict[str, Any], Scored]]:
        """Raises InputError for a line that is no correction."""
        path = self.path / "corrections.jsonl"
        for number, record in enumerate(read_records(path) if path.is_file() else (), 1):
            try:
                yield record, Scored.from_json(record)
            except (KeyError, IndexError, TypeError, ValueError, OverflowError, AttributeError) as error:
                raise InputError(f"{path}, object {number} is no correction ({error}): do the run again") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Instructive:
    """A correction that shows much: where it is, and what it did."""

    id: str
    message_index: int
    scored: Scored


@dataclass(frozen=True, slots=True, kw_only=True)
class Hinted:
    """What the hints did: the probability of each error of a code without and with its hint, a few corrections to look
    at, of the most frequent code first, and how many tokens they were."""

    pairs: dict[str, list[tuple[float, float]]]
    instructive: Sequence[Instructive]
    hint_tokens: int
    target_tokens: int

    @classmethod
    def of(cls, record: Record, most: int) -> "Hinted":
        """In one pass over the run's corrections."""
        pairs: dict[str, list[tuple[float, float]]] = {}
        best: dict[str, list[tuple[float, int, Instructive]]] = {}
        hint_tokens = target_tokens = 0
        for number, (line, scored) in enumerate(record.corrections()):
            hint_tokens += len(line.get("hinted_ids") or ()) - len(line.get("plain_ids") or ())
            target_tokens += len(scored.tokens)
            for code, pair in _by_finding(line, scored):
                pairs.setdefault(code, []).append(pair)
            if scored.admitted and scored.choices and scored.errors and scored.codes:
                at = Instructive(id=str(line["id"]), message_index=int(line["message_index"]), scored=scored)
                moved = scored.decisive.plain - scored.decisive.hinted
                if moved >= LEAST_MOVED:
                    _keep(best.setdefault(scored.codes[0], []), (moved, -number, at), most)
        return cls(
            pairs=dict(sorted(pairs.items())),
            instructive=_in_turn([best[code] for code in sorted(best, key=lambda code: -len(pairs[code]))], most),
            hint_tokens=hint_tokens,
            target_tokens=target_tokens,
        )


def _by_finding(line: dict[str, Any], scored: Scored) -> Iterator[tuple[str, tuple[float, float]]]:
    """Each finding's code, and the probability of its tokens taken together, without and with the hint."""
    if not scored.tokens:
        return
    start = line["target"][0]
    for finding in line.get("findings") or ():
        tokens = [scored.tokens[place - start] for place in finding["tokens"]]
        yield str(finding["code"]), (prod(token.plain for token in tokens), prod(token.hinted for token in tokens))


def _keep(heap: list[tuple[float, int, Instructive]], entry: tuple[float, int, Instructive], most: int) -> None:
    """Keep an entry if it is among the best, and says something that none of the kept ones says."""
    for place, (moved, _, other) in enumerate(heap):
        if _says(other) == _says(entry[2]):
            if moved < entry[0]:
                heap[place] = entry
                heapq.heapify(heap)
            return
    heapq.heappush(heap, entry)
    if len(heap) > most:
        heapq.heappop(heap)


def _says(part: Instructive) -> tuple[str, str]:
    likeliest = max(part.scored.choices, key=lambda choice: choice.hinted or 0, default=None)
    return part.scored.decisive.text, likeliest.text if likeliest else ""


def _in_turn(best: Sequence[list[tuple[float, int, Instructive]]], most: int) -> list[Instructive]:
    """The best of each code, then the second best of each, and so on."""
    ordered = [sorted(heap, reverse=True) for heap in best]
    deepest = max(map(len, ordered), default=0)
    return [column[row][2] for row in range(deepest) for column in ordered if row < len(column)][:most]
