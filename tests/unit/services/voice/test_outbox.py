"""Audio waits for a slow reader, in order, and never beyond the limit."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing

import pytest

from services.voice.domain import Audio, Event, Queued
from services.voice.outbox import LONGEST_SENTENCE_BYTES, Outbox, stream


def outbox(limit: int = 100, chunk: int = 10) -> Outbox:
    return Outbox(limit_bytes=limit, chunk_bytes=chunk)


async def put_one(box: Outbox) -> None:
    await box.put(Audio(b"5", 4))


async def test_pieces_in_a_row_are_joined_up_to_a_message() -> None:
    box = outbox(chunk=5)
    for offset in range(0, 9, 3):
        box.post(Audio(bytes([offset] * 3), offset))
    assert await box.take() == Audio(b"\0\0\0\3\3", 0)
    assert await box.take() == Audio(b"\3\6\6\6", 5)


async def test_other_events_keep_their_place() -> None:
    box = outbox()
    for event in (Audio(b"a", 0), Queued(1, 0.0), Audio(b"b", 1)):
        box.post(event)
    assert [await box.take() for _ in range(3)] == [Audio(b"a", 0), Queued(1, 0.0), Audio(b"b", 1)]


async def test_a_sentence_once_begun_does_not_wait() -> None:
    box = outbox(limit=4)
    box.post(Audio(b"1234", 0))
    await box.put(Audio(b"5", 4))


@pytest.mark.parametrize(("held", "wait"), [(4, Outbox.room), (4 + LONGEST_SENTENCE_BYTES, put_one)])
async def test_the_writer_waits_when_it_is_full(held: int, wait: Callable[[Outbox], Awaitable[None]]) -> None:
    box = outbox(limit=4)
    box.post(Audio(bytes(held), 0))
    waiting = asyncio.ensure_future(wait(box))
    await asyncio.sleep(0)
    assert not waiting.done()
    await box.take()
    await waiting


async def test_the_end_comes_after_what_is_left() -> None:
    box = outbox()
    box.post(Audio(b"1", 0))
    box.end()
    assert await box.take() is not None
    assert await box.take() is None


async def test_a_failure_of_the_work_reaches_the_reader_after_the_events() -> None:
    async def work(box: Outbox) -> None:
        box.post(Queued(0, 0.0))
        raise RuntimeError("broken")

    seen: list[Event] = []
    with pytest.raises(RuntimeError, match="broken"):
        async for event in stream(work, outbox()):
            seen.append(event)
    assert seen == [Queued(0, 0.0)]


async def test_work_has_ended_when_its_reader_has_gone() -> None:
    ended = asyncio.Event()

    async def work(box: Outbox) -> None:
        try:
            while True:
                await box.room()
                await box.put(Audio(b"x" * 10, 0))
        finally:
            await asyncio.sleep(0)
            ended.set()

    async with aclosing(stream(work, outbox())) as events:
        await anext(events)
    assert ended.is_set()
