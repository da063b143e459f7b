"""A pool of engine processes, each lent to one utterance at a time."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from services.voice.engines.process import SpeechProcess

Start = Callable[[], Awaitable[SpeechProcess]]
"""Starts a process that can speak. Raises `EngineFailure`."""


class ProcessPool:
    """`size` processes. One that breaks is replaced before its place is lent again."""

    def __init__(self, start: Start, size: int) -> None:
        self._start = start
        self._size = size
        self._processes: set[SpeechProcess] = set()
        self._idle: deque[SpeechProcess | None] = deque()
        self._places = asyncio.Semaphore(size)  # first come, first served, which asyncio.Queue is not

    async def start(self) -> None:
        """Start all processes, or, if one cannot be started, leave none. Raises `EngineFailure`."""
        try:
            for _ in range(self._size):
                self._idle.append(await self._start_one())
        except BaseException:
            self.close()
            raise

    @property
    def resident_bytes(self) -> int:
        """Memory of all processes."""
        return sum(process.resident_bytes for process in self._processes)

    @property
    def pids(self) -> frozenset[int]:
        """Ids of the processes."""
        return frozenset(process.pid for process in self._processes)

    @asynccontextmanager
    async def lent(self) -> AsyncIterator[SpeechProcess]:
        """Lend a process, in the order of asking; a place whose process died gets a new one first."""
        async with self._places:
            process = self._idle.popleft()
            try:
                if process is None or not process.alive:
                    process = await self._replace(process)
                yield process
            finally:
                self._idle.append(process)

    def close(self) -> None:
        """End all processes."""
        for process in self._processes:
            process.kill()
        self._processes.clear()

    async def _replace(self, dead: SpeechProcess | None) -> SpeechProcess:
        if dead is not None:
            dead.kill()
            self._processes.discard(dead)
        return await self._start_one()

    async def _start_one(self) -> SpeechProcess:
        process = await self._start()
        self._processes.add(process)
        return process
