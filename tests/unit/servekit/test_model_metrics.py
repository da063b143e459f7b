from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from servekit.admission import Admission
from servekit.device import CurrentDevice, DevicePlan, Gpu, GpuFigures
from servekit.model_metrics import ModelMetrics, export_state
from servekit.residency import (
    EvictReason,
    Loaded,
    LoadFailed,
    ModelEvicted,
    ModelLoaded,
    ModelSpec,
    OnProgress,
    OutOfMemory,
    Residency,
    ResidencyEvent,
)
from servekit.worker import CancelToken, DeviceWorker

PLAN = DevicePlan("cpu", "cpu", "a CPU", "float32", None, (), 1, 1000, 900, "it is there")
ROOM = ModelEvicted("a", EvictReason.ROOM, 2.0, 100, age_s=40.0, host_bytes=30, wanted_by="b")


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.mark.parametrize(
    ("events", "name", "labels", "value"),
    [
        ([ModelLoaded("a", 1.5, 100, False)], "loads_total", {"model": "a", "origin": "disk"}, 1),
        ([ModelLoaded("a", 1.5, 100, True)], "load_seconds_sum", {"model": "a", "origin": "host"}, 1.5),
        ([ROOM], "evictions_total", {"model": "a", "reason": "room", "wanted_by": "b"}, 1),
        ([ROOM], "evicted_age_seconds_sum", {"model": "a", "reason": "room"}, 40),
        ([ROOM], "unload_seconds_sum", {"model": "a"}, 2),
        ([LoadFailed("a", 1, OSError(), False)], "load_failures_total", {"model": "a", "error": "OSError"}, 1),
        ([LoadFailed("a", 1, OSError(), True)], "load_failures_total", {"model": "a", "error": "OSError"}, None),
        ([OutOfMemory("a", 9, 1, True)], "out_of_memory_total", {"model": "a", "phase": "load"}, 1),
    ],
)
def test_what_happens_to_a_model_is_counted(
    registry: CollectorRegistry, events: list[ResidencyEvent], name: str, labels: dict[str, str], value: float | None
) -> None:
    metrics = ModelMetrics("toy", registry)
    for event in events:
        metrics.observe(event)
    assert registry.get_sample_value(f"toy_model_{name}", labels) == value


def test_work_without_room_is_counted(registry: CollectorRegistry) -> None:
    ModelMetrics("toy", registry).ran_out_of_memory("a")
    assert registry.get_sample_value("toy_model_out_of_memory_total", {"model": "a", "phase": "work"}) == 1


async def test_the_state_is_read_when_it_is_asked_for(registry: CollectorRegistry) -> None:
    admission = Admission(capacity=2, queue_limit=7)
    residency: Residency[Any] = Residency([ModelSpec("a", 100)], loader=None, budget_bytes=900)  # type: ignore[arg-type]
    export_state("toy", registry, CurrentDevice(PLAN), admission, residency, DeviceWorker("toy"))
    assert registry.get_sample_value("toy_running") == 0
    async with admission.admit("a"):
        assert registry.get_sample_value("toy_running") == 1
    assert registry.get_sample_value("toy_queue_limit") == 7
    assert registry.get_sample_value("toy_budget_bytes") == 900
    assert registry.get_sample_value("toy_used_bytes") == 0


async def test_bytes_are_told_by_model_and_tier(registry: CollectorRegistry) -> None:
    admission, shelf = Admission(capacity=2, queue_limit=7), Shelf()
    specs = [ModelSpec("a", 100), ModelSpec("b", 100)]
    residency = Residency(specs, shelf, budget_bytes=150, host=shelf, host_budget_bytes=300)
    export_state("toy", registry, CurrentDevice(PLAN), admission, residency, DeviceWorker("toy"))
    await residency.load("a")
    await residency.load("b")
    bytes_of = {
        (model, tier): registry.get_sample_value("toy_model_resident_bytes", {"model": model, "tier": tier})
        for model in "ab"
        for tier in ("device", "host")
    }
    assert bytes_of == {("a", "device"): 0, ("a", "host"): 110, ("b", "device"): 90, ("b", "host"): 0}
    assert registry.get_sample_value("toy_host_used_bytes") == 110
    assert registry.get_sample_value("toy_host_budget_bytes") == 300


class Shelf:
    """Models that weigh 90 bytes on the device and 110 in host memory."""

    async def load(self, model_id: str, on_progress: OnProgress, token: CancelToken) -> Loaded[str]:
        return Loaded(model_id, 90)

    async def unload(self, value: str) -> None:
        """Nothing is held."""

    async def park(self, model_id: str, value: str) -> int:
        return 110

    async def restore(self, model_id: str, value: str, on_progress: OnProgress, token: CancelToken) -> Loaded[str]:
        return Loaded(value, 90, host_bytes=110)

    async def drop(self, model_id: str, value: str) -> None:
        """Nothing is held."""


async def test_what_the_driver_says_of_a_gpu_is_told(registry: CollectorRegistry) -> None:
    class Busy(Gpu):
        def read(self) -> GpuFigures:
            return GpuFigures(30, 70, 0.5, None)

    residency: Residency[Any] = Residency([], loader=None, budget_bytes=900)  # type: ignore[arg-type]
    device = CurrentDevice(PLAN, lambda _: Busy(None, None))
    export_state("toy", registry, device, Admission(capacity=1, queue_limit=1), residency, DeviceWorker("toy"))
    assert registry.get_sample_value("toy_gpu_used_bytes") == 30
    assert registry.get_sample_value("toy_gpu_free_bytes") == 70
    assert registry.get_sample_value("toy_gpu_utilisation_ratio") == 0.5
    assert registry.get_sample_value("toy_gpu_temperature_celsius") is None


async def test_the_device_says_why_it_was_chosen(registry: CollectorRegistry) -> None:
    residency: Residency[Any] = Residency([], loader=None, budget_bytes=900)  # type: ignore[arg-type]
    device = CurrentDevice(PLAN)
    export_state("toy", registry, device, Admission(capacity=1, queue_limit=1), residency, DeviceWorker("toy"))
    facts = {"kind": "cpu", "device": "cpu", "name": "a CPU", "dtype": "float32", "reason": "it is there"}
    assert registry.get_sample_value("toy_device_info", facts) == 1
    device.change(replace(PLAN, reason="the other was lost"))
    assert registry.get_sample_value("toy_device_info", facts) is None
    assert registry.get_sample_value("toy_device_info", facts | {"reason": "the other was lost"}) == 1


async def test_the_device_thread_is_measured(registry: CollectorRegistry) -> None:
    residency: Residency[Any] = Residency([], loader=None, budget_bytes=900)  # type: ignore[arg-type]
    worker = DeviceWorker("toy")
    export_state("toy", registry, CurrentDevice(PLAN), Admission(capacity=1, queue_limit=1), residency, worker)
    await worker.start()
    await worker.run(lambda _: None)
    await worker.close()
    assert registry.get_sample_value("toy_device_jobs_total") == 1
    assert (registry.get_sample_value("toy_device_busy_seconds_total") or 0) > 0
    assert registry.get_sample_value("toy_device_queue_depth") == 0
