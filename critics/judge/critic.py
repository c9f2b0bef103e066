"""Who reads the trajectories, by a name: `rules`, `rules,judge:MODEL@URL`, `rules,judge:MODEL@URL,hints:MODEL@URL`.

    critic = Critic("rules,judge:qwen@http://localhost:8000/v1", cache=Path("judge.jsonl"))
    for trajectory, findings in critic.read((trajectory, criticize(trajectory)) for trajectory in trajectories): ...

`judge` alone names no model: its findings are in a file already, and are to be counted with the others.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from critics.finding import Criticized
from critics.judge.asker import Asker, asker_of
from critics.judge.cache import Cache
from critics.judge.codes import JUDGE_CODES
from critics.judge.hinting import HintWriter
from critics.judge.judge import Judge
from envs.policies.server import ServerOptions
from envs.policies.spent import Spent
from tools import INVALID_CALL_CODES, ErrorCode
from tools.command import InputError

_PART = re.compile(r",(?=(?:rules|judge|hints)(?:[:,]|$))")
"""A comma that begins the next reader. Others part the addresses of servers."""

CONCURRENCY = 32
"""The most questions in flight at a server, unless the options say otherwise."""

FORM = "rules, judge:MODEL@BASE_URL or judge:FOLDER, hints:MODEL@BASE_URL or hints:FOLDER, with commas between"


class Critic:
    """The readers that a name lists. `codes` are those whose findings are worth training on. What a judge and a writer
    of hints answered is kept in `cache`, so that nothing is paid for twice.

    Raises InputError for a name that is none, and for a model that isn't there.
    """

    def __init__(
        self,
        name: str,
        *,
        cache: Path | None = None,
        options: ServerOptions | None = None,
        watch: Callable[[str, int, int], None] = lambda what, finished, total: None,
    ) -> None:
        parts = dict(_parts(name))
        self.codes = (INVALID_CALL_CODES if "rules" in parts else frozenset[ErrorCode]()) | (
            JUDGE_CODES if "judge" in parts else frozenset[ErrorCode]()
        )
        self.cache = Cache(cache)
        self.askers: dict[str, Asker] = {}
        for model in dict.fromkeys(filter(None, (parts.get("judge"), parts.get("hints")))):
            self.askers[model] = asker_of(model, options or ServerOptions(concurrency=CONCURRENCY))
        self.judge: Judge | None = None
        self.writer: HintWriter | None = None
        if judge := parts.get("judge"):
            self.judge = Judge(self.askers[judge], self.cache, watch=lambda *place: watch("judge", *place))
        if writer := parts.get("hints"):
            self.writer = HintWriter(self.askers[writer], self.cache, watch=lambda *place: watch("hints", *place))

    def read(self, criticized: Iterable[Criticized]) -> Iterator[Criticized]:
        """Trajectories with what rules found, and what the other readers add to it."""
        if self.judge:
            criticized = self.judge.read(criticized)
        if self.writer:
            criticized = self.writer.read(criticized)
        yield from criticized

    @property
    def spent(self) -> Spent:
        """What has been paid for since this process began."""
        spent = [asker.spent for asker in self.askers.values()]
        total = Spent(price_in=spent[0].price_in, price_out=spent[0].price_out) if spent else Spent()
        for part in spent:
            total.answers += part.answers
            total.retries += part.retries
            total.prompt_tokens += part.prompt_tokens
            total.completion_tokens += part.completion_tokens
        return total

    def to_json(self) -> dict[str, Any]:
        """What the readers beside the rules did, and at what cost; empty where there are none."""
        record: dict[str, Any] = {}
        if self.judge:
            record["judge"] = {"cached": self.judge.asking.cached, **self.judge.tally.to_json()}
        if self.writer:
            record["hints"] = self.writer.to_json()
        if record:
            spent = self.spent
            record["tokens"] = [spent.prompt_tokens, spent.completion_tokens]
            record["cost"] = round(spent.cost, 6)
        return record

    def lines(self) -> Iterator[str]:
        """The same for people to read."""
        if self.judge:
            tally, cached = self.judge.tally, self.judge.asking.cached
            yield f"judge: {tally.findings} findings in {tally.windows} windows, {cached} answers from the cache"
            yield from _counted("dropped", tally.dropped)
            if tally.unreadable:
                yield f"  unreadable: {tally.unreadable} windows, also when asked again"
            if tally.unjudged:
                yield from _counted("unjudged windows, to be asked about again by the same command", tally.unjudged)
        if self.writer:
            yield f"hints: {self.writer.written} written"
            yield from _counted("refused, so the template stands", self.writer.refused)
        if self.askers:
            yield self.spent.line()
        yield from dict.fromkeys(note for asker in self.askers.values() for note in asker.notes)


def _counted(what: str, counts: dict[str, int]) -> Iterator[str]:
    for reason, count in sorted(counts.items()):
        yield f"  {what}: {count}, {reason}"


def _parts(name: str) -> Iterator[tuple[str, str]]:
    seen: set[str] = set()
    for part in _PART.split(name):
        kind, colon, model = part.partition(":")
        good = {"rules": not colon, "judge": not colon or bool(model), "hints": bool(model)}.get(kind, False)
        if not good or kind in seen:
            raise InputError(f"no critic {name!r}: expected {FORM}")
        seen.add(kind)
        yield kind, model
    if not seen & {"rules", "judge"}:
        raise InputError(f"no critic {name!r}: hints need findings; expected {FORM}")
