"""The asyncio side of admission: waiting, telling the waiters, refusing."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from servekit.admission.queue import AdmissionQueue, Waiter
from servekit.clock import Clock, SystemClock
from servekit.errors import DeadlineTooShort, Overloaded

OnQueued = Callable[[int, float], None]
"""Called with the number of requests ahead (0 means next) and the estimated seconds until work starts."""

RETRY_UNMEASURED_S = 1.0
"""Retry hint while nothing has been measured yet."""


class Ticket:
    """The right to work, held inside `Admission.admit`."""

    def __init__(self, queue: AdmissionQueue, waiter: Waiter, clock: Clock, queued_s: float) -> None:
        self.queued_s = queued_s
        """Seconds spent in the queue."""
        self._queue = queue
        self._waiter = waiter
        self._clock = clock

    def begin(self) -> None:
        """Say that setup (loading a model) is over, so that it does not count as pace of work."""
        self._queue.begin(self._waiter, self._clock.monotonic())


class Admission:
    """A bounded queue with priorities before `capacity` concurrent requests; see `AdmissionQueue` for the order.

    `running`, `queued` and `eta_s()` are for metrics and status.
    """

    def __init__(
        self,
        *,
        capacity: int,
        queue_limit: int,
        max_bypass: int = 8,
        max_passed_over: int = 32,
        clock: Clock | None = None,
    ) -> None:
        self._queue = AdmissionQueue(
            capacity=capacity, limit=queue_limit, max_bypass=max_bypass, max_passed_over=max_passed_over
        )
        self._clock = clock or SystemClock()
        self._news: dict[Waiter, asyncio.Event] = {}

    @property
    def running(self) -> int:
        """Requests that are being worked on."""
        return len(self._queue.running)

    @property
    def queued(self) -> int:
        """Requests that wait."""
        return len(self._queue.waiting)

    @property
    def queue_limit(self) -> int:
        """Requests that may wait."""
        return self._queue.limit

    def eta_s(self) -> float:
        """Estimate the seconds until a request that arrives now would start; 0 when it would start at once."""
        return self._queue.newcomer_wait_s(self._clock.monotonic())

    def service_s(self, key: str, work: float, parts: int = 1) -> float | None:
        """Estimate the seconds from start to end of a request that arrives now; None before the first measurement."""
        return self._queue.newcomer_service_s(key, work, parts)

    @asynccontextmanager
    async def admit(
        self,
        key: str,
        *,
        priority: int = 0,
        work: float = 1.0,
        parts: int = 1,
        setup_s: float = 0.0,
        deadline: float | None = None,
        on_queued: OnQueued | None = None,
    ) -> AsyncGenerator[Ticket, None]:
        """Wait for a place, hold it for the block, and give it back however the block ends.

        `key` groups requests that share what is costly to swap (the model). A higher `priority` goes first. `work` is
        that of one of `parts` which run side by side, in units proportional to time, `setup_s` in seconds on top; they
        only serve the estimates. `deadline` is in
        seconds of the clock (`time.monotonic` by default). `on_queued(position, eta_s)` is called on every change of
        position while waiting.

        Raises `Overloaded` at once if the queue is full, and `DeadlineTooShort` at once, or as soon as it is clear
        while waiting, if the estimate does not fit the deadline. Cancelling a waiter leaves no trace.
        """
        waiter = self._join(key, priority, work, parts, setup_s)
        arrived = self._clock.monotonic()
        completed = False
        try:
            self._advance()
            await self._until_admitted(waiter, deadline, on_queued)
            yield Ticket(self._queue, waiter, self._clock, self._clock.monotonic() - arrived)
            completed = True
        finally:
            del self._news[waiter]
            self._queue.leave(waiter, self._clock.monotonic(), completed=completed)
            self._advance()

    def _join(self, key: str, priority: int, work: float, parts: int, setup_s: float) -> Waiter:
        if self._queue.full:
            retry_after_s = self.eta_s() / max(1, self.queued) or RETRY_UNMEASURED_S
            raise Overloaded(f"{self.queued} requests are waiting, the limit", retry_after_s=retry_after_s)
        waiter = self._queue.join(key, priority=priority, work=work, parts=parts, setup_s=setup_s)
        self._news[waiter] = asyncio.Event()
        return waiter

    def _advance(self) -> None:
        """Let in who may, and tell them and who still waits."""
        for waiter in [*self._queue.admit(self._clock.monotonic()), *self._queue.waiting]:
            self._news[waiter].set()

    async def _until_admitted(self, waiter: Waiter, deadline: float | None, on_queued: OnQueued | None) -> None:
        news, told = self._news[waiter], -1
        while True:
            self._refuse_if_late(waiter, deadline)
            if waiter.started is not None:
                return
            position = self._queue.position(waiter)
            if position != told and on_queued is not None:
                on_queued(position, self._queue.wait_s(waiter, self._clock.monotonic()))
            told = position
            news.clear()
            await news.wait()

    def _refuse_if_late(self, waiter: Waiter, deadline: float | None) -> None:
        if deadline is None:
            return
        now = self._clock.monotonic()
        wait_s = 0.0 if waiter.started is not None else self._queue.wait_s(waiter, now)
        estimate_s = wait_s + self._queue.service_s(waiter)
        if estimate_s > deadline - now:
            self._queue.pace.doubt(waiter.key)
            raise DeadlineTooShort(estimate_s=estimate_s, remaining_s=deadline - now)
