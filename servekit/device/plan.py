"""The choice of device, made once at start: pure over the gathered facts, each part with its reason."""

from dataclasses import dataclass
from typing import Literal

from servekit.device.arch import serves
from servekit.device.facts import Facts, gather
from servekit.device.probe import GpuProbe

Kind = Literal["cpu", "cuda"]
DType = Literal["bfloat16", "float16", "float32"]
DTYPES: tuple[DType, ...] = ("bfloat16", "float16", "float32")

AMPERE = 8
"""First major capability with native bfloat16."""
VOLTA = 7
"""First major capability with fast float16."""
GIB = 1024**3


class DeviceUnavailable(RuntimeError):
    """The device asked for cannot be used here; the message says why and what can."""


@dataclass(frozen=True, slots=True)
class DevicePlan:
    """The device of this process and why. `device` is as torch names it; sizes in bytes."""

    kind: Kind
    device: str
    name: str
    dtype: DType
    capability: tuple[int, int] | None
    arch_list: tuple[str, ...]
    threads: int
    total_bytes: int
    budget_bytes: int
    reason: str

    def describe(self) -> str:
        """Return everything that matters in one line, for the log."""
        capability = "" if self.capability is None else f", capability {self.capability[0]}.{self.capability[1]}"
        return (
            f"{self.device} ({self.name}{capability}), {self.dtype}, {self.threads} threads, "
            f"budget {self.budget_bytes / GIB:.1f} of {self.total_bytes / GIB:.1f} GiB: {self.reason}"
        )


def plan_device(
    requested: str = "auto",
    *,
    dtype: str = "auto",
    threads: int | None = None,
    memory_fraction: float = 0.9,
    probe_timeout_s: float = 120.0,
) -> DevicePlan:
    """Choose the device of this process. Imports torch; starts a probe process only if there is a GPU.

    `requested` is `auto` (a GPU that works, else the CPU), `cpu`, `cuda` or `cuda:<index>`. `dtype` is `auto` or one of
    DTYPES. `threads` is an upper limit for CPU work. `memory_fraction` of the device's memory (on a CPU: of the memory
    this process may use) is the budget.

    Raises ValueError naming every bad argument, and `DeviceUnavailable` if a GPU was asked for and none works.
    """
    _check(requested, dtype, threads, memory_fraction)
    facts = gather(gpu=requested != "cpu", probe_timeout_s=probe_timeout_s)
    return choose(facts, requested, dtype=dtype, threads=threads, memory_fraction=memory_fraction)


def choose(
    facts: Facts,
    requested: str = "auto",
    *,
    dtype: str = "auto",
    threads: int | None = None,
    memory_fraction: float = 0.9,
) -> DevicePlan:
    """Make the plan from the facts alone; arguments and errors as `plan_device`."""
    limit = min(facts.cores, threads or facts.cores)
    if requested == "cpu":
        return _on_cpu(facts, "asked for the CPU", dtype, limit, memory_fraction)
    gpu, why = _find_gpu(facts, requested)
    if gpu is not None:
        return _on_gpu(facts, gpu, why, dtype, limit, memory_fraction)
    if requested != "auto":
        raise DeviceUnavailable(f"device {requested!r} was asked for: {why}; `auto` and `cpu` would use the CPU")
    return _on_cpu(facts, why, dtype, limit, memory_fraction)


def _check(requested: str, dtype: str, threads: int | None, memory_fraction: float) -> None:
    wrong = []
    kind, _, index = requested.partition(":")
    if requested not in ("auto", "cpu", "cuda") and not (kind == "cuda" and index.isdecimal()):
        wrong.append(f"device {requested!r} is not auto, cpu, cuda or cuda:<index>")
    if dtype not in ("auto", *DTYPES):
        wrong.append(f"dtype {dtype!r} is not auto, {', '.join(DTYPES)}")
    if threads is not None and threads < 1:
        wrong.append(f"threads {threads} is less than 1")
    if not 0.0 < memory_fraction <= 1.0:
        wrong.append(f"memory fraction {memory_fraction} is not above 0 and at most 1")
    if wrong:
        raise ValueError("; ".join(wrong))


def _find_gpu(facts: Facts, requested: str) -> tuple[GpuProbe | None, str]:
    """Return the first GPU that was asked for and works, and why it or why none."""
    if not facts.arch_list:
        return None, "this PyTorch build has no GPU code"
    if facts.probe.error:
        return None, facts.probe.error
    wanted = [gpu for gpu in facts.probe.gpus if requested in ("auto", "cuda", f"cuda:{gpu.index}")]
    refusals = []
    for gpu in wanted:
        verdict = serves(facts.arch_list, gpu.capability, gfx=gpu.gfx, is_rocm=facts.is_rocm)
        if not gpu.error:
            return gpu, f"the probe of {gpu.name} worked; {verdict.reason}"
        refusals.append(f"{gpu.name} failed the probe ({gpu.error}); {verdict.reason}")
    return None, "; ".join(refusals) or "no such GPU is visible"


def _on_gpu(facts: Facts, gpu: GpuProbe, why: str, dtype: str, threads: int, memory_fraction: float) -> DevicePlan:
    chosen, why_dtype = _named(dtype) or _gpu_dtype(facts, gpu)
    return DevicePlan(
        kind="cuda",
        device=f"cuda:{gpu.index}",
        name=gpu.name,
        dtype=chosen,
        capability=gpu.capability,
        arch_list=facts.arch_list,
        threads=threads,
        total_bytes=gpu.total_bytes,
        budget_bytes=int(gpu.total_bytes * memory_fraction),
        reason=f"{why}; {why_dtype}",
    )


def _on_cpu(facts: Facts, why: str, dtype: str, threads: int, memory_fraction: float) -> DevicePlan:
    chosen, why_dtype = _named(dtype) or _cpu_dtype(facts)
    return DevicePlan(
        kind="cpu",
        device="cpu",
        name=facts.cpu_name,
        dtype=chosen,
        capability=None,
        arch_list=facts.arch_list,
        threads=threads,
        total_bytes=facts.memory_bytes,
        budget_bytes=int(facts.memory_bytes * memory_fraction),
        reason=f"{why}; {why_dtype}",
    )


def _named(dtype: str) -> tuple[DType, str] | None:
    return next(((each, f"{each} was asked for") for each in DTYPES if each == dtype), None)


def _gpu_dtype(facts: Facts, gpu: GpuProbe) -> tuple[DType, str]:
    if gpu.bfloat16 and (facts.is_rocm or gpu.capability[0] >= AMPERE):
        return "bfloat16", "bfloat16 is native and its probe worked"
    if gpu.capability[0] >= VOLTA:
        return "float16", "bfloat16 is not native here, float16 is"
    return "float32", "neither bfloat16 nor float16 is fast here"


def _cpu_dtype(facts: Facts) -> tuple[DType, str]:
    if facts.bf16_speedup > 1.0:
        return (
            "bfloat16",
            f"the CPU has bfloat16 and a matmul measured {facts.bf16_speedup:.1f} times faster than in float32",
        )
    if facts.bf16_speedup > 0.0:
        return "float32", f"a bfloat16 matmul measured only {facts.bf16_speedup:.2f} times as fast as float32"
    return "float32", "the CPU has no native bfloat16"
