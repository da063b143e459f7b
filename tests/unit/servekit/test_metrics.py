import asyncio

import grpc
import pytest
from prometheus_client import CollectorRegistry, Counter

from servekit.metrics import GrpcMetrics, Labelled, LoopMetrics, MethodMetrics, export_info, new_registry

LABELS = {"grpc_type": "unary", "grpc_service": "a.B", "grpc_method": "C"}


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def method(registry: CollectorRegistry) -> MethodMetrics:
    return MethodMetrics(GrpcMetrics(registry), "unary", "a.B", "C")


def test_an_ended_call_is_counted_by_its_code(registry: CollectorRegistry, method: MethodMetrics) -> None:
    for code in (grpc.StatusCode.OK, grpc.StatusCode.OK, grpc.StatusCode.NOT_FOUND):
        method.ended(code, 0.5)
    assert registry.get_sample_value("grpc_server_handled_total", {**LABELS, "grpc_code": "OK"}) == 2
    assert registry.get_sample_value("grpc_server_handled_total", {**LABELS, "grpc_code": "NOT_FOUND"}) == 1


def test_an_ended_call_is_timed(registry: CollectorRegistry, method: MethodMetrics) -> None:
    method.ended(grpc.StatusCode.OK, 0.5)
    labels = {**LABELS, "grpc_code": "OK"}
    assert registry.get_sample_value("grpc_server_handling_seconds_sum", labels) == 0.5
    assert registry.get_sample_value("grpc_server_handling_seconds_bucket", {**labels, "le": "0.5"}) == 1


def test_a_method_starts_at_zero(registry: CollectorRegistry, method: MethodMetrics) -> None:
    for name in ("grpc_server_started_total", "grpc_server_msg_received_total", "grpc_server_msg_sent_total"):
        assert registry.get_sample_value(name, LABELS) == 0


def test_two_apps_do_not_share_metrics() -> None:
    GrpcMetrics(CollectorRegistry())
    GrpcMetrics(CollectorRegistry())  # on a shared registry this would raise


def test_a_new_registry_says_what_runs() -> None:
    (build,) = [metric for metric in new_registry("toy", "1.2").collect() if metric.name == "servekit_build"]
    assert build.samples[0].name == "servekit_build_info"
    assert build.samples[0].labels.items() >= {"service": "toy", "version": "1.2"}.items()


def test_a_new_registry_measures_the_process() -> None:
    memory = new_registry("toy", "1").get_sample_value("process_resident_memory_bytes")
    assert memory is not None
    assert memory > 1e6


def test_facts_become_labels(registry: CollectorRegistry) -> None:
    export_info(registry, "servekit_device", "Chosen device.", {"kind": "cpu", "dtype": "float32"})
    assert registry.get_sample_value("servekit_device_info", {"kind": "cpu", "dtype": "float32"}) == 1


async def test_tasks_are_counted_from_any_thread_as_they_come_and_go(registry: CollectorRegistry) -> None:
    LoopMetrics(registry).watch(asyncio.get_running_loop())
    before = await asyncio.to_thread(registry.get_sample_value, "asyncio_tasks")
    async with asyncio.TaskGroup() as group:
        waiting = asyncio.Event()
        group.create_task(waiting.wait())
        during = await asyncio.to_thread(registry.get_sample_value, "asyncio_tasks")
        waiting.set()
    after = await asyncio.to_thread(registry.get_sample_value, "asyncio_tasks")
    assert (before, during, after) == (1, 2, 1)  # this test is a task itself


def test_a_labelled_metric_is_the_same_for_the_same_labels(registry: CollectorRegistry) -> None:
    counter = Labelled(Counter("cups_total", "Cups.", ("colour",), registry=registry))
    counter.labels("blue").inc()
    counter.labels("blue").inc()
    counter.labels("red").inc()
    assert registry.get_sample_value("cups_total", {"colour": "blue"}) == 2
    assert registry.get_sample_value("cups_total", {"colour": "red"}) == 1


def test_labels_that_were_removed_are_not_exported_until_they_are_used_anew(registry: CollectorRegistry) -> None:
    counter = Labelled(Counter("cups_total", "Cups.", ("colour",), registry=registry))
    old = counter.labels("blue")
    counter.remove("blue")
    counter.remove("green")
    old.inc()
    removed = registry.get_sample_value("cups_total", {"colour": "blue"})
    counter.labels("blue")
    assert (removed, registry.get_sample_value("cups_total", {"colour": "blue"})) == (None, 0)


def test_a_labelled_metric_refuses_other_numbers_of_labels(registry: CollectorRegistry) -> None:
    with pytest.raises(ValueError, match="Incorrect label count"):
        Labelled(Counter("cups_total", "Cups.", ("colour",), registry=registry)).labels("blue", "round")
