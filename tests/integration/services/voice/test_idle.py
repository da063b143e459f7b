"""Calls that wait for their caller hold up nobody, and are bounded in number."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest

from atelier.voice.v1 import voice_service_pb2 as wire
from servekit.testing import local, serve
from services.voice import performance
from services.voice.bootstrap import build
from services.voice.settings import VoiceSettings
from tests.integration.services.voice.client import config, heard, reason, request, until, until_idle

if TYPE_CHECKING:
    from atelier.voice.v1.voice_service_pb2_grpc import VoiceServiceAsyncStub

PLACES, WAITING = 2, 4
LONG = "A long story for somebody who does not listen. " * 400
Request = wire.SynthesizeStreamRequest


@pytest.fixture
async def channel(tmp_path: Path) -> AsyncIterator[grpc.aio.Channel]:
    """Return a server with few places and small buffers."""
    small = {"max_streams": PLACES, "queue_limit": WAITING, "stream_buffer_bytes": 65536}
    app = build(local(VoiceSettings, port=0, voices_dir=tmp_path / "voices", **small))
    async with serve(app) as channel:
        yield channel


async def idle(voice: "VoiceServiceAsyncStub", kind: str, calls: AsyncExitStack) -> None:
    """Leave a call without anything to do."""
    if kind in ("unread", "unread document"):
        document = kind == "unread document"
        unread = voice.Synthesize(request(f"<speak>{LONG}</speak>" if document else LONG, ssml=document))
        calls.callback(unread.cancel)
        await until(aiter(unread), "audio")
        return
    stream = voice.SynthesizeStream()
    calls.callback(stream.cancel)
    await stream.write(Request(config=config()))
    if kind == "half a sentence":
        await stream.write(Request(text="Hello"))
    await until(aiter(stream), "audio")


@pytest.mark.parametrize("kind", ["unread", "unread document", "config only", "half a sentence"])
async def test_idle_calls_hold_up_nobody(
    voice: "VoiceServiceAsyncStub", kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(performance, "PATIENCE_S", 0.1)
    async with AsyncExitStack() as calls, asyncio.timeout(20):
        for _ in range(PLACES + 1):
            await idle(voice, kind, calls)
        assert (await heard(voice.Synthesize(request("hi")))).summary.audio_seconds > 0.1


async def test_idle_calls_are_bounded(channel: grpc.aio.Channel, voice: "VoiceServiceAsyncStub") -> None:
    async with AsyncExitStack() as calls, asyncio.timeout(20):
        for _ in range(PLACES + WAITING):
            await idle(voice, "config only", calls)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await heard(voice.Synthesize(request("hi")))
        assert (caught.value.code(), reason(caught.value)) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
    await until_idle(channel)
    assert (await heard(voice.Synthesize(request("hi")))).summary.audio_seconds > 0.1


async def test_who_reads_slowly_hears_the_same(voice: "VoiceServiceAsyncStub") -> None:
    """His turns are many, and once the first has begun he is told nothing of the later ones."""
    text = "One sentence after the other. " * 40
    whole = await heard(voice.Synthesize(request(text)))
    async with AsyncExitStack() as calls:
        for _ in range(PLACES + 1):
            await idle(voice, "unread", calls)
        slow = [await heard(each) for each in [voice.Synthesize(request(text)) for _ in range(2)]]
    for found in slow:
        assert found.summary.audio_seconds == pytest.approx(whole.summary.audio_seconds, rel=0.01)
        assert set(found.kinds[found.kinds.index("audio") + 1 : -1]) == {"chunk"}
        assert found.summary.characters == len(text)
