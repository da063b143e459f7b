"""Metrics of everything that has models, a queue and a device, named `<service>_*` alike in every service."""

from collections.abc import Iterable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from servekit.admission import Admission
from servekit.device import CurrentDevice, DevicePlan, GpuFigures
from servekit.metrics import Labelled
from servekit.residency import (
    EvictReason,
    LoadFailed,
    ModelEvicted,
    ModelLoaded,
    OutOfMemory,
    Residency,
    ResidencyEvent,
    ResidencyStatus,
)
from servekit.worker import DeviceWorker

_MOVE_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_AGE_SECONDS = (1, 5, 15, 30, 60, 300, 900, 3600, 14400, 86400)
_WAIT_SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class ModelMetrics:
    """What comes to the device, leaves it, and does not fit; `observe` is the residency's `on_event`."""

    def __init__(self, service: str, registry: CollectorRegistry) -> None:
        self._name = f"{service}_model"
        self._registry = registry
        self.loads = self._counter("loads_total", "Loads by origin: disk or host memory.", "origin")
        self.load_seconds = self._histogram("load_seconds", "Seconds to load a model.", _MOVE_SECONDS, "origin")
        self.load_failures = self._counter("load_failures_total", "Failed loads by error.", "error")
        self.unload_seconds = self._histogram("unload_seconds", "Seconds until the bytes were free.", _MOVE_SECONDS)
        self.evictions = self._counter(
            "evictions_total", "Models that left the device, by reason, and the model that took the room.",
            "reason", "wanted_by",
        )  # fmt: skip
        self.evicted_age_seconds = self._histogram(
            "evicted_age_seconds", "Seconds from coming to the device to leaving it.", _AGE_SECONDS, "reason"
        )
        self.out_of_memory = self._counter(
            "out_of_memory_total", "Times the device had no room, by phase: load or work.", "phase"
        )

    def expect(self, models: Iterable[str]) -> None:
        """Begin at zero what may never happen: Prometheus sees no increase in a series that begins at one."""
        for model in models:
            for phase in ("load", "work"):
                self.out_of_memory.labels(model, phase)
            for reason in EvictReason:
                self.evicted_age_seconds.labels(model, reason.value)
                if reason is not EvictReason.ROOM:
                    self.evictions.labels(model, reason.value, "")
            self.unload_seconds.labels(model)

    def observe(self, event: ResidencyEvent) -> None:
        """Count what happened to a model."""
        match event:
            case ModelLoaded():
                self._loaded(event)
            case ModelEvicted():
                self._evicted(event)
            case LoadFailed(cancelled=False):
                self.load_failures.labels(event.model_id, type(event.error).__name__).inc()
            case OutOfMemory():
                self.out_of_memory.labels(event.model_id, "load").inc()
            case _:
                pass

    def ran_out_of_memory(self, model_id: str) -> None:
        """Count work that found no room on the device."""
        self.out_of_memory.labels(model_id, "work").inc()

    def _loaded(self, event: ModelLoaded) -> None:
        origin = "host" if event.from_host else "disk"
        self.loads.labels(event.model_id, origin).inc()
        self.load_seconds.labels(event.model_id, origin).observe(event.seconds)

    def _evicted(self, event: ModelEvicted) -> None:
        model, reason = event.model_id, event.reason.value
        self.evictions.labels(model, reason, event.wanted_by).inc()
        self.evicted_age_seconds.labels(model, reason).observe(event.age_s)
        self.unload_seconds.labels(model).observe(event.seconds)

    def _counter(self, name: str, documentation: str, *labels: str) -> Labelled[Counter]:
        return Labelled(Counter(f"{self._name}_{name}", documentation, ("model", *labels), registry=self._registry))

    def _histogram(
        self, name: str, documentation: str, buckets: tuple[float, ...], *labels: str
    ) -> Labelled[Histogram]:
        labelled = ("model", *labels)
        metric = Histogram(f"{self._name}_{name}", documentation, labelled, registry=self._registry, buckets=buckets)
        return Labelled(metric)


def queue_wait_histogram(service: str, registry: CollectorRegistry, label: str) -> Labelled[Histogram]:
    """Return `<service>_queue_wait_seconds`, by `label`: what requests wait for."""
    name = f"{service}_queue_wait_seconds"
    return Labelled(Histogram(name, "Seconds in the queue.", (label,), registry=registry, buckets=_WAIT_SECONDS))


class StateCollector(Collector):
    """The state of queue, memory and device, read whenever Prometheus looks, in its thread."""

    def __init__(
        self,
        service: str,
        device: CurrentDevice,
        admission: Admission,
        residency: Residency[Any],
        worker: DeviceWorker,
    ) -> None:
        self._service = service
        self._device = device
        self._admission = admission
        self._residency = residency
        self._worker = worker

    def collect(self) -> Iterator[Metric]:
        """Yield the figures of this moment."""
        yield self._gauge("queue_depth", "Requests that wait.", self._admission.queued)
        yield self._gauge("queue_limit", "Requests that may wait.", self._admission.queue_limit)
        yield self._gauge("running", "Requests being worked on.", self._admission.running)
        yield self._gauge("queue_eta_seconds", "Seconds until a new request would start.", self._admission.eta_s())
        yield from self._memory(self._residency.status())
        yield self._gauge("device_queue_depth", "Jobs that wait for the device thread.", self._worker.queue_depth)
        yield self._counter("device_jobs", "Jobs that the device thread has ended.", self._worker.jobs_done)
        yield self._counter("device_busy_seconds", "Seconds the device thread worked.", self._worker.busy_s)
        yield self._info(self._device.plan)
        if self._device.gpu is not None:
            yield from self._driver(self._device.gpu.read())

    def _info(self, plan: DevicePlan) -> Metric:
        facts = {each: str(getattr(plan, each)) for each in ("kind", "device", "name", "dtype", "reason")}
        return InfoMetricFamily(f"{self._service}_device", "The device and why it was chosen.", facts)

    def _driver(self, figures: GpuFigures) -> Iterator[Metric]:
        told = {
            "gpu_used_bytes": ("Bytes of the GPU that are taken, by all processes.", figures.used_bytes),
            "gpu_free_bytes": ("Bytes of the GPU that nobody has taken.", figures.free_bytes),
            "gpu_utilisation_ratio": ("Share of the last moments that the GPU was busy.", figures.utilisation),
            "gpu_temperature_celsius": ("Temperature of the GPU.", figures.temperature_c),
        }
        for name, (documentation, value) in told.items():
            if value is not None:
                yield self._gauge(name, documentation, value)

    def _memory(self, status: ResidencyStatus) -> Iterator[Metric]:
        yield self._gauge("budget_bytes", "Bytes that weights may take.", status.budget_bytes)
        yield self._gauge("used_bytes", "Bytes of weights on the device.", status.used_bytes)
        yield self._gauge("host_budget_bytes", "Bytes that evicted weights may take.", status.host_budget_bytes)
        yield self._gauge("host_used_bytes", "Bytes of weights kept in host memory.", status.host_used_bytes)
        name, documentation = f"{self._service}_model_resident_bytes", "Bytes of a model by tier: device or host."
        resident = GaugeMetricFamily(name, documentation, labels=("model", "tier"))
        for model in status.models:
            resident.add_metric((model.model_id, "device"), model.device_bytes)
            resident.add_metric((model.model_id, "host"), model.host_bytes)
        yield resident

    def _gauge(self, name: str, documentation: str, value: float) -> Metric:
        return GaugeMetricFamily(f"{self._service}_{name}", documentation, value)

    def _counter(self, name: str, documentation: str, value: float) -> Metric:
        return CounterMetricFamily(f"{self._service}_{name}", documentation, value)


def export_state(
    service: str,
    registry: CollectorRegistry,
    device: CurrentDevice,
    admission: Admission,
    residency: Residency[Any],
    worker: DeviceWorker,
) -> None:
    """Export the device of a service, as `<service>_device_info` and more, and the state of all that waits for it."""
    registry.register(StateCollector(service, device, admission, residency, worker))
