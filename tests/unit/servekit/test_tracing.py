import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import copy_context

import pytest

from servekit import tracing
from servekit.context import RequestContext, activate
from servekit.tracing import Metadata


class Recorded:
    """A `CallTrace` that keeps what it is told."""

    def __init__(self, trace_id: str) -> None:
        self.trace_id = trace_id
        self.stages: list[tuple[str, float, float, Mapping[str, str]]] = []

    def stage(self, name: str, began: float, ended: float, attributes: Mapping[str, str]) -> None:
        self.stages.append((name, began, ended, attributes))

    @contextmanager
    def onward(self, method: str, metadata: Metadata) -> Iterator[Metadata]:
        yield (*metadata, ("traceparent", method))

    def end(self, code: str) -> None:
        self.stages.clear()


def serve(trace: Recorded | None) -> None:
    activate(RequestContext("id", "", "/a.B/C", None, trace))


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4317", "OTEL_SDK_DISABLED": "True"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4317", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_it_is_off_unless_spans_have_somewhere_to_go(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert tracing.from_environment("toy", "1") is None


def test_without_the_extra_a_destination_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://localhost:4317")
    monkeypatch.delitem(sys.modules, "servekit.otel", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.context", None)
    with pytest.raises(tracing.TracingUnavailable, match=r"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is set.*tracing"):
        tracing.from_environment("toy", "1")


def test_outside_of_a_call_nothing_is_recorded() -> None:
    def ask() -> None:
        tracing.record("queue", 0.0, 1.0)
        assert tracing.exemplar() is None
        with tracing.onward("/a.B/C", (("key", "value"),)) as metadata:
            assert metadata == (("key", "value"),)

    copy_context().run(ask)


def test_off_what_goes_onward_is_unchanged() -> None:
    def ask() -> None:
        serve(None)
        with tracing.onward("/a.B/C", (("traceparent", "of the caller"),)) as metadata:
            assert metadata == (("traceparent", "of the caller"),)
        assert tracing.exemplar() is None

    copy_context().run(ask)


def test_what_is_recorded_goes_to_the_call_being_served() -> None:
    call = Recorded("ab" * 16)

    def ask() -> None:
        serve(call)
        tracing.record("queue", 1.0, 2.5, model="sketch")
        with tracing.onward("/a.B/C", ()) as metadata:
            assert metadata == (("traceparent", "/a.B/C"),)
        assert tracing.exemplar() == {"trace_id": "ab" * 16}

    copy_context().run(ask)
    assert call.stages == [("queue", 1.0, 2.5, {"model": "sketch"})]


def test_a_trace_that_is_not_kept_is_no_exemplar() -> None:
    def ask() -> None:
        serve(Recorded(""))
        assert tracing.exemplar() is None

    copy_context().run(ask)
