"""Continuous batching: pictures of one engine share forward passes, joining and leaving between steps.

Nobody waits for another's whole picture, and a lone picture never waits for company. What runs here runs on the device
thread, one step a turn, so that loads and other models get theirs in between.
"""

import asyncio
import logging
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from itertools import count

from servekit.errors import Cancelled, DeadlineExceeded, DeviceOutOfMemory
from servekit.worker import CancelToken, DeviceWorker, drop_locals, outlast
from services.imagegen.domain import Decoded, Job, Pixels, Priority, Stage
from services.imagegen.ports import Engine, State
from services.imagegen.schedule import Schedule
from services.imagegen.turns import Entry, Made, OnStep

logger = logging.getLogger(__name__)

OnBatch = Callable[[int, float], None]
"""Called on the device thread with the width of a batch and the seconds its step took."""


class Batcher:
    """Makes pictures with one engine. Use `make` on the event loop.

    `clock` gives monotonic seconds; `guard` wraps the engine's work, to turn a framework's errors into ours;
    `synchronize` returns once the device has done what it was asked for, if it is one that does so by itself.
    """

    def __init__(
        self,
        engine: Engine,
        worker: DeviceWorker,
        *,
        clock: Callable[[], float] = time.monotonic,
        guard: Callable[[], AbstractContextManager[None]] = nullcontext,
        synchronize: Callable[[], None] = lambda: None,
        on_batch: OnBatch = lambda _width, _seconds: None,
    ) -> None:
        self.engine = engine
        self._worker = worker
        self._clock = clock
        self._guard = guard
        self._synchronize = synchronize
        self._on_batch = on_batch
        self._schedule = Schedule(engine.max_batch)
        self._inbox: deque[Entry] = deque()
        self._active: list[Entry] = []
        self._driver: asyncio.Task[None] | None = None
        self._arrivals = count()
        self._steps = 0

    async def make(
        self,
        job: Job,
        *,
        priority: Priority = Priority.NORMAL,
        deadline: float | None = None,
        token: CancelToken | None = None,
        on_step: OnStep = lambda _done, _total, _preview: None,
    ) -> Made:
        """Make a picture. Cancelling returns once the device thread has left the job.

        Cancelling `token`, from whatever thread, keeps the next step from beginning; it need not wait for the event
        loop to come round to cancelling this.

        Raises `DeadlineExceeded` between steps once `deadline` (seconds of the clock) has passed, and whatever the
        engine raises.
        """
        future = asyncio.get_running_loop().create_future()
        entry = Entry(job, priority, deadline, on_step, next(self._arrivals), future)
        forget = (token or CancelToken()).on_cancel(entry.token.cancel)
        self._inbox.append(entry)
        if self._driver is None or self._driver.done():
            self._driver = asyncio.create_task(self._drive())
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            entry.token.cancel()
            await outlast(future)
            raise
        finally:
            forget()

    async def weigh(self) -> int:
        """Return the bytes that the weights take now, adapters included."""
        return await self._worker.run(lambda _: self.engine.resident_bytes)

    async def decode_fp32(self, made: Made) -> Made:
        """Decode the latents of a picture once more, in 32-bit floating point. Raises whatever the engine raises."""
        began = self._clock()
        decoded = await self._worker.run(lambda _: self._finish_fp32(made.state))
        ended = self._clock()
        return Made(decoded, made.state, (Stage("decode", began, ended, ended - began),))

    def _finish_fp32(self, state: State) -> Decoded:
        with self._guard():
            return self.engine.finish(state, fp32=True)

    async def _drive(self) -> None:
        while self._inbox:
            try:
                await self._worker.submit(self._rounds)
            except BaseException as error:
                self._fail_all(error if isinstance(error, Exception) else Cancelled())
                if not isinstance(error, Exception):
                    raise

    def _rounds(self, token: CancelToken) -> Generator[None, None, None]:
        """Work until nobody is left. Each `yield` ends a turn on the device thread."""
        while True:
            self._join_and_leave()
            if not self._active:
                return
            batch = self._schedule.batch(self._active)
            if fresh := self._schedule.beginning(self._active, batch, self._clock()):
                self._together(fresh, self._prepare)
            elif batch:
                self._advance(batch)
            for drawn in self._schedule.ending(self._active, self._clock()):
                self._together(drawn, self._finish)
            yield

    def _advance(self, batch: Sequence[Entry]) -> None:
        """Take a step together, then see to each picture by itself, so that none fails for another."""
        self._guarded(batch, partial(self._step, batch))
        for entry in batch:
            self._guarded([entry], partial(self._after_step, entry))

    def _together(self, entries: Sequence[Entry], work: Callable[[Sequence[Entry]], None]) -> None:
        """Do at once what could be done for each by itself, as it is if that fails, so that none fails for another."""
        if len(entries) > 1:
            try:
                with self._guard(), self._watched(entries):
                    work(entries)
                return
            except Exception as error:
                drop_locals(error)
                if not all(map(self._unwanted, entries)):
                    logger.warning("%d pictures at once: %s; now one by one", len(entries), type(error).__name__)
        for entry in entries:
            self._guarded([entry], partial(self._alone, entry, work))

    def _alone(self, entry: Entry, work: Callable[[Sequence[Entry]], None]) -> None:
        self._check(entry)
        work([entry])

    def _join_and_leave(self) -> None:
        while self._inbox:
            entry = self._inbox.popleft()
            entry.since, entry.ready = self._steps, self._clock()
            self._active.append(entry)
        for entry in list(self._active):
            if why := self._unwanted(entry):
                self._fail(entry, why)

    def _unwanted(self, entry: Entry) -> Cancelled | DeadlineExceeded | None:
        """Return why nobody wants a picture any more, None if somebody does."""
        if entry.token.cancelled:
            return Cancelled()
        if entry.deadline is not None and self._clock() > entry.deadline:
            return DeadlineExceeded(f"the deadline passed after {entry.reported} of {entry.job.taken} steps")
        return None

    def _check(self, *entries: Entry) -> None:
        """Raise `Cancelled` or `DeadlineExceeded` if nobody wants any of these."""
        reasons = [self._unwanted(entry) for entry in entries]
        if reasons[0] is not None and all(reasons):
            raise reasons[0]

    def _guarded(self, entries: Sequence[Entry], work: Callable[[], None]) -> None:
        """Do `work`; what it raises ends these entries and no others."""
        try:
            with self._guard(), self._watched(entries):
                work()
        except Exception as error:
            if isinstance(error, DeviceOutOfMemory) and len(entries) > 1:
                self._schedule.does_not_fit(entries)
                return  # nothing was advanced: the next round tries a narrower batch
            traceback.clear_frames(error.__traceback__)
            given_up = isinstance(error, Cancelled | DeadlineExceeded)
            for entry in entries:
                self._fail(entry, (self._unwanted(entry) or error) if given_up else error)

    def _watched(self, entries: Sequence[Entry]) -> AbstractContextManager[None]:
        """Leave work in its middle when none of the pictures that it is for is wanted any more."""
        return self.engine.watching(partial(self._check, *entries))

    def _prepare(self, entries: Sequence[Entry]) -> None:
        self._synchronize()  # what is left of the steps is none of this
        began, jobs = self._clock(), [entry.job for entry in entries]
        states = self.engine.prepare_all(jobs) if len(jobs) > 1 else [self.engine.prepare(jobs[0])]
        ended = self._clock()
        self._schedule.prepared(entries, ended - began)
        for entry, state in zip(entries, states, strict=True):
            entry.state = state
            entry.spent("encode_text", began, ended)

    def _step(self, batch: Sequence[Entry]) -> None:
        by_state = {id(entry.state): entry for entry in batch}

        def pulse(state: State) -> None:
            entry = by_state[id(state)]
            self._report(entry, state)
            self._check(entry)

        key, rows = batch[0].key(), sum(each.rows for each in batch)  # after the step they may be others
        began = self._clock()
        self.engine.step([entry.state for entry in batch if entry.state is not None], pulse)
        ended = self._clock()
        self._schedule.stepped(key, rows, ended - began)
        self._on_batch(len(batch), ended - began)
        self._steps += 1
        for entry in self._active:
            entry.waited += 1
        for entry in batch:
            entry.waited = 0
            entry.spent("denoise", began, ended)

    def _after_step(self, entry: Entry) -> None:
        state = entry.state
        if state is None:  # the step has failed
            return
        self._report(entry, state)
        self._coast(entry, state)
        if entry.drawn:
            entry.ready = self._clock()
            self._check(entry)

    def _coast(self, entry: Entry, state: State) -> None:
        """Take the steps that need no forward pass, in the same turn: nobody waits for them, nor do they for others."""
        while state.forecasts:
            self._check(entry)
            began = self._clock()
            self.engine.step([state], lambda _: None)
            entry.spent("denoise", began, self._clock())
            self._report(entry, state)

    def _report(self, entry: Entry, state: State) -> None:
        if state.done == entry.reported:
            return
        entry.reported = state.done
        every = entry.job.preview_every
        wanted = every > 0 and state.done % every == 0 and state.done < state.total
        entry.on_step(state.done, state.total, self._preview(state) if wanted else None)

    def _preview(self, state: State) -> Pixels | None:
        """Return a preview, None where there is no memory for one: the picture itself may still fit."""
        with suppress(DeviceOutOfMemory), self._guard():
            return self.engine.preview(state)
        return None

    def _finish(self, entries: Sequence[Entry]) -> None:
        self._synchronize()  # what is left of the steps is none of this
        began, states = self._clock(), [entry.state for entry in entries if entry.state is not None]
        pictures = self.engine.finish_all(states) if len(states) > 1 else [self.engine.finish(states[0])]
        ended = self._clock()
        self._schedule.finished(entries, ended - began)
        for entry, state, decoded in zip(entries, states, pictures, strict=True):
            entry.spent("decode", began, ended)
            self._active.remove(entry)
            self._settle(entry, Made(decoded, state, tuple(entry.stages.values())), None)

    def _fail(self, entry: Entry, error: Exception) -> None:
        if entry in self._active:
            self._active.remove(entry)
        entry.state = None
        self._settle(entry, None, error)

    def _fail_all(self, error: Exception) -> None:
        entries = [*self._active, *self._inbox]
        self._inbox.clear()
        for entry in entries:
            self._fail(entry, error)

    @staticmethod
    def _settle(entry: Entry, made: Made | None, error: Exception | None) -> None:
        def resolve() -> None:
            if entry.future.done():
                return
            if made is not None:
                entry.future.set_result(made)
            else:
                entry.future.set_exception(error or Cancelled())

        with suppress(RuntimeError):  # the loop is closed: nobody waits
            entry.future.get_loop().call_soon_threadsafe(resolve)
