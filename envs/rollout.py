"""Rollouts: a policy acts in an environment, and each finished episode is a trajectory, given as it ends.

A policy in this process goes on in batches, turn by turn in step. One elsewhere (`AsyncPolicy`) has as many episodes in
flight as `concurrency` says, each at its own pace. `rollout` and `rollout_async` take both and give equal trajectories;
only their order may differ. Left out: files (`envs.resume`), and retries of what a server failed at, which are the
policy's.
"""

import asyncio
from collections.abc import AsyncGenerator, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing
from itertools import cycle, islice

from envs.background import iterated
from envs.episode import NO_LIMITS, Episode, Limits, Start, trajectory_id
from envs.policies.base import FAULTS, AsyncPolicy, ContextTooLong, Policy, is_async
from envs.trajectory import Trajectory
from tools.command import InputError

__all__ = ["Limits", "rollout", "rollout_async", "trajectory_id"]

WORLD_THREADS = 8
"""Worlds act in so many threads beside the event loop, so that a slow one holds up no request. An episode keeps to one
thread: a database's connection belongs to the thread that opened it."""
USER_THREADS = 64
"""The same where a model plays the user: then a world waits for it most of the time."""


def rollout(
    policy: Policy | AsyncPolicy,
    env_id: str,
    seeds: Iterable[int],
    *,
    n: int = 1,
    split: str = "test",
    batch: int = 64,
    concurrency: int = 128,
    sampling_seed: int = 0,
    user: Policy | None = None,
    limits: Limits = NO_LIMITS,
    skip: Collection[str] = (),
) -> Iterator[Trajectory]:
    """Run `policy` on the tasks of `seeds`, `n` times each; yields each trajectory as its episode ends.

    The n rollouts of a task have the sampling seeds from `sampling_seed` on; those whose trajectories' ids are in
    `skip` are left out. A model may play the `user`. The same arguments give the same trajectories: an episode's chance
    depends on its seed and its sampling seed only (with a server, as far as that keeps to the seed it is given).
    An infrastructure fault ends its own episode only, with reward 0 and the stop reason that says so.
    Raises InputError for a batch of none, and where the policy says that no episode can go on.
    """
    _at_least_one(batch=batch, concurrency=concurrency, n=n)
    starts = _starts(policy.name, env_id, seeds, n, split, sampling_seed, user, limits, skip)
    if is_async(policy):
        yield from iterated(_in_flight(policy, starts, concurrency, WORLD_THREADS if user is None else USER_THREADS))
    else:
        yield from _in_batches(policy, starts, batch)


async def rollout_async(
    policy: Policy | AsyncPolicy,
    env_id: str,
    seeds: Iterable[int],
    *,
    n: int = 1,
    split: str = "test",
    batch: int = 64,
    concurrency: int = 128,
    sampling_seed: int = 0,
    user: Policy | None = None,
    limits: Limits = NO_LIMITS,
    skip: Collection[str] = (),
) -> AsyncGenerator[Trajectory, None]:
    """`rollout` for code on an event loop. Close it (`contextlib.aclosing`) if you may leave it in the middle."""
    _at_least_one(batch=batch, concurrency=concurrency, n=n)
    starts = _starts(policy.name, env_id, seeds, n, split, sampling_seed, user, limits, skip)
    if is_async(policy):
        trajectories = _in_flight(policy, starts, concurrency, WORLD_THREADS if user is None else USER_THREADS)
    else:
        trajectories = _in_thread(_in_batches(policy, starts, batch))
    async with aclosing(trajectories):
        async for trajectory in trajectories:
            yield trajectory


def _at_least_one(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            what = {"batch": "a batch has at least 1 task", "n": "a task is rolled out at least once"}
            raise InputError(f"{what.get(name, f'{name} is at least 1')}, came {count}")


def _starts(
    policy: str,
    env_id: str,
    seeds: Iterable[int],
    n: int,
    split: str,
    sampling_seed: int,
    user: Policy | None,
    limits: Limits,
    skip: Collection[str],
) -> Iterator[Start]:
    for seed in seeds:
        for number in range(sampling_seed, sampling_seed + n):
            if trajectory_id(env_id, split, seed, number) not in skip:
                yield Start(
                    env_id=env_id, split=split, seed=seed, number=number, policy=policy, user=user, limits=limits
                )


def _in_batches(policy: Policy | AsyncPolicy, starts: Iterator[Start], batch: int) -> Iterator[Trajectory]:
    """Episodes of a batch go on in step. A policy that lets contexts join (`joins`) gets the next one for each that has
    ended; with another, the next batch begins when all have."""
    if not isinstance(policy, Policy):
        raise TypeError(f"{policy.name} is no policy: it has neither act nor a coroutine reply")
    joins = getattr(policy, "joins", False)
    episodes: list[Episode] = []
    try:
        while True:
            if joins or not episodes:
                size = min(batch, getattr(policy, "largest_batch", batch))
                begun = [Episode(start) for start in islice(starts, max(0, size - len(episodes)))]
                if not begun and not episodes:
                    return
                yield from (episode.ended for episode in begun if episode.ended)
                episodes += [episode for episode in begun if not episode.ended]
            yield from _turn(policy, episodes)
            episodes = [episode for episode in episodes if not episode.ended]
    finally:
        for episode in episodes:
            episode.close()


def _turn(policy: Policy, episodes: list[Episode]) -> Iterator[Trajectory]:
    """One turn of each; the trajectories of those that it ended."""
    try:
        replies = policy.act([episode.context for episode in episodes]) if episodes else []
    except FAULTS as error:
        yield from [episode.fault(error) for episode in episodes]
        return
    for episode, reply in zip(episodes, replies, strict=True):
        if trajectory := episode.take(reply):
            yield trajectory


async def _in_thread(trajectories: Iterator[Trajectory]) -> AsyncGenerator[Trajectory, None]:
    """A generator's trajectories; it runs in a thread of its own."""
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1, "rollouts") as thread:
        try:
            while trajectory := await loop.run_in_executor(thread, next, trajectories, None):
                yield trajectory
        finally:
            await loop.run_in_executor(thread, trajectories.close)  # type: ignore[attr-defined]


async def _in_flight(
    policy: AsyncPolicy, starts: Iterator[Start], concurrency: int, threads: int
) -> AsyncGenerator[Trajectory, None]:
    """So many episodes at once; when one ends, the next begins."""
    ended: asyncio.Queue[Trajectory | Exception | None] = asyncio.Queue(concurrency)
    async with AsyncExitStack() as stack:
        places = [ThreadPoolExecutor(1, "world") for _ in range(min(concurrency, threads))]
        for place in places:
            stack.enter_context(place)
        if isinstance(policy, AbstractAsyncContextManager):
            await stack.enter_async_context(policy)
        placed = zip(starts, cycle(places), strict=False)
        workers = [asyncio.create_task(_work(policy, placed, ended)) for _ in range(concurrency)]
        try:
            for _ in workers:
                while (trajectory := await ended.get()) is not None:
                    if isinstance(trajectory, Exception):
                        raise trajectory
                    yield trajectory
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)


async def _work(
    policy: AsyncPolicy,
    placed: Iterator[tuple[Start, ThreadPoolExecutor]],
    ended: "asyncio.Queue[Trajectory | Exception | None]",
) -> None:
    """One episode after the other, for as long as there are any; None says that there is none."""
    try:
        for start, place in placed:
            await ended.put(await _episode(policy, start, place))
    except Exception as error:  # raised again where the trajectories are taken
        await ended.put(error)
    else:
        await ended.put(None)


async def _episode(policy: AsyncPolicy, start: Start, place: ThreadPoolExecutor) -> Trajectory:
    """One episode from its start to its end. Its world is in the thread of `place`."""
    loop = asyncio.get_running_loop()
    opening = place.submit(Episode, start)
    try:
        episode = await asyncio.wrap_future(opening)
        while episode.ended is None:
            try:
                async with asyncio.timeout(episode.seconds_left):
                    reply = await policy.reply(episode.context)
            except ContextTooLong:
                await loop.run_in_executor(place, episode.too_long)
            except FAULTS as error:
                await loop.run_in_executor(place, _failed, episode, error)
            else:
                await loop.run_in_executor(place, episode.take, reply)
        return episode.ended
    finally:
        # Without waiting for it: an episode that is left in the middle is left at once.
        place.submit(_close, opening)


def _failed(episode: Episode, error: BaseException) -> Trajectory:
    return episode.out_of_time() or episode.fault(error)


def _close(opening: "Future[Episode]") -> None:
    """Close the world of an episode, if it came to one."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()
