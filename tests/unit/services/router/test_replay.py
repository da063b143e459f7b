import asyncio
from collections.abc import AsyncIterator

import pytest

from services.router.replay import Replay


async def said(*words: str) -> AsyncIterator[str]:
    for word in words:
        yield word


async def heard(replay: Replay[str]) -> list[str]:
    return [word async for word in replay.read()]


async def test_every_reader_gets_everything_from_the_first() -> None:
    replay = Replay(said("one", "two", "three"))
    assert await heard(replay) == ["one", "two", "three"]
    assert await heard(replay) == ["one", "two", "three"]


async def test_nothing_is_read_ahead() -> None:
    taken: list[int] = []

    async def numbers() -> AsyncIterator[int]:
        for number in range(3):
            taken.append(number)
            yield number

    reader = Replay(numbers()).read()
    assert await anext(reader) == 0
    assert taken == [0]


async def test_a_reader_that_is_given_up_takes_nothing_from_the_next() -> None:
    more: asyncio.Queue[str] = asyncio.Queue()

    async def spoken() -> AsyncIterator[str]:
        while True:
            yield await more.get()

    replay = Replay(spoken())
    first = asyncio.ensure_future(anext(replay.read()))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    second = asyncio.ensure_future(anext(replay.read()))
    more.put_nowait("hello")

    assert await second == "hello"
    await replay.aclose()


async def test_a_new_reader_ends_the_one_before_and_misses_nothing() -> None:
    more: asyncio.Queue[str] = asyncio.Queue()

    async def spoken() -> AsyncIterator[str]:
        while (word := await more.get()) != "the end":
            yield word

    replay = Replay(spoken())
    before = asyncio.ensure_future(heard(replay))
    more.put_nowait("one")
    await asyncio.sleep(0)
    after = asyncio.ensure_future(heard(replay))
    await asyncio.sleep(0)
    replay.forget()
    for word in ("two", "the end"):
        more.put_nowait(word)
    assert await after == ["one", "two"]
    assert await before in ([], ["one"])


async def test_what_was_read_is_not_kept_once_nobody_will_begin_anew() -> None:
    replay = Replay(said("one", "two", "three"))
    reader = replay.read()
    await anext(reader)
    replay.forget()
    assert [word async for word in reader] == ["two", "three"]
    assert await heard(replay) == ["one"]


async def test_an_error_of_the_caller_reaches_the_reader() -> None:
    async def broken() -> AsyncIterator[str]:
        yield "one"
        raise ValueError("hung up")

    with pytest.raises(ValueError, match="hung up"):
        await heard(Replay(broken()))


async def test_closing_stops_waiting_for_the_next_message() -> None:
    replay = Replay(said("one"))
    await replay.aclose()
    waiting = Replay(_never())
    first = asyncio.ensure_future(anext(waiting.read()))
    await asyncio.sleep(0)
    await waiting.aclose()
    with pytest.raises(asyncio.CancelledError):
        await first


async def _never() -> AsyncIterator[str]:
    await asyncio.Event().wait()
    yield ""
