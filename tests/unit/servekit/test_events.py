import asyncio
import threading
from contextlib import aclosing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servekit.events import EventStream, produced


async def drain(stream: EventStream[int]) -> list[int]:
    async with stream:
        return [event async for event in stream]


async def test_events_arrive_in_order_and_then_the_end() -> None:
    stream = EventStream[int]()
    for number in range(100):
        stream.put(number)
    stream.finish()
    assert await drain(stream) == list(range(100))


async def test_failure_comes_after_what_was_put() -> None:
    stream = EventStream[int]()
    stream.put(1)
    stream.fail(KeyError("broken"))
    seen = []
    with pytest.raises(KeyError):
        async with stream:
            async for event in stream:
                seen.append(event)
    assert seen == [1]


async def test_a_reader_waits_for_another_thread() -> None:
    stream = EventStream[int]()
    reader = asyncio.create_task(drain(stream))
    await asyncio.sleep(0)

    def produce() -> None:
        for number in range(1000):
            stream.put(number)
        stream.finish()

    thread = threading.Thread(target=produce)
    thread.start()
    assert await reader == list(range(1000))
    thread.join()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.booleans(), max_size=40), st.integers(1, 4))
def test_a_slow_reader_loses_only_old_droppable_events(droppable: list[bool], limit: int) -> None:
    async def read() -> tuple[list[int], int]:
        stream = EventStream[int](droppable=limit)
        for number, each in enumerate(droppable):
            stream.put(number, droppable=each)
        stream.finish()
        return await drain(stream), stream.dropped

    all_droppable = [number for number, each in enumerate(droppable) if each]
    kept = set(all_droppable[-limit:]) | {number for number, each in enumerate(droppable) if not each}
    assert asyncio.run(read()) == (sorted(kept), len(droppable) - len(kept))


async def test_room_for_droppable_events_comes_back_when_they_are_read() -> None:
    stream = EventStream[int](droppable=1)
    async with stream:
        for number in range(3):
            stream.put(number, droppable=True)
            assert await anext(stream) == number
    assert stream.dropped == 0


async def test_leaving_early_cancels_the_token() -> None:
    stream = EventStream[int]()
    stream.put(1)
    async with stream:
        await anext(stream)
    assert stream.token.cancelled


async def test_leaving_at_the_end_does_not_cancel_the_token() -> None:
    stream = EventStream[int]()
    stream.finish()
    await drain(stream)
    assert not stream.token.cancelled


async def test_nothing_is_kept_after_the_reader_left() -> None:
    stream = EventStream[int]()
    async with stream:
        pass
    stream.put(1)
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


def test_putting_after_the_loop_closed_cancels_the_token() -> None:
    async def abandon() -> EventStream[int]:
        stream = EventStream[int]()
        reader = asyncio.create_task(anext(stream))
        await asyncio.sleep(0)
        reader.cancel()
        return stream

    stream = asyncio.run(abandon())
    stream.put(1)
    assert stream.token.cancelled


async def test_produced_yields_the_events_of_the_task() -> None:
    async def produce(stream: EventStream[int]) -> None:
        for number in range(3):
            stream.put(number)
            await asyncio.sleep(0)

    assert [event async for event in produced(produce)] == [0, 1, 2]


async def test_produced_raises_what_the_task_raises() -> None:
    async def produce(stream: EventStream[int]) -> None:
        stream.put(1)
        raise KeyError("broken")

    seen = []
    with pytest.raises(KeyError):
        async for event in produced(produce):
            seen.append(event)
    assert seen == [1]


async def test_leaving_produced_ends_the_task_first() -> None:
    ended = asyncio.Event()

    async def produce(stream: EventStream[int]) -> None:
        try:
            stream.put(1)
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.set()

    async with aclosing(produced(produce)) as events:
        await anext(events)
    assert ended.is_set()


async def test_cancelling_the_reader_ends_the_task_first() -> None:
    ended, reading = asyncio.Event(), asyncio.Event()

    async def produce(stream: EventStream[int]) -> None:
        try:
            reading.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.set()

    async def read() -> list[int]:
        return [event async for event in produced(produce)]

    reader = asyncio.create_task(read())
    await reading.wait()
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert ended.is_set()
