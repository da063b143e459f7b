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
    """One caller: what he wants said, and the queue on which he gets it.

    `ahead` is true until somebody listens: until the caller comes back for more than the first piece.
    """

    def __init__(self, speech: Speech, *, ahead: bool) -> None:
        self.speech = speech
        self.ahead = ahead
        self.row: Row | None = None
        self.waits = True
        """True while the caller waits for samples. No others are made, only the GPT goes on."""
        self.left = False
        self._loop = asyncio.get_running_loop()
        self.samples: asyncio.Queue[Samples | None] = asyncio.Queue()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        """Done when the device thread has let go of the line."""

    def emit(self, samples: Samples) -> None:
        """Hand samples over, and make no more until the caller comes back; from any thread."""
        self.waits = False
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
    """Lets the GPT speak at most `most` lines together; others wait in the order in which they came.

    Lines spoken ahead of their turn get the places that are left, and give them up again. To be created on the event
    loop. After `linger_s` seconds of silence the weights may go to sleep.
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

    async def speak(self, speech: Speech, *, ahead: bool = False) -> AsyncGenerator[Samples, None]:
        """Yield samples as they are made. Closing it stops the work at the next token. Raises `EngineFailure`.

        With `ahead` only the first piece is made before the caller comes back for the second; the GPT goes on.
        """
        if self._serving.done():
            raise EngineFailure(_STOPPED)
        line = _Line(speech, ahead=ahead)
        self._waiting.append(line)
        self._news.set()
        try:
            while (samples := await line.samples.get()) is not None:
                yield samples
                line.waits, line.ahead = True, False
                self._news.set()
            await line.ended
        finally:
            await self._leave(line)

    async def close(self) -> None:
        """Stop whoever speaks and whoever waits."""
        self._serving.cancel()
        await outlast(self._serving)
        await self._worker.run(lambda _: self._dismiss(EngineFailure(_STOPPED)))
        while self._waiting:
            self._waiting.popleft().end(EngineFailure(_STOPPED))

    async def _leave(self, line: _Line) -> None:
        """Return when the device thread has nothing to do with the line any more."""
        line.left = True
        self._news.set()
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
        if self._wanted():
            return
        try:
            async with asyncio.timeout(self._linger_s):
                await self._news.wait()
        except TimeoutError:
            await self._worker.run(lambda _: self._choir.placed.sleep())
            await self._news.wait()

    def _wanted(self) -> bool:
        """Tell whether there is anything to do; not so if all that is left to do is audio that nobody asks for."""
        return bool(self._waiting or self._choir.rows) or any(
            line.left or (line.waits and line.row and line.row.due) for line in self._speaking
        )

    # ---- on the device thread ----

    def _steps(self, token: CancelToken) -> Generator[None, None, None]:
        try:
            while self._wanted():
                self._turn()
                yield
        except BaseException:
            self._dismiss(EngineFailure(_STOPPED))
            raise

    def _turn(self) -> None:
        """One token for everybody, or the first for those who join, and the audio that is waited for."""
        for line in [each for each in self._speaking if each.left]:
            self._let_go(line)
        newcomers = self._admit()
        try:
            if newcomers:
                self._choir.join(newcomers)
            elif self._choir.rows:
                self._choir.step()
            self._choir.sing([line.row for line in self._speaking if line.row and line.waits])
        except EngineFailure as error:
            self._dismiss(error)
        for line in [each for each in self._speaking if each.row and each.row.done]:
            self._speaking.remove(line)
            line.end()

    def _admit(self) -> list[Row]:
        rows = list[Row]()
        for line in sorted(self._waiting, key=lambda each: each.ahead):
            if len(self._choir.rows) + len(rows) >= self._most and (line.ahead or not self._make_room()):
                break
            try:
                self._waiting.remove(line)
            except ValueError:  # its caller left meanwhile
                continue
            line.row = line.row or self._choir.row(line.speech, line.emit)
            rows.append(line.row)
            self._speaking.append(line)
        return rows

    def _make_room(self) -> bool:
        """Take its place from the last line that is spoken ahead, if there is one; it goes on later where it was."""
        ahead = [each for each in self._speaking if each.ahead and each.row in self._choir.rows]
        for line in ahead[-1:]:
            assert line.row is not None
            self._choir.leave(line.row)
            self._speaking.remove(line)
            self._waiting.appendleft(line)
        return bool(ahead)

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
