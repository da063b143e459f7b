"""A real OTLP receiver that keeps what it is sent."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span

_PATIENCE_S = 30.0


@dataclass(frozen=True)
class Received:
    """A span, and the service it came from."""

    service: str
    span: Span

    @property
    def attributes(self) -> dict[str, Any]:
        """Its attributes, numbers and text."""
        return {each.key: each.value.string_value or each.value.int_value for each in self.span.attributes}


@dataclass
class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """`TraceService`; the address is in `endpoint`, as the environment has it."""

    endpoint: str = ""
    spans: list[Received] = field(default_factory=list)
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def Export(self, request: Any, context: Any) -> trace_service_pb2.ExportTraceServiceResponse:
        """Take spans in."""
        for resource in request.resource_spans:
            names = [each.value.string_value for each in resource.resource.attributes if each.key == "service.name"]
            self.spans += [Received(names[0], span) for scope in resource.scope_spans for span in scope.spans]
        async with self._news:
            self._news.notify_all()
        return trace_service_pb2.ExportTraceServiceResponse()

    async def until(self, enough: Callable[[list[Received]], bool]) -> list[Received]:
        """Return the spans once there are enough; raises `TimeoutError` if they do not come."""
        async with asyncio.timeout(_PATIENCE_S), self._news:
            await self._news.wait_for(lambda: enough(self.spans))
        return self.spans


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """Receive spans inside the block."""
    collector, server = Collector(), grpc.aio.server()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    collector.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield collector
    finally:
        await server.stop(None)
