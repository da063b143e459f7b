"""Tracing against a real OTLP receiver."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import generate_latest

from servekit import tracing
from servekit.app import App
from servekit.context import current
from servekit.errors import EngineFailure
from servekit.settings import ServerSettings
from servekit.testing import Toy, ToyClient, echo, local, serve
from tests.collector import Collector, Received, collecting

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
SAMPLED = (("traceparent", f"00-{TRACE}-{PARENT}-01"),)
NOT_SAMPLED = (("traceparent", f"00-{TRACE}-{PARENT}-00"),)


@pytest.fixture
async def collector(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Collector]:
    async with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
        yield collector


@asynccontextmanager
async def traced(
    on_message: Callable[[str], Awaitable[str]], registry: CollectorRegistry | None = None
) -> AsyncIterator[ToyClient]:
    """A toy with tracing as the environment sets it; left, it has sent every span."""
    app = App(
        local(ServerSettings),
        Toy(on_message).register,
        registry=registry or CollectorRegistry(),
        tracing=tracing.from_environment("toy", "1"),
    )
    async with serve(app) as channel:
        yield ToyClient(channel)


def served(collector: Collector) -> Received:
    (span,) = [each for each in collector.spans if each.span.kind == Span.SPAN_KIND_SERVER]
    return span


async def test_each_kind_of_call_is_a_span_of_its_callers_trace(collector: Collector, method: str) -> None:
    async with traced(echo) as toy:
        await toy.ask(method, "hello", metadata=SAMPLED)
    received = served(collector)
    assert received.service == "atelier-toy"
    assert (received.span.trace_id.hex(), received.span.parent_span_id.hex()) == (TRACE, PARENT)
    assert received.span.name == f"{Toy.SERVICE}/{method}"
    assert received.attributes["rpc.grpc.status_code"] == 0
    assert received.attributes["atelier.request_id"]


async def test_a_call_without_a_trace_begins_one(collector: Collector) -> None:
    async with traced(echo) as toy:
        await toy.ask("Unary", "hello")
    assert served(collector).span.trace_id.hex() not in ("", "0" * 32)
    assert served(collector).span.parent_span_id == b""


async def test_a_trace_that_is_not_sampled_is_not_sent(collector: Collector) -> None:
    registry = CollectorRegistry()
    async with traced(echo, registry) as toy:
        await toy.ask("Unary", "hello", metadata=NOT_SAMPLED)
    assert collector.spans == []
    assert b"trace_id" not in generate_latest(registry)


async def test_stages_are_children_with_their_times(collector: Collector) -> None:
    async def work(text: str) -> str:
        now = time.monotonic()
        tracing.record("denoise", now - 2.0, now, model="sketch")
        return text

    async with traced(work) as toy:
        await toy.ask("Unary", "hello", metadata=SAMPLED)
    (stage,) = [each for each in collector.spans if each.span.name == "denoise"]
    assert stage.span.parent_span_id == served(collector).span.span_id
    assert stage.span.end_time_unix_nano - stage.span.start_time_unix_nano == pytest.approx(2e9, abs=1e6)
    assert abs(stage.span.end_time_unix_nano - time.time_ns()) < 60e9
    assert stage.attributes == {"model": "sketch"}


async def test_the_next_server_is_told_of_the_call_to_it(collector: Collector) -> None:
    sent: list[dict[str, str]] = []

    async def hand_on(text: str) -> str:
        with tracing.onward("/a.B/C", (*SAMPLED, ("x-request-id", current().request_id))) as metadata:
            sent.append(dict(metadata))
            assert len(metadata) == len(sent[-1]), "the caller's own traceparent went along"
        return text

    async with traced(hand_on) as toy:
        await toy.ask("Unary", "hello", metadata=SAMPLED)
    (onward,) = [each.span for each in collector.spans if each.span.kind == Span.SPAN_KIND_CLIENT]
    assert onward.parent_span_id == served(collector).span.span_id
    assert sent == [{"x-request-id": sent[0]["x-request-id"], "traceparent": f"00-{TRACE}-{onward.span_id.hex()}-01"}]


async def test_a_failure_is_marked(collector: Collector) -> None:
    async def fail(text: str) -> str:
        raise EngineFailure("no")

    async with traced(fail) as toy:
        with pytest.raises(grpc.aio.AioRpcError):
            await toy.ask("Unary", "hello")
    assert served(collector).span.status.code == Status.STATUS_CODE_ERROR
    assert served(collector).attributes["rpc.grpc.status_code"] == grpc.StatusCode.INTERNAL.value[0]


async def test_a_cancelled_call_ends_its_spans_and_its_work(collector: Collector) -> None:
    entered, left = asyncio.Event(), asyncio.Event()

    async def wait(text: str) -> str:
        try:
            with tracing.onward("/a.B/C", ()):
                entered.set()
                await asyncio.Event().wait()
        finally:
            left.set()
        return text

    async with traced(wait) as toy:
        asking = asyncio.create_task(toy.ask("Unary", "hello", metadata=SAMPLED))
        await entered.wait()
        asking.cancel()
        await left.wait()
        await asyncio.wait([asking])
    cancelled = grpc.StatusCode.CANCELLED.value[0]
    assert [each.attributes["rpc.grpc.status_code"] for each in collector.spans] == [cancelled, cancelled]


async def test_exemplars_carry_the_trace(collector: Collector) -> None:
    registry = CollectorRegistry()
    async with traced(echo, registry) as toy:
        await toy.ask("Unary", "hello", metadata=SAMPLED)
    page = generate_latest(registry).decode()
    assert re.search(rf'grpc_server_handling_seconds_bucket{{.*}} 1.0 # {{trace_id="{TRACE}"}}', page)


async def test_health_checks_leave_no_spans(collector: Collector) -> None:
    async with traced(echo) as toy:
        await health_pb2_grpc.HealthStub(toy.channel).Check(health_pb2.HealthCheckRequest())
    assert collector.spans == []


async def test_a_collector_that_is_gone_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    monkeypatch.setattr("servekit.otel._LAST_WORDS_S", 0.01)
    async with asyncio.timeout(10), traced(echo) as toy:
        assert await toy.ask("Unary", "hello") == ["hello"]
