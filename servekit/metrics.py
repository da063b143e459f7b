"""Prometheus metrics of a server: one registry per app, gRPC metrics, facts about the build, the HTTP endpoint."""

import asyncio
import logging
import platform
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

import grpc
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    ProcessCollector,
    start_http_server,
)

from servekit.tracing import exemplar

logger = logging.getLogger(__name__)

_LABELS = ("grpc_type", "grpc_service", "grpc_method")
_SECONDS_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


def new_registry(service: str, version: str) -> CollectorRegistry:
    """Return a registry with the figures of this process and `servekit_build_info`."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    facts = {"service": service, "version": version, "python": platform.python_version(), "grpc": grpc.__version__}
    export_info(registry, "servekit_build", "What is running here.", facts)
    return registry


def export_info(registry: CollectorRegistry, name: str, documentation: str, facts: Mapping[str, str]) -> None:
    """Export `facts` as the labels of a constant `<name>_info`, for instance the device that was chosen."""
    Info(name, documentation, registry=registry).info(dict(facts))


M = TypeVar("M", Counter, Gauge, Histogram)


class Labelled(Generic[M]):
    """A metric whose children are kept in a dictionary: prometheus_client's own `labels` costs ten times as much."""

    def __init__(self, metric: M) -> None:
        self._metric: M = metric
        self._children: dict[tuple[str, ...], M] = {}

    def labels(self, *values: str) -> M:
        """Return the child with these values, in the order of the label names."""
        child = self._children.get(values)
        if child is None:
            child = self._children[values] = self._metric.labels(*values)
        return child

    def remove(self, *values: str) -> None:
        """Export the child with these values no longer; whoever still has it changes nothing that is seen."""
        if self._children.pop(values, None) is not None:
            self._metric.remove(*values)


class LoopMetrics:
    """How many tasks the event loop has: a number that only grows is a leak."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._tasks = Gauge("asyncio_tasks", "Tasks of the event loop that are not done.", registry=registry)

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Count the tasks of `loop` at every look, from whichever thread: `asyncio.all_tasks` allows it."""
        self._tasks.set_function(lambda: len(asyncio.all_tasks(loop)))


class GrpcMetrics:
    """The metrics that dashboards for gRPC servers know by name."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.started = Counter("grpc_server_started_total", "Calls begun.", _LABELS, registry=registry)
        self.handled = Counter("grpc_server_handled_total", "Calls ended.", (*_LABELS, "grpc_code"), registry=registry)
        self.received = Counter("grpc_server_msg_received_total", "Messages received.", _LABELS, registry=registry)
        self.sent = Counter("grpc_server_msg_sent_total", "Messages sent.", _LABELS, registry=registry)
        self.seconds = Histogram(
            "grpc_server_handling_seconds",
            "Seconds per call.",
            (*_LABELS, "grpc_code"),
            registry=registry,
            buckets=_SECONDS_BUCKETS,
        )


class AccessMetrics:
    """Who was turned away, by cause and never by name."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.refused = Counter(
            "servekit_refused_total", "Calls turned away at the door.", ("cause",), registry=registry
        )
        self.stale = Gauge(
            "servekit_callers_file_stale",
            "1 while the callers file is wrong and an older one in force.",
            registry=registry,
        )

    def expect(self, causes: Iterable[str]) -> None:
        """Begin the counts of these causes at zero: Prometheus sees no increase in a series that begins at one."""
        for cause in causes:
            self.refused.labels(cause)


class MethodMetrics:
    """The metrics of one method, looked up once instead of in every call."""

    def __init__(self, metrics: GrpcMetrics, grpc_type: str, service: str, method: str) -> None:
        self._labels = (grpc_type, service, method)
        self._metrics = metrics
        self._by_code: dict[grpc.StatusCode, tuple[Counter, Histogram]] = {}
        self.started = metrics.started.labels(*self._labels)
        self.received = metrics.received.labels(*self._labels)
        self.sent = metrics.sent.labels(*self._labels)
        for code in grpc.StatusCode:  # Prometheus sees no increase in a series that begins at one
            metrics.handled.labels(*self._labels, code.name)

    def ended(self, code: grpc.StatusCode, seconds: float) -> None:
        """Count a call that ended with `code` after `seconds`, and tie it to its trace."""
        handled, duration = self._by_code.get(code) or self._of(code)
        handled.inc()
        duration.observe(seconds, exemplar())

    def _of(self, code: grpc.StatusCode) -> tuple[Counter, Histogram]:
        labels = (*self._labels, code.name)
        found = self._metrics.handled.labels(*labels), self._metrics.seconds.labels(*labels)
        self._by_code[code] = found
        return found


@asynccontextmanager
async def endpoint(registry: CollectorRegistry, host: str, port: int) -> AsyncIterator[str]:
    """Serve `registry` over HTTP for Prometheus; yields `host:port`, with port 0 resolved.

    Raises `OSError` if the address is taken.
    """
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        raise OSError(f"cannot serve metrics on {host}:{port}: {error}") from None
    try:
        yield f"{host}:{server.server_port}"
    finally:
        await asyncio.to_thread(server.shutdown)
        server.server_close()
        thread.join()
