"""Work that would hold up the event loop, done beside it."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

from servekit.worker import outlast

T = TypeVar("T")


async def in_thread(threads: Executor, work: Callable[[], T]) -> T:
    """Return what `work` returns; even when cancelled, return only when the thread has left it."""
    future = asyncio.get_running_loop().run_in_executor(threads, work)
    try:
        return await asyncio.shield(future)
    finally:
        await outlast(future)
