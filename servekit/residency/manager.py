"""The asyncio side of residency: waits for leases, carries out what the ledger decides, and tells who watches."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing, asynccontextmanager
from difflib import get_close_matches
from typing import Generic, TypeVar

from servekit.clock import Clock, SystemClock
from servekit.errors import Draining
from servekit.events import EventStream
from servekit.residency.actions import Action, Request, RequestState
from servekit.residency.events import ResidencyEvent
from servekit.residency.ledger import Ledger
from servekit.residency.loader import HostTier, Loader, OnProgress
from servekit.residency.models import ModelBusy, ModelSpec, ModelState, ModelStatus, ResidencyStatus, UnknownModel
from servekit.residency.mover import Mover

T = TypeVar("T")

RETRY_AFTER_CLOSE_S = 5.0
SWEEPS_PER_TIMEOUT = 4


class Lease(Generic[T]):
    """The right to use a model inside `Residency.acquire`; while it lasts the model stays on the device."""

    def __init__(self, model_id: str, value: T, waited_s: float) -> None:
        self.model_id = model_id
        self.waited_s = waited_s
        """Seconds from the request to the lease: loading, and waiting for room. About 0 if the model was there."""
        self._value: T | None = value

    @property
    def value(self) -> T:
        """The model. Raises RuntimeError once the lease has ended."""
        if self._value is None:
            raise RuntimeError(f"the lease on {self.model_id!r} has ended")
        return self._value

    def end(self) -> None:
        """Let go of the model, so that its memory can be freed although the lease object lives on."""
        self._value = None


class Residency(Generic[T]):
    """Models of one device within a budget of bytes. Use on one event loop.

    `on_event` is called with every load, eviction and failure, for metrics. With `host` and `host_budget_bytes` the
    weights of evicted models stay in host memory. Models unused for `idle_timeout_s` leave the device.
    """

    def __init__(
        self,
        specs: Iterable[ModelSpec],
        loader: Loader[T],
        *,
        budget_bytes: int,
        host: HostTier[T] | None = None,
        host_budget_bytes: int = 0,
        idle_timeout_s: float | None = None,
        max_bypass: int = 8,
        clock: Clock | None = None,
        on_event: Callable[[ResidencyEvent], None] = lambda _: None,
    ) -> None:
        self._ledger = Ledger(
            specs,
            budget_bytes=budget_bytes,
            host_budget_bytes=host_budget_bytes if host is not None else 0,
            max_bypass=max_bypass,
        )
        self._clock = clock or SystemClock()
        self._mover = Mover(
            self._ledger, loader, host, clock=self._clock, on_event=on_event, on_progress=self._progressed
        )
        self._idle_timeout_s = idle_timeout_s
        self._waiters: dict[Request, asyncio.Future[None]] = {}
        self._listeners: dict[Request, OnProgress] = {}
        self._watchers: set[EventStream[ResidencyStatus]] = set()
        self._action: asyncio.Task[None] | None = None
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to evict idle models, if there is an idle timeout."""
        if self._idle_timeout_s is not None:
            self._sweeper = asyncio.create_task(self._sweep_for_ever(self._idle_timeout_s))

    async def close(self) -> None:
        """Fail all that wait, stop a load under way, unload everything as leases end, and return when all is gone."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.wait([self._sweeper])
        self._ledger.close(Draining("the server is shutting down", retry_after_s=RETRY_AFTER_CLOSE_S))
        self._advance()
        await self._until(lambda: all(each.state is ModelState.ABSENT for each in self._ledger.entries))
        for watcher in list(self._watchers):
            watcher.finish()

    @asynccontextmanager
    async def acquire(self, model_id: str, *, on_progress: OnProgress | None = None) -> AsyncGenerator[Lease[T], None]:
        """Wait until a model is on the device and hold it there for the block.

        `on_progress(fraction)` is called on the event loop while the model is being loaded. Never acquire a model while
        holding another: two requests could wait for each other's. Cancelling a waiter stops a load that nobody else
        waits for.

        Raises `UnknownModel`, `DeviceOutOfMemory` (at once if it can never fit), `Draining`, or whatever the loader
        raised.
        """
        self._check_known(model_id)
        asked = self._clock.monotonic()
        request = self._ledger.request(model_id)
        try:
            await self._granted(request, on_progress)
            lease = Lease(model_id, self._mover.values[model_id], self._clock.monotonic() - asked)
            try:
                yield lease
            finally:
                lease.end()
        finally:
            self._leave(request)

    async def load(self, model_id: str, *, pin: bool = False, on_progress: OnProgress | None = None) -> None:
        """Bring a model to the device and leave it there, pinned if `pin`. Raises as `acquire`."""
        async with self.acquire(model_id, on_progress=on_progress):
            if pin:
                self.pin(model_id)

    async def unload(self, model_id: str) -> None:
        """Take a model off device and host; return when its bytes are free.

        Raises `UnknownModel`, and `ModelBusy`, also if it was pinned before it was gone.
        """
        self._check_known(model_id)
        self._ledger.unload(model_id)
        self._advance()
        entry = self._ledger.entry(model_id)
        await self._until(lambda: entry.doom is None)
        if entry.pinned and entry.state is not ModelState.ABSENT:
            raise ModelBusy(f"model {model_id!r} was pinned before it was unloaded")

    def pin(self, model_id: str) -> None:
        """Never evict this model once it is on the device. Does not load it. Raises `UnknownModel`."""
        self._set_pin(model_id, True)

    def unpin(self, model_id: str) -> None:
        """Let this model be evicted again. Raises `UnknownModel`."""
        self._set_pin(model_id, False)

    async def evict_idle(self) -> None:
        """Evict all that nobody uses, for work that ran out of memory; return when the bytes are free.

        May be called while holding a lease: a leased model that has to leave, too, is not waited for.
        """
        self._ledger.evict_idle()
        self._advance()
        await self._until(lambda: all(each.doom is None or each.leases for each in self._ledger.entries))

    def resized(self, model_id: str, bytes_on_device: int) -> None:
        """Tell what a model on the device weighs now; others leave if it became too heavy. Raises `UnknownModel`."""
        self._check_known(model_id)
        self._ledger.resized(model_id, bytes_on_device)
        self._advance()

    def sweep(self, idle_s: float) -> None:
        """Evict what nobody has used for `idle_s` seconds."""
        self._ledger.expire(self._clock.monotonic(), idle_s)
        self._advance()

    def load_seconds(self, model_id: str) -> float:
        """Estimate the seconds to bring a model to the device, waiting for room not included; 0 if it is there."""
        self._check_known(model_id)
        return self._ledger.entry(model_id).next_load_s

    def status(self) -> ResidencyStatus:
        """Return a snapshot of every model and the memory."""
        return self._ledger.status(self._clock.monotonic(), self._mover.fraction)

    def model_status(self, model_id: str) -> ModelStatus:
        """Return a snapshot of one model. Raises `UnknownModel`."""
        self._check_known(model_id)
        return self.status().model(model_id)

    async def watch(self) -> AsyncGenerator[ResidencyStatus, None]:
        """Yield a snapshot at once and after every change, the latest only if the reader is slow. Ends on `close`."""
        stream: EventStream[ResidencyStatus] = EventStream(droppable=1)
        self._watchers.add(stream)
        try:
            async with stream:
                stream.put(self.status(), droppable=True)
                async for status in stream:
                    yield status
        finally:
            self._watchers.discard(stream)

    def _check_known(self, model_id: str) -> None:
        ids = self._ledger.model_ids
        if model_id not in ids:
            raise UnknownModel("model", model_id, get_close_matches(model_id, ids, cutoff=0.5))

    def _set_pin(self, model_id: str, pinned: bool) -> None:
        self._check_known(model_id)
        self._ledger.pin(model_id, pinned)
        self._advance()

    async def _granted(self, request: Request, on_progress: OnProgress | None) -> None:
        future = self._waiters[request] = asyncio.get_running_loop().create_future()
        if on_progress is not None:
            self._listeners[request] = on_progress
            if self._ledger.entry(request.model_id).state is ModelState.LOADING and self._mover.fraction > 0:
                on_progress(self._mover.fraction)
        self._advance()
        await future
        if request.error is not None:
            raise request.error

    def _leave(self, request: Request) -> None:
        self._waiters.pop(request, None)
        self._listeners.pop(request, None)
        if request.state is RequestState.WAITING:
            self._ledger.withdraw(request)
        elif request.state is RequestState.GRANTED:
            self._ledger.release(request, self._clock.monotonic())
        self._advance()

    def _advance(self) -> None:
        """Let the ledger decide, and begin what it decides. To be called after every change."""
        advance = self._ledger.advance(self._clock.monotonic())
        for request in advance.settled:
            waiter = self._waiters.pop(request, None)
            if waiter is not None and not waiter.done():
                waiter.set_result(None)
        if advance.action is not None:
            self._action = asyncio.create_task(self._perform(advance.action))
        if self._ledger.orphaned_load is not None:
            self._mover.stop_load()
        self._tell()

    async def _perform(self, action: Action) -> None:
        try:
            await self._mover.perform(action)
        finally:
            self._advance()

    def _progressed(self, model_id: str, fraction: float) -> None:
        for request, listener in self._listeners.items():
            if request.model_id == model_id and request.state is RequestState.WAITING:
                asyncio.get_running_loop().call_soon(listener, fraction)  # a listener that raises harms only itself
        self._tell()

    def _tell(self) -> None:
        if self._watchers:
            status = self.status()
            for watcher in self._watchers:
                watcher.put(status, droppable=True)

    async def _until(self, reached: Callable[[], bool]) -> None:
        async with aclosing(self.watch()) as changes:
            async for _ in changes:
                if reached():
                    return

    async def _sweep_for_ever(self, idle_s: float) -> None:
        while True:
            await self._clock.sleep(idle_s / SWEEPS_PER_TIMEOUT)
            self.sweep(idle_s)
