"""`servekit.tracing` by OpenTelemetry. Needs the extra `tracing`; imported only where spans are wanted."""

import asyncio
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Self

import grpc
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, format_trace_id, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from servekit.tracing import Metadata

_W3C = TraceContextTextMapPropagator()
_FIELDS = frozenset(_W3C.fields)
_LAST_WORDS_S = 3.0
"""Seconds that a collector gets to take the last spans; one that is gone must not hold up a stop."""
_SERVER_FAULTS = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})
"""Codes that make the span of a served call an error, by OpenTelemetry's conventions for gRPC."""


class OtelTracing:
    """`tracing.Tracing`. Sampling, batching and the rest are set by OpenTelemetry's own variables, `OTEL_*`."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("servekit")

    @classmethod
    def to_collector(cls, service: str, version: str) -> Self:
        """Return tracing that sends spans over OTLP/gRPC to where the environment says."""
        name = os.environ.get("OTEL_SERVICE_NAME") or f"atelier-{service}"
        resource = Resource.create({"service.name": name, "service.version": version})
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        return cls(provider)

    def begin(self, method: str, request_id: str, metadata: Iterable[tuple[str, str | bytes]]) -> "OtelCall":
        """Begin the span of a call, a child of the one that its metadata names."""
        carrier = {key: str(value) for key, value in metadata if key in _FIELDS}
        attributes = {**_rpc(method), "atelier.request_id": request_id}
        parent = _W3C.extract(carrier, Context())
        span = self._tracer.start_span(method.lstrip("/"), parent, SpanKind.SERVER, attributes)
        return OtelCall(self._tracer, span)

    async def close(self) -> None:
        """Send what is left, for a few seconds at most."""
        thread = threading.Thread(target=self._provider.shutdown, name="tracing-shutdown", daemon=True)
        thread.start()
        await asyncio.to_thread(thread.join, _LAST_WORDS_S)


class OtelCall:
    """`tracing.CallTrace`."""

    def __init__(self, tracer: Tracer, span: Span) -> None:
        self._tracer = tracer
        self._span = span
        self._context = set_span_in_context(span, Context())
        self._id = span.get_span_context()

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits; empty if this trace is not recorded."""
        return format_trace_id(self._id.trace_id) if self._id.trace_flags.sampled else ""

    def stage(self, name: str, began: float, ended: float, attributes: Mapping[str, str]) -> None:
        """Add a span for a stage of the work; times in seconds of `time.monotonic`."""
        zero_ns = time.time_ns() - time.monotonic_ns()
        start_ns, end_ns = (zero_ns + int(at * 1e9) for at in (began, ended))
        self._tracer.start_span(name, self._context, attributes=attributes, start_time=start_ns).end(end_ns)

    @contextmanager
    def onward(self, method: str, metadata: Metadata) -> Iterator[Metadata]:
        """Put a span around a call to the next server; it ends also when the call is cancelled or left unread."""
        span = self._tracer.start_span(method.lstrip("/"), self._context, SpanKind.CLIENT, _rpc(method))
        carrier: dict[str, str] = {}
        _W3C.inject(carrier, set_span_in_context(span, Context()))
        try:
            yield (*(pair for pair in metadata if pair[0] not in _FIELDS), *carrier.items())
        except grpc.aio.AioRpcError as error:
            _close(span, error.code().name, failed=True)
            raise
        except BaseException as error:
            _close(span, "CANCELLED" if isinstance(error, asyncio.CancelledError | GeneratorExit) else "", failed=True)
            raise
        else:
            _close(span, "OK", failed=False)

    def end(self, code: str) -> None:
        """End the span with the name of a gRPC status code."""
        _close(self._span, code, failed=code in _SERVER_FAULTS)


def _rpc(method: str) -> dict[str, str]:
    service, _, name = method.lstrip("/").rpartition("/")
    return {"rpc.system": "grpc", "rpc.service": service, "rpc.method": name}


def _close(span: Span, code: str, *, failed: bool) -> None:
    if code:
        span.set_attribute("rpc.grpc.status_code", grpc.StatusCode[code].value[0])
    if failed:
        span.set_status(Status(StatusCode.ERROR, code))
    span.end()
