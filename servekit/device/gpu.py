"""What the driver says of a GPU, through NVML (package `nvidia-ml-py`, extra `gpu`)."""

import logging
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from servekit.device.plan import DevicePlan

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class GpuFigures:
    """One GPU at one moment: bytes over all processes, shares of the last moments busy, degrees Celsius.

    What the driver does not tell is None.
    """

    used_bytes: int | None
    free_bytes: int | None
    utilisation: float | None
    temperature_c: float | None


class Gpu:
    """One GPU as NVML knows it. `nvml` is the module `pynvml`, initialised; may be used from any thread."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml = nvml
        self._handle = handle

    def read(self) -> GpuFigures:
        """Ask the driver. What it cannot tell of this GPU is left out."""
        memory = self._ask("nvmlDeviceGetMemoryInfo")
        rates = self._ask("nvmlDeviceGetUtilizationRates")
        return GpuFigures(
            used_bytes=None if memory is None else int(memory.used),
            free_bytes=None if memory is None else int(memory.free),
            utilisation=None if rates is None else rates.gpu / 100,
            temperature_c=self._ask("nvmlDeviceGetTemperature", self._nvml.NVML_TEMPERATURE_GPU),
        )

    def _ask(self, question: str, *arguments: Any) -> Any:
        with suppress(self._nvml.NVMLError):
            return getattr(self._nvml, question)(self._handle, *arguments)
        return None


def find_gpu(plan: DevicePlan) -> Gpu | None:
    """Return the plan's GPU. None on a CPU; None, and a line in the log, where NVML is missing or knows no such GPU."""
    if plan.kind != "cuda":
        return None
    import torch

    number = torch.device(plan.device).index or 0
    return open_gpu(f"GPU-{torch.cuda.get_device_properties(number).uuid}")


def open_gpu(uuid: str) -> Gpu | None:
    """Return the GPU of this id: numbers mean different GPUs to torch and to NVML. None as `find_gpu`."""
    try:
        nvml = import_module("pynvml")
    except ImportError:
        logger.info("no figures of the GPU: nvidia-ml-py is not installed (extra `gpu`)")
        return None
    try:
        nvml.nvmlInit()
        return Gpu(nvml, nvml.nvmlDeviceGetHandleByUUID(uuid))
    except nvml.NVMLError as error:
        logger.info("no figures of the GPU: %s", error)
        return None
