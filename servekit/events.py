"""Events on their way from a producer in any thread to one reader on the event loop."""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from types import TracebackType
from typing import Generic, Self, TypeVar

from servekit.worker import CancelToken, outlast

E = TypeVar("E")


class EventStream(Generic[E]):
    """A queue that never makes its producer wait.

    Droppable events (progress, previews) keep only the latest `droppable` ones when the reader is slow; all others
    arrive, in order, whatever happens. Create it on the event loop. `put`, `finish` and `fail` may be called from any
    thread; after the end they do nothing.

    Read it inside `async with`: leaving the block before the end cancels `token`, which is how the producer learns
    that nobody listens any more.

    >>> async with stream:
    ...     async for event in stream:
    ...         yield event
    """

    def __init__(self, token: CancelToken | None = None, *, droppable: int = 4) -> None:
        self.token = token or CancelToken()
        self.dropped = 0
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._lock = threading.RLock()
        self._events: deque[tuple[E, bool]] = deque()
        self._droppable_limit = droppable
        self._droppable_held = 0
        self._ended = False
        self._error: BaseException | None = None
        self._reader_waits = False
        self._news = asyncio.Event()

    def put(self, event: E, *, droppable: bool = False) -> None:
        """Add an event. A droppable one takes the place of the oldest droppable one if too many are unread."""
        with self._lock:
            if self._ended:
                return
            if droppable:
                self._make_room()
            self._events.append((event, droppable))
            self._wake()

    def finish(self) -> None:
        """End the stream: the reader gets what is left and then the end."""
        self._end(None)

    def fail(self, error: BaseException) -> None:
        """End the stream: the reader gets what is left and then this exception."""
        self._end(error)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            abandoned = not self._ended
            self._ended = True
            self._events.clear()
        if abandoned:
            self.token.cancel()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> E:
        while True:
            with self._lock:
                if self._events:
                    event, droppable = self._events.popleft()
                    self._droppable_held -= droppable
                    return event
                if self._ended:
                    raise self._error or StopAsyncIteration
                self._news.clear()
                self._reader_waits = True
            await self._news.wait()

    def _end(self, error: BaseException | None) -> None:
        with self._lock:
            if self._ended:
                return
            self._ended = True
            self._error = error
            self._wake()

    def _make_room(self) -> None:
        if self._droppable_held < self._droppable_limit:
            self._droppable_held += 1
            return
        oldest = next(index for index, (_, droppable) in enumerate(self._events) if droppable)
        del self._events[oldest]
        self.dropped += 1

    def _wake(self) -> None:
        """Wake the reader, once for a burst: each wake-up across threads costs a system call."""
        if not self._reader_waits:
            return
        self._reader_waits = False
        if threading.get_ident() == self._loop_thread and not self._loop.is_closed():
            self._news.set()
            return
        try:
            self._loop.call_soon_threadsafe(self._news.set)
        except RuntimeError:  # the loop is closed, and the reader with it
            self._ended = True
            self.token.cancel()


async def produced(
    produce: Callable[[EventStream[E]], Awaitable[None]], *, droppable: int = 4
) -> AsyncGenerator[E, None]:
    """Run `produce(stream)` as a task and yield its events; the end or the exception of the task ends the stream.

    When the reader goes away, the stream's token and the task are cancelled, and this waits until the task is gone.
    """
    stream: EventStream[E] = EventStream(droppable=droppable)

    async def run() -> None:
        try:
            await produce(stream)
        except BaseException as error:
            stream.fail(error)
            raise
        stream.finish()

    task = asyncio.create_task(run())
    try:
        async with stream:
            async for event in stream:
                yield event
    finally:
        if stream.token.cancelled:
            task.cancel()
        await outlast(task)
