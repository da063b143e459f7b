"""What this machine would do: device, kernels, data types, libraries. Works with whatever is installed."""

import importlib.metadata
import importlib.util
import platform
from collections.abc import Iterator
from dataclasses import dataclass

LIBRARIES = ("torch", "diffusers", "transformers", "grpcio", "protobuf", "numpy")
PYTHON = (3, 11)


@dataclass(frozen=True)
class Check:
    """One finding and whether it is as it should be."""

    name: str
    finding: str
    ok: bool = True


def examine() -> Iterator[Check]:
    """Yield the findings one by one, as they are made."""
    version = platform.python_version_tuple()
    supported = (int(version[0]), int(version[1])) >= PYTHON
    yield Check("python", f"{platform.python_version()} ({platform.machine()})", supported)
    for name in LIBRARIES:
        yield Check(name, _version(name))
    if importlib.util.find_spec("torch") is None:
        yield Check("device", "torch is not installed here: only the client, the router and the rules can run")
        return
    try:
        yield from _device()
    except (ImportError, OSError, RuntimeError) as error:  # libraries it cannot load, kernels it was built without
        yield Check("torch works", f"no: {error}", ok=False)


def _device() -> Iterator[Check]:
    from servekit.device import plan_device
    from servekit.device.plan import DeviceUnavailable

    try:
        plan = plan_device()
    except DeviceUnavailable as error:
        yield Check("device", str(error), ok=False)
        return
    yield Check("device", plan.describe())
    yield Check("kernels for", ", ".join(plan.arch_list) or "the CPU only")
    yield bf16_check(plan.device)


def bf16_check(device: str) -> Check:
    """Multiply two matrices in bfloat16 on the device and compare with float32.

    Products of bfloat16 have 8 bits of mantissa; summed in float32, the relative error of a dot product of 64 terms
    stays well under 2 %.
    """
    import torch

    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(64, 64, generator=generator).to(device) for _ in range(2))
    exact = left @ right
    short = (left.bfloat16() @ right.bfloat16()).float()
    error = float((short - exact).norm() / exact.norm())
    return Check("bf16 matmul", f"relative error {error:.4f} against float32", ok=error < 0.02)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
