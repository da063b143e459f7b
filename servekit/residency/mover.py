"""Carries out the ledger's actions, one at a time, and reports how each ended."""

import asyncio
import logging
from collections.abc import Callable
from typing import Generic, TypeVar

from servekit.clock import Clock
from servekit.errors import Cancelled, DeviceOutOfMemory
from servekit.residency.actions import Action, Drop, Evict, Load
from servekit.residency.events import LoadFailed, ModelEvicted, ModelLoaded, OutOfMemory, ResidencyEvent
from servekit.residency.ledger import Ledger
from servekit.residency.loader import HostTier, Loaded, Loader
from servekit.residency.models import ModelState
from servekit.worker import CancelToken, drop_locals

T = TypeVar("T")

log = logging.getLogger(__name__)


class Mover(Generic[T]):
    """Owns the models themselves: `values` of what is on the device or parked in host memory."""

    def __init__(
        self,
        ledger: Ledger,
        loader: Loader[T],
        host: HostTier[T] | None,
        *,
        clock: Clock,
        on_event: Callable[[ResidencyEvent], None],
        on_progress: Callable[[str, float], None],
    ) -> None:
        self.values: dict[str, T] = {}
        self.fraction = 0.0
        """How far the load under way is; 0 without one."""
        self._ledger = ledger
        self._loader = loader
        self._host = host
        self._clock = clock
        self._on_event = on_event
        self._on_progress = on_progress
        self._token = CancelToken()
        self._loading = ""

    def stop_load(self) -> None:
        """Ask the load under way to stop, or the next one if none has begun."""
        self._token.cancel()

    async def perform(self, action: Action) -> None:
        """Do it, whatever happens, and tell the ledger how it ended."""
        match action:
            case Load():
                await self._load(action)
            case Evict():
                await self._evict(action)
            case Drop():
                await self._drop(action)

    async def _load(self, action: Load) -> None:
        model_id, began = action.model_id, self._clock.monotonic()
        self._loading = model_id
        self._progressed(model_id, 0.0)
        try:
            loaded = await self._bring(action)
        except DeviceOutOfMemory as error:
            drop_locals(error)
            self._out_of_memory(model_id, error.wanted_bytes, error.free_bytes)
        except BaseException as error:
            drop_locals(error)
            await self._give_up(action, error, self._clock.monotonic() - began)
            if not isinstance(error, Exception):
                raise
        else:
            self._take(action, loaded, self._clock.monotonic() - began)
        finally:
            self._token, self._loading, self.fraction = CancelToken(), "", 0.0

    async def _bring(self, action: Load) -> Loaded[T]:
        loop, model_id = asyncio.get_running_loop(), action.model_id

        def on_progress(fraction: float) -> None:
            loop.call_soon_threadsafe(self._progressed, model_id, fraction)

        if action.from_host and self._host is not None:
            return await self._host.restore(model_id, self.values[model_id], on_progress, self._token)
        return await self._loader.load(model_id, on_progress, self._token)

    def _progressed(self, model_id: str, fraction: float) -> None:
        if model_id != self._loading:  # from a thread, and too late
            return
        self.fraction = fraction
        self._on_progress(model_id, fraction)

    def _take(self, action: Load, loaded: Loaded[T], seconds: float) -> None:
        model_id = action.model_id
        self.values[model_id] = loaded.value
        self._progressed(model_id, 1.0)
        self._ledger.loaded(
            model_id,
            bytes_on_device=loaded.bytes,
            host_bytes=loaded.host_bytes,
            seconds=seconds,
            now=self._clock.monotonic(),
        )
        self._on_event(ModelLoaded(model_id, seconds, loaded.bytes, action.from_host))

    def _out_of_memory(self, model_id: str, wanted_bytes: int, free_bytes: int) -> None:
        error = DeviceOutOfMemory(wanted_bytes=wanted_bytes, free_bytes=free_bytes)  # without the old one's frames
        will_retry = self._ledger.load_out_of_memory(model_id, error)
        self._on_event(OutOfMemory(model_id, wanted_bytes, free_bytes, will_retry))

    async def _give_up(self, action: Load, error: BaseException, seconds: float) -> None:
        model_id, cancelled = action.model_id, self._token.cancelled
        if cancelled:
            self._ledger.load_cancelled(model_id)
        else:
            log.warning("loading %s failed after %.1f s", model_id, seconds, exc_info=error)
            if action.from_host:
                await self._free_host(model_id, self.values.pop(model_id))
            self._ledger.load_failed(model_id, error if isinstance(error, Exception) else Cancelled())
        self._on_event(LoadFailed(model_id, seconds, error, cancelled))

    async def _evict(self, action: Evict) -> None:
        entry, began = self._ledger.entry(action.model_id), self._clock.monotonic()
        bytes_on_device, age_s = entry.bytes, began - entry.loaded_at
        host_bytes = await self._park(action.model_id) if action.park else 0
        if not host_bytes:
            if entry.host_bytes:
                await self._free_host(action.model_id, self.values[action.model_id])
            await self._unload(action.model_id)
        self._ledger.evicted(action.model_id, action.reason, host_bytes=host_bytes)
        seconds = self._clock.monotonic() - began
        self._on_event(
            ModelEvicted(action.model_id, action.reason, seconds, bytes_on_device, age_s, host_bytes, action.wanted_by)
        )

    async def _park(self, model_id: str) -> int:
        """Return the bytes now kept in host memory, 0 if that failed."""
        if self._host is None:
            return 0
        try:
            return await self._host.park(model_id, self.values[model_id])
        except Exception:
            log.exception("parking %s in host memory failed; it is unloaded instead", model_id)
            return 0

    async def _unload(self, model_id: str) -> None:
        try:
            await self._loader.unload(self.values.pop(model_id))
        except Exception:
            log.exception("unloading %s failed; its bytes are counted as free", model_id)

    async def _drop(self, action: Drop) -> None:
        model_id = action.model_id
        parked_only = self._ledger.entry(model_id).state is not ModelState.READY
        await self._free_host(model_id, self.values.pop(model_id) if parked_only else self.values[model_id])
        self._ledger.dropped(model_id)

    async def _free_host(self, model_id: str, value: T) -> None:
        if self._host is None:
            return
        try:
            await self._host.drop(model_id, value)
        except Exception:
            log.exception("dropping the host copy of %s failed; its bytes are counted as free", model_id)
