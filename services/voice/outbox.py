"""Events on their way to one reader who may be slow: audio waits for him, up to a limit of bytes."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable

from servekit.worker import outlast
from services.voice.domain import Audio, Event

Work = Callable[["Outbox"], Awaitable[None]]


class Outbox:
    """Holds at most about `limit_bytes` of audio. What waits in a row is handed over in one piece of `chunk_bytes`."""

    def __init__(self, *, limit_bytes: int, chunk_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._chunk_bytes = chunk_bytes
        self._events: deque[Event] = deque()
        self._held_bytes = 0
        self._ended = False
        self._news = asyncio.Event()
        self._room = asyncio.Event()

    @property
    def full(self) -> bool:
        """True if `put` would wait."""
        return self._held_bytes >= self._limit_bytes

    def post(self, event: Event) -> None:
        """Add an event without waiting."""
        self._events.append(event)
        self._held_bytes += _size(event)
        self._news.set()

    async def put(self, event: Event) -> None:
        """Add an event, once there is room."""
        while self.full:
            self._room.clear()
            await self._room.wait()
        self.post(event)

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
