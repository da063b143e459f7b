"""Which device, which dtype, how many threads and bytes, and why. Torch is imported inside functions only."""

from servekit.device.arch import ArchVerdict, serves
from servekit.device.current import CurrentDevice
from servekit.device.gpu import Gpu, GpuFigures
from servekit.device.host_tier import ModuleHostTier, host_budget_bytes
from servekit.device.memory import (
    activate,
    exercise,
    free_bytes,
    is_out_of_memory,
    out_of_memory_as,
    release_unused,
    require_bytes,
    synchronize,
)
from servekit.device.plan import DevicePlan, DeviceUnavailable, plan_device
from servekit.device.tensors import weight_bytes

__all__ = [
    "ArchVerdict",
    "CurrentDevice",
    "DevicePlan",
    "DeviceUnavailable",
    "Gpu",
    "GpuFigures",
    "ModuleHostTier",
    "activate",
    "exercise",
    "free_bytes",
    "host_budget_bytes",
    "is_out_of_memory",
    "out_of_memory_as",
    "plan_device",
    "release_unused",
    "require_bytes",
    "serves",
    "synchronize",
    "weight_bytes",
]
