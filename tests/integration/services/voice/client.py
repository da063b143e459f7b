"""What a client of the tests does."""

import asyncio
import io
import struct
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from typing import Any, TypeVar

import grpc
import numpy as np
import soundfile
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from numpy.typing import NDArray

from atelier.models.v1 import model_service_pb2
from atelier.models.v1.model_service_pb2_grpc import ModelServiceStub
from atelier.voice.v1 import voice_pb2
from atelier.voice.v1 import voice_service_pb2 as wire

Event = wire.SynthesizeResponse | wire.SynthesizeStreamResponse
E = TypeVar("E", wire.SynthesizeResponse, wire.SynthesizeStreamResponse)


def config(audio: dict[str, Any] | None = None, **values: Any) -> wire.SynthesisConfig:
    return wire.SynthesisConfig(audio=voice_pb2.AudioConfig(**(audio or {})), **values)


def request(text: str, audio: dict[str, Any] | None = None, **values: Any) -> wire.SynthesizeRequest:
    return wire.SynthesizeRequest(text=text, config=config(audio, **values))


class Heard:
    """All that one call sent."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.kinds = [str(event.WhichOneof("event")) for event in events]
        self.header = next(event.audio for event in events if event.WhichOneof("event") == "audio")
        self.chunks = [event.chunk for event in events if event.WhichOneof("event") == "chunk"]
        self.words = [event.word for event in events if event.WhichOneof("event") == "word"]
        self.retries = [event.retry for event in events if event.WhichOneof("event") == "retry"]
        self.summary = events[-1].summary
        self.data = b"".join(chunk.data for chunk in self.chunks)

    def samples(self) -> NDArray[np.float64]:
        data = self.data
        if data.startswith(b"fLaC"):
            count = round(self.summary.audio_seconds * self.header.sample_rate)
            data = data[:21] + bytes([data[21] & 0xF0]) + struct.pack(">I", count) + data[26:]
        return np.asarray(soundfile.read(io.BytesIO(data))[0])


async def heard(call: AsyncIterable[Event]) -> Heard:
    return Heard([event async for event in call])


async def until(events: AsyncIterator[E], kind: str) -> E:
    """Return the next event of a kind, leaving out those before it."""
    async for event in events:
        if event.WhichOneof("event") == kind:
            return event
    raise AssertionError(f"the stream ended without {kind}")


async def until_idle(channel: grpc.aio.Channel) -> None:
    """Wait until nobody uses the engine, and see that none of the service's tasks is left."""
    async with asyncio.timeout(10):
        call = ModelServiceStub(channel).WatchModels(model_service_pb2.WatchModelsRequest())
        async for event in call:
            if not event.model.residency.leases:
                break
        call.cancel()
        if speaking := [task for task in asyncio.all_tasks() if "stream.<locals>.run" in repr(task)]:
            await asyncio.wait(speaking)


def reason(error: grpc.aio.AioRpcError) -> str:
    status = rpc_status.from_call(error)
    info = error_details_pb2.ErrorInfo()
    assert status is not None
    assert any(detail.Unpack(info) for detail in status.details)
    return str(info.reason)


def violated(error: grpc.aio.AioRpcError) -> list[str]:
    status = rpc_status.from_call(error)
    bad = error_details_pb2.BadRequest()
    assert status is not None
    assert any(detail.Unpack(bad) for detail in status.details)
    return [each.field for each in bad.field_violations]
