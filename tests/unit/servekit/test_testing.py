import asyncio

from servekit.testing import ManualClock


async def _sleeping(clock: ManualClock, *seconds: float) -> "list[asyncio.Task[None]]":
    tasks = [asyncio.create_task(clock.sleep(each)) for each in seconds]
    await asyncio.sleep(0)
    return tasks


async def test_a_manual_clock_wakes_those_whose_time_has_come() -> None:
    clock = ManualClock()
    short, long = await _sleeping(clock, 1, 3)
    clock.advance(2)
    await short
    assert not long.done()
    clock.advance(1)
    await long


async def test_a_cancelled_sleeper_is_passed_over() -> None:
    clock = ManualClock()
    gone, waiting = await _sleeping(clock, 1, 1)
    gone.cancel()
    await asyncio.wait([gone])
    clock.advance(1)
    await waiting


async def test_a_manual_clock_tells_its_own_time() -> None:
    clock = ManualClock(start=10)
    clock.advance(2.5)
    assert clock.monotonic() == 12.5
