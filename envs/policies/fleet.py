"""Several servers of one model: which of them gets the next request, and how long one that fails is left alone.

The server with the fewest requests in flight is next. One that says when it wants to be asked again is left alone until
then. One that failed three times in a row is sick: it is left out for a while, and then gets one request at a time
until one is answered. Left out: the requests themselves (`envs.policies.server`).
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random

SICK_AFTER = 3
"""So many failures in a row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How long to wait after the n-th failure (0-based), in seconds: twice as long each time, up to `longest`.

    The wait is drawn from the upper half of that, so that many who failed together don't come back together.
    """

    first: float = 0.5
    longest: float = 60.0

    def seconds(self, failure: int, rng: Random) -> float:
        return min(self.longest, self.first * 2.0 ** min(failure, 60)) * rng.uniform(0.5, 1.0)


@dataclass(slots=True, kw_only=True, eq=False)
class Server:
    """One base URL, and how it does. Times are those of `time.monotonic`."""

    url: str
    in_flight: int = 0
    failures: int = 0
    rests: int = 0
    rests_until: float = 0.0
    asked: int = 0

    @property
    def sick(self) -> bool:
        return self.failures >= SICK_AFTER


class Fleet:
    """The servers that share a run's load. It belongs to one event loop."""

    def __init__(self, urls: Sequence[str], backoff: Backoff, rng: Random) -> None:
        self.servers = [Server(url=url) for url in urls]
        self.backoff, self.rng = backoff, rng

    def free(self) -> Server | None:
        """The server to ask next; None where all are left alone for now."""
        now = time.monotonic()
        ready = [
            server for server in self.servers if server.rests_until <= now and not (server.sick and server.in_flight)
        ]
        return min(ready, key=lambda server: (server.in_flight, server.asked), default=None)

    def wait(self) -> float:
        """How long until a server may be asked again; 0 where it is only a matter of its being answered."""
        return max(0.0, min(server.rests_until for server in self.servers) - time.monotonic())

    @property
    def setbacks(self) -> int:
        """How often even the best of the servers has been left out without having answered since."""
        return min(server.rests for server in self.servers)

    @contextmanager
    def asking(self, server: Server) -> Iterator[None]:
        """While a request is in flight."""
        server.in_flight += 1
        server.asked += 1
        try:
            yield
        finally:
            server.in_flight -= 1

    def answered(self, server: Server) -> None:
        server.failures = server.rests = 0

    def wants_rest(self, server: Server, seconds: float) -> None:
        """The server said for how long it wants to be left alone."""
        server.rests_until = max(server.rests_until, time.monotonic() + min(seconds, self.backoff.longest))

    def failed(self, server: Server, began: float) -> None:
        """A request that `began` then came to nothing. One from before the last rest says nothing new."""
        if began < server.rests_until:
            return
        server.failures += 1
        if server.sick:
            server.rests_until = time.monotonic() + self.backoff.seconds(server.rests, self.rng)
            server.rests += 1
