"""What residency needs of whoever moves weights. A service implements these over its engines and its DeviceWorker."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from servekit.worker import CancelToken

T = TypeVar("T")

OnProgress = Callable[[float], None]
"""Called with the share done, 0 to 1. A loader may call it from any thread."""


@dataclass(frozen=True, slots=True)
class Loaded(Generic[T]):
    """A model on the device."""

    value: T
    bytes: int
    """Measured bytes on the device."""
    host_bytes: int = 0
    """Bytes of a copy that stays in host memory, so that eviction need not copy back; only with a `HostTier`."""


class Loader(Protocol[T]):
    """Brings models to the device and takes them off."""

    async def load(self, model_id: str, on_progress: OnProgress, token: CancelToken) -> Loaded[T]:
        """Load from disk, in steps that leave the device to others in between.

        Raises `Cancelled` soon after `token` is cancelled and `DeviceOutOfMemory` if the device has no room, each time
        with nothing left on the device; anything else fails the requests that wait.
        """
        ...

    async def unload(self, value: T) -> None:
        """Give up the model; return when the device reports its bytes free."""
        ...


class HostTier(Protocol[T]):
    """Keeps the weights of evicted models in host memory, so that coming back is one copy."""

    async def park(self, model_id: str, value: T) -> int:
        """Take the weights off the device, keep them in host memory and return their bytes there."""
        ...

    async def restore(self, model_id: str, value: T, on_progress: OnProgress, token: CancelToken) -> Loaded[T]:
        """Bring a parked model back. Raises as `Loader.load`; the parked copy is still whole then."""
        ...

    async def drop(self, model_id: str, value: T) -> None:
        """Free the copy in host memory, whether or not the model is also on the device."""
        ...
