"""Asks torch once for all that a plan depends on."""

import time
from dataclasses import dataclass
from typing import Any

from servekit.device.host import usable_cores, usable_memory
from servekit.device.probe import ProbeReport, probe_gpus

BF16_FEATURES = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")
"""CPU features, as torch names them, that multiply bfloat16 natively."""

MATMUL_SIZE = 384
MATMUL_ROUNDS = 15


@dataclass(frozen=True, slots=True)
class Facts:
    """The build and the machine. `bf16_speedup` is fp32 time over bf16 time of a matmul on the CPU, 0 if not native."""

    arch_list: tuple[str, ...]
    is_rocm: bool
    probe: ProbeReport
    cpu_name: str
    cores: int
    memory_bytes: int
    bf16_speedup: float


def gather(*, gpu: bool, probe_timeout_s: float) -> Facts:
    """Ask torch and the machine; GPUs are probed only if `gpu` and the build and the driver know of any."""
    import torch

    wanted = gpu and torch.cuda.is_available()
    features: dict[str, Any] = dict(torch.cpu.get_capabilities())
    cores = usable_cores()
    return Facts(
        arch_list=tuple(torch.cuda.get_arch_list()),
        is_rocm=torch.version.hip is not None,
        probe=probe_gpus(probe_timeout_s) if wanted else ProbeReport(()),
        cpu_name=str(features.get("cpu_name") or features.get("architecture") or "CPU"),
        cores=cores,
        memory_bytes=usable_memory(),
        bf16_speedup=measure_bf16_speedup(torch) if any(features.get(each) for each in BF16_FEATURES) else 0.0,
    )


def measure_bf16_speedup(torch: Any) -> float:
    """Return the best fp32 time over the best bf16 time of a square matmul, rounds interleaved, some milliseconds.

    On one thread: a busy machine makes threads wait for each other, which says nothing about the data type.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        operands = {kind: torch.ones(MATMUL_SIZE, MATMUL_SIZE, dtype=kind) for kind in (torch.float32, torch.bfloat16)}
        best = dict.fromkeys(operands, float("inf"))
        for _ in range(MATMUL_ROUNDS):
            for kind, operand in operands.items():
                best[kind] = min(best[kind], _seconds_of_matmul(operand))
        return best[torch.float32] / best[torch.bfloat16]
    finally:
        torch.set_num_threads(before)


def _seconds_of_matmul(operand: Any) -> float:
    begin = time.perf_counter()
    operand @ operand
    return time.perf_counter() - begin
