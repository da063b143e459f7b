"""A voice server that dies before it was heard is replaced; what the caller had said is said again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import pytest

from atelier.common.v1 import types_pb2
from atelier.voice.v1 import voice_service_pb2
from tests.integration.services.router.conftest import Client, Voice, always_healthy, router_at, serving

Request = voice_service_pb2.SynthesizeRequest
Part = voice_service_pb2.SynthesizeStreamRequest


class Doomed(Voice):
    """A voice server that, having said `before` of its answer, tells so and never goes on."""

    def __init__(self, before: list[dict[str, Any]]) -> None:
        super().__init__()
        self.before = before
        self.reached = asyncio.Event()

    async def Synthesize(self, request: Any, context: Any) -> AsyncIterator[Any]:
        for message in self.before:
            yield voice_service_pb2.SynthesizeResponse(**message)
        self.reached.set()
        await asyncio.Event().wait()

    async def SynthesizeStream(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        await anext(aiter(requests))
        for message in self.before:
            yield voice_service_pb2.SynthesizeStreamResponse(**message)
        self.reached.set()
        await asyncio.Event().wait()


@dataclass
class Voices:
    """Two voice servers behind a router: `doomed` is asked first, `kill` ends it."""

    doomed: Doomed
    client: Client
    server: grpc.aio.Server

    async def kill(self) -> None:
        await self.doomed.reached.wait()
        await self.server.stop(None)

    async def synthesize(self, heard: int) -> list[Any]:
        """The events of one sentence whose server is killed once `heard` of them have come.

        Never before: what a dying server wrote last may be lost on its way.
        """
        events: list[Any] = []
        async for event in self.client.voice.Synthesize(Request(text="hello"), timeout=20):
            events.append(event)
            if len(events) == heard:
                await self.kill()
        return events


@asynccontextmanager
async def voices(before: list[dict[str, Any]]) -> AsyncIterator[Voices]:
    doomed, server = Doomed(before), grpc.aio.server()
    doomed.register(server)
    await always_healthy(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with serving(Voice()) as heir_at, router_at(voice=f"127.0.0.1:{port},{heir_at}") as client:
        yield Voices(doomed, client, server)
        await server.stop(None)


QUEUED = {"queued": types_pb2.Queued(position=1)}
AUDIO = {"audio": voice_service_pb2.AudioHeader(sample_rate=8000)}


@pytest.mark.parametrize("before", [[], [QUEUED], [QUEUED, {"loading": types_pb2.Loading(fraction=0.5)}]])
async def test_a_server_that_dies_before_it_was_heard_is_replaced(before: list[dict[str, Any]]) -> None:
    async with voices(before) as pair:
        events = await pair.synthesize(heard=1 + len(before))

    assert [event.routed.backend for event in events if event.HasField("routed")] == ["voice-0", "voice-1"]
    assert [event.WhichOneof("event") for event in events[len(before) + 1 :]] == ["routed", "audio", "chunk"]
    assert events[-1].chunk.data == b"hello"


async def test_a_server_that_dies_after_it_was_heard_is_an_error() -> None:
    async with voices([QUEUED, AUDIO]) as pair:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await pair.synthesize(heard=3)

    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_what_was_said_is_said_again_to_the_next_server_and_the_talk_goes_on() -> None:
    async with voices([QUEUED]) as pair:
        call: Any = pair.client.voice.SynthesizeStream(timeout=20)
        assert (await call.read()).routed.backend == "voice-0"
        await call.write(Part(text="one"))
        assert (await call.read()).HasField("queued")
        await pair.kill()
        assert (await call.read()).routed.backend == "voice-1"
        assert (await call.read()).chunk.data == b"one"
        await call.write(Part(text="two"))
        assert (await call.read()).chunk.data == b"two"
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF


async def test_the_last_server_that_dies_is_an_error() -> None:
    doomed, server = Doomed([]), grpc.aio.server()
    doomed.register(server)
    await always_healthy(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with router_at(voice=f"127.0.0.1:{port}") as client:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await Voices(doomed, client, server).synthesize(heard=1)

    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
