"""A passage that an engine begins before its turn."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

from servekit.worker import outlast
from services.voice.domain import Piece


class Prelude:
    """Asks for the first piece at once and for no more until the turn of the passage has come.

    To be created on the event loop, and closed whether it was heard or not.
    """

    def __init__(self, pieces: AsyncGenerator[Piece, None]) -> None:
        self._pieces = pieces
        self._first = asyncio.create_task(self._begin())

    async def __aiter__(self) -> AsyncIterator[Piece]:
        if (first := await self._first) is not None:
            yield first
            async for piece in self._pieces:
                yield piece

    async def aclose(self) -> None:
        """Stop the work."""
        self._first.cancel()
        await outlast(self._first)
        await self._pieces.aclose()

    async def _begin(self) -> Piece | None:
        return await anext(self._pieces, None)
