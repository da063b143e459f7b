"""An image server that dies before it sent a picture is replaced; one that dies later is an error."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from atelier.common.v1 import types_pb2
from atelier.imagegen.v1 import image_service_pb2, imagegen_pb2
from tests.integration.services.router.conftest import (
    PICTURE,
    Client,
    Event,
    Imagegen,
    Rewrite,
    always_healthy,
    model,
    router_at,
    serving,
)


class Doomed:
    """Two image servers behind a router: the first says one thing and hangs, and is killed when that was heard."""

    def __init__(self, said: Event) -> None:
        self._said = said
        self._doomed = Imagegen([model("general")])
        self._doomed.script = self._hangs
        self._server = grpc.aio.server()
        self.other = Imagegen([model("general")], queue_eta_s=60)

    @asynccontextmanager
    async def routed(self, **router: Any) -> AsyncIterator[Client]:
        self._doomed.register(self._server)
        await always_healthy(self._server)
        port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()
        async with serving(self.other) as other_at, router_at(f"127.0.0.1:{port},{other_at}", **router) as client:
            yield client
            await self._server.stop(None)

    async def events(self, client: Client, **fields: Any) -> list[Event]:
        """Return the events of a generation, killing its server when what it said has come.

        Never before: what a dying server wrote last may be lost on its way.
        """
        events: list[Event] = []
        async for event in client.images.Generate(image_service_pb2.GenerateRequest(**fields), timeout=20):
            events.append(event)
            if event == self._said:
                await self._server.stop(None)
        return events

    async def _hangs(self, _request: Any) -> AsyncIterator[Event]:
        yield self._said
        await asyncio.Event().wait()


async def test_a_server_that_dies_before_a_picture_is_replaced() -> None:
    doomed = Doomed(Event(queued=types_pb2.Queued()))
    async with (
        serving(Rewrite(favourite="general")) as rewrite_at,
        doomed.routed(rewrite=rewrite_at, decision_budget_s=5.0) as client,
    ):
        events = await doomed.events(client, prompt="a garden", seed=5)

    assert [event.WhichOneof("event") for event in events[:3]] == ["routed", "queued", "retry"]
    assert events[0].routed.backend == "imagegen-0"
    attempt = events[2].retry.attempt
    assert (attempt.cause, attempt.remedy) == (imagegen_pb2.CAUSE_BACKEND_LOST, imagegen_pb2.REMEDY_OTHER_REPLICA)
    assert (attempt.number, attempt.seed) == (1, 5)
    assert events[-1].summary.attempts[0] == attempt
    assert b"".join(event.chunk.data for event in events) == PICTURE


async def test_a_server_that_dies_after_a_picture_began_is_an_error() -> None:
    doomed = Doomed(Event(image=image_service_pb2.ImageHeader(size_bytes=10)))
    async with doomed.routed() as client:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await doomed.events(client, prompt="a garden")

    status = rpc_status.from_call(caught.value)
    assert status is not None
    info = error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(info) for detail in status.details)
    assert info.reason == "BACKEND_UNAVAILABLE"
    assert not doomed.other.requests
