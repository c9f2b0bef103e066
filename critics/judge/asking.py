"""Questions put to a model by way of the cache: what was answered before is not asked again.

Left out: what the answers mean (`critics.judge.judge`, `critics.judge.hinting`).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from critics.judge.asker import Asker, Failed, Question
from critics.judge.cache import Cache, Said, key_of

Watch = Callable[[int, int], None]
"""Told how many of a batch of questions are answered, and of how many."""


class Asking:
    """An asker and its cache. `cached` counts the answers that were there already.

    A model that answers none of a batch is not asked the next ones: nothing is there, and each try takes a minute.
    `begin` gives it another chance.
    """

    def __init__(self, asker: Asker, cache: Cache, watch: Watch) -> None:
        self.asker, self.cache, self.watch = asker, cache, watch
        self.cached = 0
        self.silent = False

    def begin(self) -> None:
        self.silent = False

    def answers(self, questions: Sequence[Question], form: Mapping[str, Any] | None) -> list[Said | Failed]:
        """The answer to each question, or why there is none. An answer is kept at once."""
        keys = [key_of(self.asker.name, asked, form) for asked in questions]
        known: dict[int, Said | Failed] = {}
        for place, key in enumerate(keys):
            if (answer := self.cache.get(key)) is not None:
                known[place] = answer
        self.cached += len(known)
        missing = [place for place in range(len(keys)) if place not in known]
        if self.silent:
            return [known.get(place, SILENT) for place in range(len(keys))]

        def heard(number: int, answer: Said | Failed) -> None:
            place = missing[number]
            known[place] = answer
            if isinstance(answer, Said):
                self.cache.put(keys[place], self.asker.name, answer)
            self.watch(len(known), len(keys))

        if missing:
            with self.cache:
                self.asker.ask([questions[place] for place in missing], form, heard)
            self.silent = all(_is_fault(known[place]) for place in missing)
        return [known[place] for place in range(len(keys))]


def _is_fault(answer: Said | Failed) -> bool:
    return isinstance(answer, Failed) and not answer.too_long


SILENT = Failed("not asked, since the questions before got no answer")
