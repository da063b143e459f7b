"""One thread per device: everything that touches the device runs there, a step at a time.

CUDA graph state is thread-local, and some models are not re-entrant, so loading, warm-up and inference share one
thread. Long work gives the thread up between steps (denoising steps, weight shards, audio chunks); whoever has the
highest priority takes the next turn, and equals take turns in a circle.
"""

import asyncio
import contextvars
import threading
import time
import traceback
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any, Generic, TypeVar

from servekit.errors import Cancelled, Draining

T = TypeVar("T")

RETRY_AFTER_CLOSE_S = 5.0


class CancelToken:
    """Tells work that nobody waits for it any more. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cancelled = False
        self._callbacks: list[Callable[[], None]] = []

    @property
    def cancelled(self) -> bool:
        """True once `cancel` was called."""
        return self._cancelled

    def cancel(self) -> None:
        """Ask the work to stop at its next step. Calling it again does nothing."""
        with self._lock:
            if self._cancelled:
                return
            self._cancelled = True
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def check(self) -> None:
        """Raise `Cancelled` if the work should stop. To be called between steps."""
        if self._cancelled:
            raise Cancelled

    def on_cancel(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` once on cancellation (at once if that has been) and return what takes it back.

        It runs in the thread that cancels, so it must be quick and must not raise.
        """
        with self._lock:
            if not self._cancelled:
                self._callbacks.append(callback)
                return lambda: self._forget(callback)
        callback()
        return lambda: None

    def _forget(self, callback: Callable[[], None]) -> None:
        with self._lock, suppress(ValueError):
            self._callbacks.remove(callback)


Steps = Callable[[CancelToken], Generator[None, None, T]]
"""Work in steps: each `yield` gives the thread up, the return value is the result."""


class _Job(Generic[T]):
    """One piece of work and the future of whoever waits for it."""

    def __init__(self, steps: Steps[T], token: CancelToken, priority: int) -> None:
        self.token = token
        self.priority = priority
        self.turn = 0
        self.started = False
        self.future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._steps = steps
        self._running: Generator[None, None, T] | None = None
        self._context = contextvars.copy_context()  # the log lines of the device thread keep their request id

    def rank(self) -> tuple[bool, int, int]:
        """Order of turns, smallest first: cancelled work leaves first, then by priority, then in a circle."""
        return (not self.token.cancelled, -self.priority, self.turn)

    def advance(self) -> bool:
        """Do one step on this thread and return whether the job has ended."""
        try:
            self._context.run(self._step)
        except StopIteration as end:
            self._settle(end.value, None)
        except BaseException as error:
            drop_locals(error)
            self._settle(None, error)
        else:
            return False
        return True

    def abandon(self) -> None:
        """End a job that never got its first turn."""
        self._settle(None, Cancelled())

    def _step(self) -> None:
        if self._running is None:
            self.token.check()
            self._running = self._steps(self.token)
        if self.token.cancelled:
            self._running.close()
            raise Cancelled
        next(self._running)

    def _settle(self, result: Any, error: BaseException | None) -> None:
        self._running = None
        loop = self.future.get_loop()
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(_resolve, self.future, result, error)


def drop_locals(error: BaseException | None) -> None:
    """Empty the frames of a failed step: they hold tensors, and memory must not wait for whoever reads the error."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__


def _resolve(future: "asyncio.Future[Any]", result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


class DeviceWorker:
    """The one thread of a device. Create it anywhere, `start` it on the event loop, `close` it at the end.

    `busy_s` (seconds spent in work), `jobs_done` and `queue_depth` are for metrics and may be read from any thread.
    """

    def __init__(self, name: str, on_start: Callable[[], None] | None = None) -> None:
        self.busy_s = 0.0
        self.jobs_done = 0
        self._on_start = on_start
        self._changed = threading.Condition()
        self._ready: list[_Job[Any]] = []
        self._current: _Job[Any] | None = None
        self._turns = 0
        self._closing = False
        self._left = asyncio.Event()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    @property
    def queue_depth(self) -> int:
        """Jobs that wait for their next turn."""
        return len(self._ready)

    async def start(self) -> None:
        """Start the thread and run `on_start` on it; whatever that raises is raised here."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()
        if (on_start := self._on_start) is not None:
            await self.run(lambda _: on_start())

    async def close(self, *, drain: bool = True) -> None:
        """Take no more work, finish what there is (cancel it unless `drain`), and end the thread."""
        with self._changed:
            self._closing = True
            jobs = [*self._ready, *([self._current] if self._current else [])]
            self._changed.notify()
        if not drain:
            for job in jobs:
                job.token.cancel()
        if self._thread.is_alive():
            await self._left.wait()
            self._thread.join()

    async def run(self, fn: Callable[[CancelToken], T], token: CancelToken | None = None, *, priority: int = 0) -> T:
        """Run `fn` on the device thread as a single step. See `submit`."""

        def steps(token: CancelToken) -> Generator[None, None, T]:
            yield from ()
            return fn(token)

        return await self.submit(steps, token, priority=priority)

    async def submit(self, steps: Steps[T], token: CancelToken | None = None, *, priority: int = 0) -> T:
        """Run `steps(token)` on the device thread, one `next()` a turn, and return what the generator returns.

        A higher `priority` goes first. If the awaiter is cancelled, so is the token, and this returns only when the
        thread has left the job: the generator is closed on the device thread, its `finally` blocks run there.

        Raises `Cancelled` if the token was cancelled, `Draining` after `close`, and whatever the steps raise.
        """
        job = _Job(steps, token or CancelToken(), priority)
        self._enqueue(job)
        forget = job.token.on_cancel(lambda: self._withdraw(job))
        try:
            return await _until_left(job)
        finally:
            forget()

    def _enqueue(self, job: _Job[Any]) -> None:
        with self._changed:
            if self._closing:
                raise Draining("the device worker is closed", retry_after_s=RETRY_AFTER_CLOSE_S)
            self._take_a_turn(job)

    def _take_a_turn(self, job: _Job[Any]) -> None:
        self._turns += 1
        job.turn = self._turns
        self._ready.append(job)
        self._changed.notify()

    def _withdraw(self, job: _Job[Any]) -> None:
        """Let a cancelled job that has not begun leave at once, however busy the thread is."""
        with self._changed:
            if job.started or job not in self._ready:
                return
            self._ready.remove(job)
        job.abandon()

    def _next(self) -> _Job[Any] | None:
        """Wait for the job whose turn it is; None when closing and nothing is left."""
        with self._changed:
            while not self._ready:
                if self._closing:
                    return None
                self._changed.wait()
            job = min(self._ready, key=_Job.rank)
            self._ready.remove(job)
            job.started = True
            self._current = job
            return job

    def _work(self) -> None:
        while (job := self._next()) is not None:
            begin = time.perf_counter()
            ended = job.advance()
            self.busy_s += time.perf_counter() - begin
            with self._changed:
                self._current = None
                if not ended:
                    self._take_a_turn(job)
            self.jobs_done += ended
            del job  # an idle thread must not keep the last result's memory
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            self._loop.call_soon_threadsafe(self._left.set)


async def _until_left(job: _Job[T]) -> T:
    try:
        return await asyncio.shield(job.future)
    except asyncio.CancelledError:
        job.token.cancel()
        await outlast(job.future)
        raise


async def outlast(future: "asyncio.Future[Any]") -> None:
    """Wait until `future` is done, even if cancelled meanwhile, and take no notice of how it ends."""
    while not future.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([future])
    if not future.cancelled():
        future.exception()  # seen, so that asyncio does not warn of an exception never retrieved
