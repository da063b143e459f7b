"""One trace from the client through every service to the stages, sent to a real OTLP receiver."""

import pytest
from opentelemetry.sdk.trace import TracerProvider

from atelier_client import AsyncClient, Client
from tests.collector import Received
from tests.ops.observe.conftest import Watched

pytestmark = pytest.mark.asyncio(loop_scope="session")

PROMPT = "a quiet harbour at dawn"
IMAGE_STAGES = {"queue", "load", "encode_text", "denoise", "decode", "check", "encode_media"}


def of_trace(spans: list[Received], trace_id: int) -> list[Received]:
    return [each for each in spans if int.from_bytes(each.span.trace_id) == trace_id]


def ended(spans: list[Received], trace_id: int, method: str) -> bool:
    return any(
        each.span.name.endswith(method) and each.service == "atelier-router" for each in of_trace(spans, trace_id)
    )


async def test_a_picture_is_one_trace_down_to_its_stages(watched: Watched) -> None:
    with TracerProvider(shutdown_on_exit=False).get_tracer("test").start_as_current_span("asking") as root:
        trace_id = root.get_span_context().trace_id
        async with AsyncClient(watched.studio.address) as client:
            await client.image(PROMPT, steps=2)

    def complete(spans: list[Received]) -> bool:
        names = {each.span.name for each in of_trace(spans, trace_id)}
        return ended(spans, trace_id, "/Generate") and names >= IMAGE_STAGES

    spans = of_trace(await watched.collector.until(complete), trace_id)
    assert {each.service for each in spans} == {"atelier-router", "atelier-rewrite_llm", "atelier-imagegen"}
    by_id = {each.span.span_id: each for each in spans}
    roots = [each for each in spans if each.span.parent_span_id not in by_id]
    assert [each.span.parent_span_id for each in roots] == [root.get_span_context().span_id.to_bytes(8)]
    for each in spans:
        if each.span.name in IMAGE_STAGES and each.service == "atelier-imagegen":
            assert by_id[each.span.parent_span_id].span.name == "atelier.imagegen.v1.ImageService/Generate"
    assert {each.span.name for each in spans if each.service == "atelier-rewrite_llm"} >= {"select", "screen"}
    assert "harbour" not in str(spans), "a span holds text of the caller"


async def test_speech_through_the_relay_is_one_trace(watched: Watched) -> None:
    with TracerProvider(shutdown_on_exit=False).get_tracer("test").start_as_current_span("asking") as root:
        trace_id = root.get_span_context().trace_id
        async with AsyncClient(watched.studio.address) as client:
            await client.say("Good evening.")
    spans = await watched.collector.until(
        lambda spans: (
            ended(spans, trace_id, "/Synthesize")
            and {"queue", "load", "speak"} <= {each.span.name for each in of_trace(spans, trace_id)}
        )
    )
    services = {each.service for each in of_trace(spans, trace_id)}
    assert services == {"atelier-router", "atelier-voice"}


async def test_the_synchronous_client_carries_the_trace_too(watched: Watched) -> None:
    with TracerProvider(shutdown_on_exit=False).get_tracer("test").start_as_current_span("asking") as root:
        trace_id = root.get_span_context().trace_id
        with Client(watched.studio.address) as client:
            client.backends()
    await watched.collector.until(lambda spans: ended(spans, trace_id, "/ListBackends"))
