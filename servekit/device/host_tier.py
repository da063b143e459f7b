"""`residency.HostTier` for models made of torch modules."""

from collections.abc import Callable, Generator, Iterable
from functools import partial
from typing import Any, Generic, TypeVar

from servekit.device.host import usable_memory
from servekit.device.host_copy import HostCopy
from servekit.device.memory import out_of_memory_as, release_unused
from servekit.device.plan import DevicePlan
from servekit.device.tensors import weight_bytes
from servekit.residency import Loaded, OnProgress
from servekit.worker import CancelToken, DeviceWorker

T = TypeVar("T")


def host_budget_bytes(plan: DevicePlan, fraction: float) -> int:
    """Return the bytes of host memory that may hold evicted weights: none where the device is the CPU itself.

    There the host's memory is what an eviction is to free, and the operating system keeps the files in it that were
    read last.
    """
    return int(fraction * usable_memory()) if plan.kind == "cuda" else 0


class ModuleHostTier(Generic[T]):
    """Keeps the weights of models in host memory. `modules_of` gives a model's torch modules.

    All work is done on the device thread. A copy stays while its model is back on the device, until it is dropped.
    """

    def __init__(self, worker: DeviceWorker, plan: DevicePlan, modules_of: Callable[[T], Iterable[Any]]) -> None:
        self._worker = worker
        self._plan = plan
        self._modules_of = modules_of
        self._copies: dict[str, HostCopy] = {}

    async def park(self, model_id: str, value: T) -> int:
        """Take the weights off the device, keep them in host memory and return their bytes there."""
        return await self._worker.run(lambda _: self._park(model_id, value))

    async def restore(self, model_id: str, value: T, on_progress: OnProgress, token: CancelToken) -> Loaded[T]:
        """Bring a parked model back. Raises `DeviceOutOfMemory`, `Cancelled`; it is still parked and whole then."""
        try:
            return await self._worker.submit(partial(self._restore, model_id, value, on_progress), token)
        except BaseException:
            await self._worker.run(lambda _: release_unused(self._plan))
            raise

    async def drop(self, model_id: str, value: T) -> None:
        """Free the copy in host memory, whether or not the model is also on the device."""
        copy = self._copies.pop(model_id, None)
        if copy is not None:
            await self._worker.run(lambda _: copy.free())

    def _park(self, model_id: str, value: T) -> int:
        modules, copy = list(self._modules_of(value)), self._copies.pop(model_id, None)
        if copy is not None and not copy.holds(modules):
            copy.free()
            copy = None
        copy = copy or HostCopy(modules, pinned=self._plan.kind == "cuda")
        copy.park()
        release_unused(self._plan)
        self._copies[model_id] = copy
        return copy.bytes

    def _restore(
        self, model_id: str, value: T, on_progress: OnProgress, _token: CancelToken
    ) -> Generator[None, None, Loaded[T]]:
        copy = self._copies[model_id]
        with out_of_memory_as(self._plan, copy.bytes):
            for share in copy.restore(self._plan.device):
                on_progress(share)
                yield
        return Loaded(value, weight_bytes(self._modules_of(value)), copy.bytes)
