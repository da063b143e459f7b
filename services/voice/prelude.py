"""A passage that an engine begins before its turn."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Self

from servekit.worker import outlast
from services.voice.domain import Piece


class Prelude:
    """Asks for the first piece at once and for no more until the turn of the passage has come.

    To be created on the event loop, and closed whether it was heard or not.
    """

    def __init__(self, pieces: AsyncGenerator[Piece, None]) -> None:
        self._pieces = pieces
        self._first = asyncio.create_task(self._begin())
        self._heard = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Piece:
        if self._heard:
            return await anext(self._pieces)
        self._heard = True
        if (first := await self._first) is None:
            raise StopAsyncIteration
        return first

    async def aclose(self) -> None:
        """Stop the work."""
        self._first.cancel()
        await outlast(self._first)
        await self._pieces.aclose()

    async def _begin(self) -> Piece | None:
        return await anext(self._pieces, None)
