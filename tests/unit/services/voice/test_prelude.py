"""What is begun before its turn is begun at once, goes no further, and ends when it is closed."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from servekit.errors import EngineFailure
from services.voice.domain import Piece, Word
from services.voice.prelude import Prelude

WORDS = [Word(place, 1, 0.0) for place in range(3)]


class Engine:
    """Speaks words, notes how many were asked for, and whether it was stopped."""

    def __init__(self, *, waits: bool = False) -> None:
        self.asked = 0
        self.ended = False
        self.begun = asyncio.Event()
        self._waits = waits

    async def speak(self) -> AsyncGenerator[Piece, None]:
        self.begun.set()
        try:
            if self._waits:
                await asyncio.Event().wait()
            for word in WORDS:
                self.asked += 1
                yield word
        finally:
            self.ended = True


async def test_one_piece_is_made_before_its_turn_and_all_are_heard() -> None:
    engine = Engine()
    prelude = Prelude(engine.speak())
    await engine.begun.wait()
    await asyncio.wait([prelude._first])
    assert engine.asked == 1
    assert [piece async for piece in prelude] == WORDS
    await prelude.aclose()


@pytest.mark.parametrize("waits", [True, False])
async def test_closing_ends_the_work_whether_anything_was_made_or_not(waits: bool) -> None:
    engine = Engine(waits=waits)
    prelude = Prelude(engine.speak())
    await engine.begun.wait()
    await prelude.aclose()
    assert engine.ended


async def test_a_failure_is_told_in_its_turn() -> None:
    async def broken() -> AsyncGenerator[Piece, None]:
        for word in WORDS:
            if word is WORDS[0]:
                raise EngineFailure("broken")
            yield word

    prelude = Prelude(broken())
    await asyncio.wait([prelude._first])
    with pytest.raises(EngineFailure, match="broken"):
        await anext(prelude)
    await prelude.aclose()


async def test_silence_is_over_at_once() -> None:
    async def silent() -> AsyncGenerator[Piece, None]:
        for word in WORDS[:0]:
            yield word

    prelude = Prelude(silent())
    assert [piece async for piece in prelude] == []
    await prelude.aclose()
