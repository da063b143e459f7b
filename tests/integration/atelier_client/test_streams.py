"""What a caller does with a stream reaches the server, and what his own iterator raises reaches him."""

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing

import grpc
import pytest

from atelier.models.v1 import model_service_pb2
from atelier.models.v1.model_service_pb2_grpc import ModelServiceStub
from atelier_client import AsyncClient, AtelierError, Client
from servekit.testing import local
from services.voice.bootstrap import build
from services.voice.settings import VoiceSettings
from tests.integration.services.voice.client import until, until_idle

STORY = "A long story that nobody wants to hear any more. " * 1000


class Spilled(Exception):
    """What went wrong in the caller's own code."""


@pytest.fixture
async def server() -> AsyncIterator[str]:
    """Return the address of a voice server that makes little ahead of its readers."""
    async with build(local(VoiceSettings, port=0, stream_buffer_bytes=65536)).serving() as address:
        yield address


@pytest.fixture
def no_garbage_collection() -> Iterator[None]:
    """Nothing may rely on the collector to cancel a call."""
    gc.disable()
    yield
    gc.enable()


async def broken_tokens() -> AsyncIterator[str]:
    yield "This sentence is whole. "
    raise Spilled("coffee")


async def endless_tokens() -> AsyncIterator[str]:
    yield STORY[:9000]
    await asyncio.Event().wait()


async def test_what_the_callers_iterator_raises_reaches_him(server: str) -> None:
    async with AsyncClient(server) as client:
        with pytest.raises(Spilled, match="coffee"):
            async for _ in client.speak(broken_tokens()):
                pass


async def test_what_the_callers_iterator_raises_reaches_him_in_threads_too(server: str) -> None:
    def tokens() -> Iterator[str]:
        yield "This sentence is whole. "
        raise Spilled("tea")

    def speak() -> None:
        with Client(server) as client:
            for _ in client.speak(tokens()):
                pass

    with pytest.raises(Spilled, match="tea"):
        await asyncio.to_thread(speak)


async def test_what_the_server_says_is_still_told(server: str) -> None:
    async with AsyncClient(server) as client:
        with pytest.raises(AtelierError, match="espeak/nobody"):
            await anext(client.speak(endless_tokens(), voice="espeak/nobody"))


@pytest.mark.usefixtures("no_garbage_collection")
async def test_a_call_that_the_server_ends_ends_the_callers_iterator(server: str) -> None:
    ended = asyncio.Event()

    async def tokens() -> AsyncIterator[str]:
        try:
            yield STORY[:100]
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with AsyncClient(server) as client:
        with pytest.raises(AtelierError, match="espeak/nobody"):
            await anext(client.speak(tokens(), voice="espeak/nobody"))
        await ended.wait()


@pytest.mark.usefixtures("no_garbage_collection")
async def test_closing_a_stream_ends_the_work(server: str) -> None:
    async with AsyncClient(server) as client, grpc.aio.insecure_channel(server) as channel:
        async with aclosing(client.speak(endless_tokens())) as events:
            await until(events, "chunk")
        await until_idle(channel)


@pytest.mark.usefixtures("no_garbage_collection")
async def test_cancelling_the_task_that_waits_ends_the_work(server: str) -> None:
    async with AsyncClient(server) as client, grpc.aio.insecure_channel(server) as channel:
        task = asyncio.create_task(client.say(STORY))
        await _until_leased(channel)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until_idle(channel)


async def _until_leased(channel: grpc.aio.Channel) -> None:

    call = ModelServiceStub(channel).WatchModels(model_service_pb2.WatchModelsRequest())
    async for event in call:
        if event.model.residency.leases:
            break
    call.cancel()
