from dataclasses import replace

import pytest

from servekit.device import DeviceUnavailable
from servekit.device.facts import Facts
from servekit.device.plan import GIB, choose, plan_device
from servekit.device.probe import GpuProbe, ProbeReport

H200 = GpuProbe(0, "NVIDIA H200", (9, 0), "", 140 * GIB, 139 * GIB, error="", bfloat16=True)
T4 = replace(H200, index=1, name="Tesla T4", capability=(7, 5), total_bytes=16 * GIB, bfloat16=True)
P100 = replace(H200, index=2, name="Tesla P100", capability=(6, 0), bfloat16=False)
RTX5090 = replace(
    H200, name="RTX 5090", capability=(12, 0), error="CUDA error: no kernel image is available", bfloat16=False
)
CPU = Facts(
    arch_list=(),
    is_rocm=False,
    probe=ProbeReport(()),
    cpu_name="EPYC",
    cores=8,
    memory_bytes=32 * GIB,
    bf16_speedup=2.4,
)


def gpu(*gpus: GpuProbe, error: str = "") -> Facts:
    return replace(CPU, arch_list=("sm_60", "sm_75", "sm_90"), probe=ProbeReport(gpus, error))


def test_a_gpu_that_works_is_taken() -> None:
    plan = choose(gpu(H200))
    assert (plan.kind, plan.device, plan.dtype) == ("cuda", "cuda:0", "bfloat16")
    assert (plan.capability, plan.arch_list) == ((9, 0), ("sm_60", "sm_75", "sm_90"))
    assert (plan.total_bytes, plan.budget_bytes) == (140 * GIB, 126 * GIB)
    assert "the probe of NVIDIA H200 worked; sm_90 has binary code for 9.0" in plan.reason


def test_a_gpu_that_fails_the_probe_is_explained_and_passed_over() -> None:
    plan = choose(gpu(RTX5090))
    assert plan.kind == "cpu"
    assert "RTX 5090 failed the probe (CUDA error: no kernel image is available)" in plan.reason
    assert "no code for compute capability 12.0" in plan.reason


def test_the_probe_decides_even_against_the_list() -> None:
    plan = choose(gpu(replace(RTX5090, error="")))
    assert plan.kind == "cuda"


def test_the_first_gpu_that_works_is_taken() -> None:
    assert choose(gpu(RTX5090, T4)).device == "cuda:1"


def test_a_gpu_may_be_named() -> None:
    assert choose(gpu(H200, T4), "cuda:1").name == "Tesla T4"


@pytest.mark.parametrize(
    ("facts", "requested", "words"),
    [
        (CPU, "cuda", "this PyTorch build has no GPU code"),
        (gpu(H200), "cuda:7", "no such GPU is visible"),
        (gpu(RTX5090), "cuda", "no kernel image"),
        (gpu(error="the GPU probe did not answer within 120 s"), "cuda", "did not answer"),
    ],
)
def test_a_gpu_asked_for_in_vain_is_an_error(facts: Facts, requested: str, words: str) -> None:
    with pytest.raises(DeviceUnavailable, match=words):
        choose(facts, requested)


def test_a_probe_that_died_means_the_cpu() -> None:
    plan = choose(gpu(error="the GPU probe ended with status -11: no output"))
    assert plan.kind == "cpu"
    assert "status -11" in plan.reason


def test_the_cpu_may_be_asked_for() -> None:
    plan = choose(gpu(H200), "cpu")
    assert (plan.kind, plan.device, plan.capability) == ("cpu", "cpu", None)
    assert plan.reason.startswith("asked for the CPU")


@pytest.mark.parametrize(
    ("probe", "dtype"),
    [(H200, "bfloat16"), (T4, "float16"), (P100, "float32"), (replace(H200, bfloat16=False), "float16")],
)
def test_gpu_dtype(probe: GpuProbe, dtype: str) -> None:
    assert choose(gpu(probe)).dtype == dtype


def test_rocm_dtype_follows_the_probe() -> None:
    facts = replace(gpu(replace(H200, capability=(9, 4), gfx="gfx942")), arch_list=("gfx942",), is_rocm=True)
    assert choose(facts).dtype == "bfloat16"


@pytest.mark.parametrize(
    ("speedup", "dtype", "words"),
    [
        (2.4, "bfloat16", "2.4 times faster"),
        (0.7, "float32", "only 0.70 times"),
        (0.0, "float32", "no native bfloat16"),
    ],
)
def test_cpu_dtype_is_what_measures_faster(speedup: float, dtype: str, words: str) -> None:
    plan = choose(replace(CPU, bf16_speedup=speedup))
    assert plan.dtype == dtype
    assert words in plan.reason


def test_a_dtype_asked_for_is_taken() -> None:
    plan = choose(gpu(H200), dtype="float32")
    assert plan.dtype == "float32"
    assert "float32 was asked for" in plan.reason


@pytest.mark.parametrize(("limit", "threads"), [(None, 8), (3, 3), (99, 8)])
def test_threads_are_capped(limit: int | None, threads: int) -> None:
    assert choose(CPU, threads=limit).threads == threads


def test_the_budget_is_a_fraction_of_the_memory() -> None:
    assert choose(CPU, memory_fraction=0.25).budget_bytes == 8 * GIB


def test_the_line_for_the_log_has_everything() -> None:
    line = choose(gpu(H200)).describe()
    assert line.startswith(
        "cuda:0 (NVIDIA H200, capability 9.0), bfloat16, 8 threads, budget 126.0 of 140.0 GiB: the probe of"
    )
    assert "\n" not in line


def test_every_bad_argument_is_named_before_torch_is_touched() -> None:
    with pytest.raises(ValueError, match=r"device 'gpu' .* dtype 'int4' .* threads 0 .* fraction 1.5"):
        plan_device("gpu", dtype="int4", threads=0, memory_fraction=1.5)
