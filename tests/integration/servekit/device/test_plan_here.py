"""The plan on the machine at hand: real torch, and the probe as a real process."""

import gc
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from servekit.device import activate, exercise, free_bytes, out_of_memory_as, plan_device, release_unused
from servekit.device.probe import probe_gpus
from servekit.errors import DeviceOutOfMemory

torch = pytest.importorskip("torch")


def test_a_plan_is_made_and_applied() -> None:
    threads = torch.get_num_threads()
    plan = plan_device(threads=1)
    try:
        activate(plan)
        assert torch.get_num_threads() == plan.threads == 1
        assert 0 < plan.budget_bytes < plan.total_bytes
        assert free_bytes(plan) > 0
        release_unused(plan)
    finally:
        torch.set_num_threads(threads)


def test_a_device_that_is_there_does_its_exercise() -> None:
    exercise(plan_device("cpu", threads=1))


def test_a_device_that_is_gone_fails_its_exercise() -> None:
    plan = replace(plan_device("cpu", threads=1), device="cuda:7")
    with pytest.raises((AssertionError, RuntimeError)):
        exercise(plan)


def test_a_cpu_plan_is_cheap() -> None:
    def seconds() -> float:
        began = time.process_time()
        assert plan_device("cpu").kind == "cpu"
        return time.process_time() - began

    assert min(seconds() for _ in range(3)) < 0.5


def test_planning_leaves_the_threads_as_they_were() -> None:
    before = torch.get_num_threads()
    plan_device("cpu")
    assert torch.get_num_threads() == before


def test_the_probe_runs_in_a_process_of_its_own() -> None:
    report = probe_gpus(timeout_s=100.0)
    assert report.error == ""
    assert len(report.gpus) == torch.cuda.device_count()


def test_importing_device_does_not_import_torch() -> None:
    code = "import sys, servekit.device, servekit.residency; sys.exit('torch' in sys.modules)"
    root = Path(__file__).parents[4]
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=root).returncode == 0


def test_the_cpu_running_out_of_memory_is_typed() -> None:
    plan = plan_device("cpu")
    with pytest.raises(DeviceOutOfMemory) as failed, out_of_memory_as(plan):
        torch.empty(2**60, dtype=torch.uint8)
    assert failed.value.wanted_bytes == 2**60
    assert failed.value.free_bytes > 0
    gc.collect()


def test_the_gpu_running_out_of_memory_is_typed() -> None:
    plan = plan_device("cpu")
    message = "CUDA out of memory. Tried to allocate 1.50 GiB. GPU 0 has a total capacity of 2 GiB."
    with pytest.raises(DeviceOutOfMemory) as failed, out_of_memory_as(plan):
        raise torch.OutOfMemoryError(message)
    assert failed.value.wanted_bytes == 3 * 2**29


def test_what_the_whole_needs_is_said_if_it_is_known() -> None:
    with pytest.raises(DeviceOutOfMemory) as failed, out_of_memory_as(plan_device("cpu"), wanted_bytes=7):
        raise MemoryError
    assert failed.value.wanted_bytes == 7


def test_other_errors_pass() -> None:
    with pytest.raises(RuntimeError, match="shapes"), out_of_memory_as(plan_device("cpu")):
        raise RuntimeError("shapes do not match")
