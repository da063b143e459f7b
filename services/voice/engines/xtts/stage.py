"""Between the event loop, where callers come and go, and the device thread, where the choir speaks."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Generator
from contextlib import suppress

from servekit.errors import EngineFailure
from servekit.worker import CancelToken, DeviceWorker, outlast
from services.voice.domain import Samples
from services.voice.engines.xtts.choir import Choir
from services.voice.engines.xtts.rows import Row, Speech

logger = logging.getLogger(__name__)

LINGER_S = 10.0
"""Seconds of silence after which parked weights go to sleep."""
_STOPPED = "XTTS was stopped"


class _Line:
    """One caller: what he wants said, and the queue on which he gets it."""

    def __init__(self, speech: Speech) -> None:
        self.speech = speech
        self.row: Row | None = None
        self.left = False
        self._loop = asyncio.get_running_loop()
        self.samples: asyncio.Queue[Samples | None] = asyncio.Queue()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        """Done when the device thread has let go of the line."""

    def emit(self, samples: Samples) -> None:
        """Hand samples over; from any thread."""
        self._loop.call_soon_threadsafe(self.samples.put_nowait, samples)

    def end(self, error: EngineFailure | None = None) -> None:
        """Say that nothing follows; from any thread."""
        self._loop.call_soon_threadsafe(self._settle, error)

    def _settle(self, error: EngineFailure | None) -> None:
        if self.ended.done():
            return
        if error is None:
            self.ended.set_result(None)
        else:
            self.ended.set_exception(error)
        self.samples.put_nowait(None)


class Stage:
    """Lets at most `most` callers speak together; others wait in the order in which they came.

    To be created on the event loop. After `linger_s` seconds of silence the weights may go to sleep.
    """

    def __init__(self, worker: DeviceWorker, choir: Choir, *, most: int, linger_s: float = LINGER_S) -> None:
        self._worker = worker
        self._choir = choir
        self._most = most
        self._linger_s = linger_s
        self._waiting: deque[_Line] = deque()
        self._speaking: list[_Line] = []
        self._news = asyncio.Event()
        self._serving = asyncio.create_task(self._serve())

    async def speak(self, speech: Speech) -> AsyncGenerator[Samples, None]:
        """Yield samples as they are made. Closing it stops the work at the next token. Raises `EngineFailure`."""
        if self._serving.done():
            raise EngineFailure(_STOPPED)
        line = _Line(speech)
        self._waiting.append(line)
        self._news.set()
        try:
            while (samples := await line.samples.get()) is not None:
                yield samples
            await line.ended
        finally:
            await self._leave(line)

    async def close(self) -> None:
        """Stop whoever speaks and whoever waits."""
        self._serving.cancel()
        await outlast(self._serving)
        while self._waiting:
            self._waiting.popleft().end(EngineFailure(_STOPPED))

    async def _leave(self, line: _Line) -> None:
        """Return when the device thread has nothing to do with the line any more."""
        line.left = True
        with suppress(ValueError):
            self._waiting.remove(line)
            line.end()
        await outlast(line.ended)

    async def _serve(self) -> None:
        while True:
            await self._until_wanted()
            try:
                await self._worker.submit(self._steps)
            except Exception:
                logger.exception("XTTS broke off, and begins again")

    async def _until_wanted(self) -> None:
        self._news.clear()
        if self._waiting:
            return
        try:
            async with asyncio.timeout(self._linger_s):
                await self._news.wait()
        except TimeoutError:
            await self._worker.run(lambda _: self._choir.placed.sleep())
            await self._news.wait()

    # ---- on the device thread ----

    def _steps(self, token: CancelToken) -> Generator[None, None, None]:
        try:
            while self._waiting or self._speaking:
                self._turn()
                yield
        finally:
            self._dismiss(EngineFailure(_STOPPED))

    def _turn(self) -> None:
        """One token for everybody, or the first for those who join."""
        for line in [each for each in self._speaking if each.left]:
            self._let_go(line)
        newcomers = self._admit()
        try:
            if newcomers:
                self._choir.join(newcomers)
            elif self._speaking:
                self._choir.step()
        except EngineFailure as error:
            self._dismiss(error)
        for line in [each for each in self._speaking if each.row and each.row.finished]:
            self._speaking.remove(line)
            line.end()

    def _admit(self) -> list[Row]:
        rows = []
        while self._waiting and len(self._speaking) < self._most:
            try:
                line = self._waiting.popleft()
            except IndexError:  # its caller left meanwhile
                break
            line.row = self._choir.row(line.speech, line.emit)
            rows.append(line.row)
            self._speaking.append(line)
        return rows

    def _let_go(self, line: _Line) -> None:
        assert line.row is not None
        self._choir.leave(line.row)
        self._speaking.remove(line)
        line.end()

    def _dismiss(self, error: EngineFailure) -> None:
        """End everybody's line, and free the memory that the batch has taken."""
        self._choir.disband()
        for line in self._speaking:
            line.end(error)
        self._speaking.clear()
