import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from servekit.heartbeat import Beat, Heartbeat
from servekit.testing import ManualClock


class Watched:
    """A heartbeat on a manual clock and what it told."""

    def __init__(self, beat: Beat) -> None:
        self.clock = ManualClock()
        self._told: asyncio.Queue[bool] = asyncio.Queue()
        self._heartbeat = Heartbeat(beat, clock=self.clock, stalled_after_s=60, every_s=10)

    async def next(self) -> bool:
        return await self._told.get()

    async def pass_time(self, seconds: float) -> None:
        """Let time pass once the heartbeat has gone to sleep."""
        for _ in range(5):
            await asyncio.sleep(0)
        self.clock.advance(seconds)

    async def run(self) -> None:
        await self._heartbeat.watch(self._told.put_nowait)


@asynccontextmanager
async def watched(beat: Beat) -> AsyncIterator[Watched]:
    made = Watched(beat)
    task = asyncio.create_task(made.run())
    yield made
    task.cancel()
    await asyncio.wait({task})


async def test_a_device_that_answers_is_alive_again_and_again() -> None:
    async def beat() -> None:
        pass

    async with watched(beat) as heart:
        for _ in range(3):
            assert await heart.next()
            await heart.pass_time(10)


async def test_a_device_that_hangs_is_not_alive_until_it_answers() -> None:
    answered = asyncio.Event()
    async with watched(answered.wait) as heart:
        await heart.pass_time(59)
        await heart.pass_time(1)
        assert not await heart.next()
        answered.set()
        assert await heart.next()


async def test_a_device_that_fails_is_not_alive_until_it_works() -> None:
    errors = [RuntimeError("the GPU has fallen off the bus")]

    async def beat() -> None:
        if errors:
            raise errors.pop()

    async with watched(beat) as heart:
        assert not await heart.next()
        await heart.pass_time(10)
        assert await heart.next()


@pytest.mark.parametrize("seconds", [0, 59])
async def test_patience_is_not_lost_early(seconds: float) -> None:
    answered = asyncio.Event()
    async with watched(answered.wait) as heart:
        await heart.pass_time(seconds)
        answered.set()
        assert await heart.next()
