"""One trace through all servers: a span for each call, for each call onward, and for each stage of the work.

Off unless OpenTelemetry's own variables say where spans go. Then nothing of it is imported, and the functions here end
at a comparison with None. What they say goes to the call being served, wherever in the code one is.
"""

import os
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, TypeAlias

from servekit.context import find

Metadata: TypeAlias = tuple[tuple[str, str], ...]

_DESTINATIONS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


class TracingUnavailable(ValueError):
    """Spans are to be sent, and OpenTelemetry is not installed."""


class CallTrace(Protocol):
    """The span of one call. `servekit.otel` has the implementation."""

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits; empty if this trace is not recorded."""

    def stage(self, name: str, began: float, ended: float, attributes: Mapping[str, str]) -> None:
        """Add a span for a stage of the work; times in seconds of `time.monotonic`."""

    def onward(self, method: str, metadata: Metadata) -> AbstractContextManager[Metadata]:
        """Put a span around a call to the next server; yields the metadata that carries the trace there."""

    def end(self, code: str) -> None:
        """End the span with the name of a gRPC status code."""


class Tracing(Protocol):
    """Begins the spans of calls and sends them off."""

    def begin(self, method: str, request_id: str, metadata: Iterable[tuple[str, str | bytes]]) -> CallTrace:
        """Begin the span of a call, a child of the one that its metadata names."""

    async def close(self) -> None:
        """Send what is left, for a few seconds at most."""


def from_environment(service: str, version: str) -> Tracing | None:
    """Return the tracing that the environment asks for; None if it asks for none.

    Raises `TracingUnavailable` if the extra `tracing` is not installed.
    """
    destination = next((name for name in _DESTINATIONS if os.environ.get(name)), None)
    if destination is None or _is_switched_off():
        return None
    try:
        from servekit.otel import OtelTracing
    except ModuleNotFoundError as error:
        raise TracingUnavailable(
            f"{destination} is set, but {error.name} is not installed: install atelier-studio[tracing], or unset it"
        ) from None
    return OtelTracing.to_collector(service, version)


def record(name: str, began: float, ended: float, **attributes: str) -> None:
    """Add a stage to the trace of the call being served; times in seconds of `time.monotonic`, no text of callers."""
    call = find()
    if call is not None and call.trace is not None:
        call.trace.stage(name, began, ended, attributes)


def onward(method: str, metadata: Metadata) -> AbstractContextManager[Metadata]:
    """Put a span around a call to the next server, full name `/package.Service/Method`; yields the metadata to send."""
    call = find()
    if call is None or call.trace is None:
        return nullcontext(metadata)
    return call.trace.onward(method, metadata)


def exemplar() -> dict[str, str] | None:
    """Return the labels that tie a measurement to the trace of the call being served; None if it is not recorded."""
    call = find()
    if call is None or call.trace is None or not call.trace.trace_id:
        return None
    return {"trace_id": call.trace.trace_id}


def _is_switched_off() -> bool:
    disabled = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    return disabled or os.environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none"
