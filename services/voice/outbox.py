"""Events on their way to one reader who may be slow: audio waits for him, up to a limit of bytes.

The limit is kept between sentences, so that a sentence once begun is finished and its engine is free for others. Only
a sentence beyond all measure waits half-way.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable

from servekit.worker import outlast
from services.voice.domain import Audio, Event

Work = Callable[["Outbox"], Awaitable[None]]

LONGEST_SENTENCE_BYTES = 8 * 1024 * 1024
"""Audio of one sentence that is taken over the limit without waiting."""


class Outbox:
    """Holds about `limit_bytes` of audio and a sentence. What waits in a row goes in one piece of `chunk_bytes`."""

    def __init__(self, *, limit_bytes: int, chunk_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._chunk_bytes = chunk_bytes
        self._events: deque[Event] = deque()
        self._held_bytes = 0
        self._ended = False
        self._news = asyncio.Event()
        self._room = asyncio.Event()

    def post(self, event: Event) -> None:
        """Add an event without waiting."""
        self._events.append(event)
        self._held_bytes += _size(event)
        self._news.set()

    @property
    def fill(self) -> float:
        """Audio that waits, as a share of the limit; 1 or more means that there is no room."""
        return self._held_bytes / self._limit_bytes

    async def put(self, event: Event) -> None:
        """Add an event; wait only far beyond the limit."""
        await self.bearable()
        self.post(event)

    async def bearable(self) -> None:
        """Wait until there is no more audio than the limit and a sentence."""
        await self._below(self._limit_bytes + LONGEST_SENTENCE_BYTES)

    async def room(self) -> None:
        """Wait until there is less audio than the limit."""
        await self._below(self._limit_bytes)

    async def _below(self, limit_bytes: int) -> None:
        while self._held_bytes >= limit_bytes:
            self._room.clear()
            await self._room.wait()

    def end(self) -> None:
        """Let the reader stop after what is there."""
        self._ended = True
        self._news.set()

    async def take(self) -> Event | None:
        """Return the next event, None after the last."""
        while not self._events:
            if self._ended:
                return None
            self._news.clear()
            await self._news.wait()
        event = self._events.popleft()
        if isinstance(event, Audio):
            event = self._gathered(event)
        self._held_bytes -= _size(event)
        self._room.set()
        return event

    def _gathered(self, first: Audio) -> Audio:
        """Join the audio that follows without a gap, or cut what is too large for one message."""
        parts, size = [first.data], len(first.data)
        while self._events and isinstance(following := self._events[0], Audio) and size < self._chunk_bytes:
            parts.append(following.data)
            size += len(following.data)
            self._events.popleft()
        data = b"".join(parts)
        if size > self._chunk_bytes:
            self._events.appendleft(Audio(data[self._chunk_bytes :], first.offset + self._chunk_bytes))
        return Audio(data[: self._chunk_bytes], first.offset)


def _size(event: Event) -> int:
    return len(event.data) if isinstance(event, Audio) else 0


async def stream(work: Work, outbox: Outbox) -> AsyncGenerator[Event, None]:
    """Run `work` as a task and yield what it puts out; its exception ends the stream.

    When the reader goes away the work is cancelled, and this returns only when it has ended.
    """

    async def run() -> None:
        try:
            await work(outbox)
        finally:
            outbox.end()

    task = asyncio.create_task(run())
    try:
        while (event := await outbox.take()) is not None:
            yield event
        await task
    finally:
        task.cancel()
        await outlast(task)
