"""An asynchronous generator, iterated by code that is not asynchronous.

The generator lives on an event loop in a thread of its own and is asked for one item at a time, so that it works inside
a running loop too (a notebook), and goes on with its work between two items.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterator
from typing import TypeVar

T = TypeVar("T")


def iterated(items: AsyncGenerator[T, None]) -> Iterator[T]:
    """The generator's items. It is closed, and its loop ended, when the iteration ends or is left in the middle."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="rollouts", daemon=True)
    thread.start()
    pulling: list[asyncio.Task[None]] = []

    async def pull() -> list[T]:
        task = asyncio.current_task()
        assert task is not None
        pulling[:] = [task]
        async for item in items:
            return [item]
        return []

    async def leave() -> None:
        for task in pulling:
            task.cancel()
            await asyncio.wait([task])
        await items.aclose()
        await loop.shutdown_default_executor()

    try:
        while item := asyncio.run_coroutine_threadsafe(pull(), loop).result():
            yield item[0]
    finally:
        asyncio.run_coroutine_threadsafe(leave(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
