"""Applying a plan to torch, and what engines need to know of the device's memory."""

import re
from collections.abc import Generator
from contextlib import contextmanager, suppress

from servekit import garbage
from servekit.device.host import free_memory
from servekit.device.plan import DevicePlan
from servekit.errors import DeviceOutOfMemory

_ASKED = re.compile(r"tried to allocate (?P<amount>[\d.]+) ?(?P<unit>bytes|KiB|MiB|GiB)", re.IGNORECASE)
_UNITS = {"bytes": 1, "kib": 2**10, "mib": 2**20, "gib": 2**30}


def activate(plan: DevicePlan) -> None:
    """Apply the plan to the thread it is called on: `DeviceWorker(..., on_start=partial(activate, plan))`.

    Sets CPU threads; on a GPU also the current device, TF32 matmuls, and a cap on this process's share of the memory,
    so that services can share one card.
    """
    import torch

    torch.set_num_threads(plan.threads)
    if plan.kind == "cuda":
        torch.cuda.set_device(plan.device)
        torch.set_float32_matmul_precision("high")
        torch.cuda.set_per_process_memory_fraction(plan.budget_bytes / plan.total_bytes, plan.device)


def free_bytes(plan: DevicePlan) -> int:
    """Return the bytes the device has free now (on a CPU: what this process may still use)."""
    if plan.kind == "cpu":
        return free_memory()
    import torch

    return int(torch.cuda.mem_get_info(plan.device)[0])


def exercise(plan: DevicePlan) -> None:
    """Add on the device and wait for the sum; on the device thread. Raises whatever a device that is lost raises.

    A device without room for it is no lost device.
    """
    import torch

    with suppress(DeviceOutOfMemory), out_of_memory_as(plan):
        total = (torch.ones(16, device=plan.device) + 1).sum().item()
        if total != 32:
            raise RuntimeError(f"1 + 1 gave {total / 16} on {plan.device}")


def require_bytes(plan: DevicePlan, wanted_bytes: int) -> None:
    """Raise `DeviceOutOfMemory` if a CPU's memory has no room for so much more.

    There, memory is handed out beyond what there is, and who uses it is killed; a GPU refuses by itself.
    """
    if plan.kind == "cpu" and wanted_bytes > (free := free_bytes(plan)):
        raise DeviceOutOfMemory(wanted_bytes=wanted_bytes, free_bytes=free)


def synchronize(device: str) -> None:
    """Return once a GPU has done what it was asked for; a CPU has already."""
    if device != "cpu":
        import torch

        torch.cuda.synchronize(device)


def release_unused(plan: DevicePlan) -> None:
    """Give what no tensor holds back to the device. Call it on the device thread after dropping a model."""
    garbage.collect()
    if plan.kind == "cuda":
        import torch

        synchronize(plan.device)
        torch.cuda.empty_cache()


@contextmanager
def out_of_memory_as(plan: DevicePlan, wanted_bytes: int = 0) -> Generator[None, None, None]:
    """Turn every way in which torch runs out of memory into `DeviceOutOfMemory`.

    `wanted_bytes` is what the whole operation needs; if 0, what the failed allocation asked for, where torch says it.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        asked = wanted_bytes or _asked_bytes(str(error))
        raise DeviceOutOfMemory(wanted_bytes=asked, free_bytes=free_bytes(plan)) from None


def is_out_of_memory(error: BaseException) -> bool:
    """True for torch.OutOfMemoryError, MemoryError, and the CPU allocator, which has no type of its own."""
    import torch

    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def _asked_bytes(message: str) -> int:
    match = _ASKED.search(message)
    return int(float(match["amount"]) * _UNITS[match["unit"].lower()]) if match else 0
