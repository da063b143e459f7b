"""What a caller streams, so that it can be read again from the start."""

import asyncio
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

M = TypeVar("M")


class Once(Generic[M]):
    """The only message of a caller, in the place of a `Replay`."""

    def __init__(self, message: M) -> None:
        self._message = message

    def read(self) -> M:
        """Return the message."""
        return self._message

    def forget(self) -> None:
        """Do nothing: it is held by the call itself."""

    async def aclose(self) -> None:
        """Do nothing."""


class Replay(Generic[M]):
    """Each reader sees every message of `messages`, from the first; nothing is read ahead of him.

    A new reader ends the one before. After `forget` a message is kept only until it was read.
    """

    def __init__(self, messages: AsyncIterator[M]) -> None:
        self._messages = messages
        self._read: list[M | None] = []
        self._readers = 0
        self._forgetful = False
        self._ended = False
        self._fetching: asyncio.Task[None] | None = None

    async def read(self) -> AsyncIterator[M]:
        """Yield every message. A reader that is given up takes none away from the next one."""
        self._readers += 1
        me, at = self._readers, 0
        while True:
            while at == len(self._read):
                if self._ended:
                    return
                fetching = self._fetch()
                await asyncio.wait([fetching])
                if me != self._readers:
                    return
                fetching.result()
            message = self._read[at]
            if self._forgetful:
                self._read[at] = None
            at += 1
            if message is not None:
                yield message

    def forget(self) -> None:
        """Keep nothing more for readers who begin from now on."""
        self._forgetful = True

    async def aclose(self) -> None:
        """Stop waiting for the next message."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])

    def _fetch(self) -> "asyncio.Task[None]":
        if self._fetching is None or self._fetching.done():
            self._fetching = asyncio.create_task(self._fetch_one())
        return self._fetching

    async def _fetch_one(self) -> None:
        try:
            self._read.append(await anext(self._messages))
        except StopAsyncIteration:
            self._ended = True
