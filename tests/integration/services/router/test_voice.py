import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from atelier.voice.v1 import voice_service_pb2
from servekit import testing
from servekit.errors import NotFound
from tests.integration.services.router.conftest import Studio, Voice, router_at, serving

SynthesizeRequest = voice_service_pb2.SynthesizeRequest


class UnknownVoice(NotFound):
    reason = "UNKNOWN_VOICE"


def reason(error: grpc.aio.AioRpcError) -> str:
    status = rpc_status.from_call(error)
    assert status is not None
    info = error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(info) for detail in status.details)
    return str(info.reason)


async def test_a_unary_call_is_relayed(studio: Studio) -> None:
    response = await studio.client.voice.GetVoice(voice_service_pb2.GetVoiceRequest(voice="espeak/en"))

    assert response.voice.id == "espeak/en"


async def test_a_server_stream_is_relayed_after_the_name_of_the_server(studio: Studio) -> None:
    events = [event async for event in studio.client.voice.Synthesize(SynthesizeRequest(text="hello"))]

    assert [event.WhichOneof("event") for event in events] == ["routed", "audio", "chunk"]
    assert events[0].routed.backend == "voice-0"
    assert events[2].chunk.data == b"hello"


async def test_a_client_stream_is_relayed(studio: Studio) -> None:
    async def clip() -> AsyncIterator[voice_service_pb2.CreateVoiceRequest]:
        for _ in range(3):
            yield voice_service_pb2.CreateVoiceRequest(clip=b"\0" * 65536)

    response = await studio.client.voice.CreateVoice(clip())

    assert response.voice.id == str(3 * 65536)


async def test_both_directions_are_relayed_as_they_come(studio: Studio) -> None:
    call: Any = studio.client.voice.SynthesizeStream()
    heard = []
    assert (await call.read()).routed.backend == "voice-0"
    for word in ("one", "two", "three"):
        await call.write(voice_service_pb2.SynthesizeStreamRequest(text=word))
        heard.append((await call.read()).chunk.data)
    await call.done_writing()

    assert heard == [b"one", b"two", b"three"]
    assert await call.read() is grpc.aio.EOF


async def test_an_error_arrives_unchanged(studio: Studio) -> None:
    studio.voice.failure = UnknownVoice("voice", "x", nearest=["y"])

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await studio.client.voice.GetVoice(voice_service_pb2.GetVoiceRequest(voice="x"))

    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert caught.value.details() == "no voice named 'x'; did you mean y?"
    assert reason(caught.value) == "UNKNOWN_VOICE"


async def test_an_error_in_mid_stream_arrives_unchanged(studio: Studio) -> None:
    studio.voice.failure = UnknownVoice("voice", "x")

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in studio.client.voice.Synthesize(SynthesizeRequest(text="hello")):
            pass

    assert reason(caught.value) == "UNKNOWN_VOICE"


async def test_cancelling_a_stream_reaches_the_server(studio: Studio) -> None:
    studio.voice.hang = True
    call = studio.client.voice.Synthesize(SynthesizeRequest(text="hello"))
    async for event in call:
        if event.HasField("audio"):
            break

    call.cancel()

    await asyncio.wait_for(studio.voice.ended.wait(), 5)


async def test_cancelling_while_speaking_and_listening_reaches_the_server(studio: Studio) -> None:
    call = studio.client.voice.SynthesizeStream()
    await call.read()
    await call.write(voice_service_pb2.SynthesizeStreamRequest(text="one"))
    await call.read()

    call.cancel()

    await asyncio.wait_for(studio.voice.ended.wait(), 5)


async def test_the_request_id_goes_along(studio: Studio) -> None:
    call = studio.client.voice.Synthesize(SynthesizeRequest(text="hello"), metadata=(("x-request-id", "abc"),))
    assert len([event async for event in call]) == 3

    assert studio.voice.metadata[0]["x-request-id"] == "abc"


async def test_without_a_voice_server_the_caller_is_told() -> None:
    async with router_at() as client:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.voice.GetVoice(voice_service_pb2.GetVoiceRequest(voice="x"))

    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert reason(caught.value) == "BACKEND_UNAVAILABLE"


async def test_the_less_busy_of_two_servers_is_taken() -> None:
    first, second = Voice(hang=True), Voice(hang=True)
    async with (
        serving(first) as first_at,
        serving(second) as second_at,
        router_at(voice=f"{first_at},{second_at}") as client,
    ):
        calls = [client.voice.Synthesize(SynthesizeRequest(text="hello")) for _ in range(2)]
        first_events: list[Any] = [await call.read() for call in calls]  # which keeps the calls under way
        named = {event.routed.backend for event in first_events}
        for call in calls:
            call.cancel()

    assert named == {"voice-0", "voice-1"}


async def test_a_cancelled_call_leaves_no_task_behind(studio: Studio) -> None:
    before = testing.tasks()

    async def endless() -> AsyncIterator[voice_service_pb2.SynthesizeStreamRequest]:
        yield voice_service_pb2.SynthesizeStreamRequest(text="one")
        await asyncio.Event().wait()

    call = studio.client.voice.SynthesizeStream(endless())
    await call.read()
    await call.read()
    call.cancel()
    await studio.voice.ended.wait()

    await testing.ended(since=before)
