"""Text that arrives bit by bit is spoken as soon as a sentence is complete."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest

from atelier.voice.v1 import voice_service_pb2 as wire
from atelier.voice.v1.voice_service_pb2_grpc import VoiceServiceStub
from servekit.testing import local, serve
from services.voice.bootstrap import build
from services.voice.settings import VoiceSettings
from tests.integration.services.voice.client import config, heard, reason, until, until_idle, violated

if TYPE_CHECKING:
    from atelier.voice.v1.voice_service_pb2_grpc import VoiceServiceAsyncStub

Request = wire.SynthesizeStreamRequest


async def requests(*parts: str | Request, **values: object) -> AsyncIterator[Request]:
    yield Request(config=config(**values))  # type: ignore[arg-type]
    for part in parts:
        yield part if isinstance(part, Request) else Request(text=part)


FLUSH = Request(flush=wire.Flush())


async def test_tokens_in_audio_out(voice: "VoiceServiceAsyncStub") -> None:
    text = "Hello there, Dr. Smith. How are you today? Fine."
    tokens = [text[start : start + 3] for start in range(0, len(text), 3)]
    found = await heard(voice.SynthesizeStream(requests(*tokens, word_times=True)))
    assert found.summary.sentences == 3
    assert found.summary.characters == len(text)
    spoken = [text[each.text_offset : each.text_offset + each.text_length] for each in found.words]
    assert spoken == ["Hello", "there", "Dr", "Smith", "How", "are", "you", "today", "Fine"]


async def test_audio_starts_before_the_text_has_ended(voice: "VoiceServiceAsyncStub") -> None:
    call = voice.SynthesizeStream()
    events = aiter(call)
    await call.write(Request(config=config()))
    await call.write(Request(text="The first sentence is complete. The sec"))
    async with asyncio.timeout(10):
        await until(events, "chunk")
    await call.write(Request(text="ond is not."))
    await call.done_writing()
    kinds = [event.WhichOneof("event") async for event in events]
    assert kinds[-1] == "summary"


async def test_a_flush_speaks_half_a_sentence(voice: "VoiceServiceAsyncStub") -> None:
    call = voice.SynthesizeStream()
    events = aiter(call)
    await call.write(Request(config=config()))
    await call.write(Request(text="No full stop here"))
    await call.write(FLUSH)
    async with asyncio.timeout(10):
        await until(events, "chunk")
    call.cancel()


async def test_waiting_for_text_is_no_work(voice: "VoiceServiceAsyncStub") -> None:
    call = voice.SynthesizeStream()
    events = aiter(call)
    await call.write(Request(config=config()))
    await call.write(Request(text="One. "))
    await call.write(FLUSH)
    await until(events, "chunk")
    await call.write(Request(text="Two."))
    await call.done_writing()
    assert (await until(events, "summary")).summary.real_time_factor < 0.5


@pytest.mark.parametrize(
    ("parts", "fields"),
    [
        ([Request(text="text first")], ["config"]),
        ([], ["config"]),
        ([Request(config=config())], ["text"]),
        ([Request(config=config()), Request(text="...")], ["text"]),
        ([Request(config=config()), Request(text=" "), FLUSH, Request(text="\n")], ["text"]),
        ([Request(config=config()), Request(config=config())], ["config"]),
        ([Request(config=config()), Request()], ["part"]),
        ([Request(config=config()), Request(text="x" * 10_001)], ["text"]),
        ([Request(config=config()), Request(text="a\0")], ["text"]),
        ([Request(config=config(ssml=True))], ["config.ssml"]),
    ],
)
async def test_bad_streams(voice: "VoiceServiceAsyncStub", parts: list[Request], fields: list[str]) -> None:
    async def sent() -> AsyncIterator[Request]:
        for part in parts:
            yield part

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in voice.SynthesizeStream(sent()):
            pass
    assert reason(caught.value) == "INVALID_REQUEST"
    assert violated(caught.value) == fields


async def test_a_client_that_goes_away_mid_text_leaves_nothing(
    channel: grpc.aio.Channel, voice: "VoiceServiceAsyncStub"
) -> None:
    for _ in range(5):
        call = voice.SynthesizeStream()
        await call.write(Request(config=config()))
        await call.write(Request(text="Gone before the end. And"))
        await call.read()
        call.cancel()
    await until_idle(channel)


@pytest.mark.parametrize("sent", [[], [Request(config=config())], [Request(config=config()), Request(text="Then.")]])
async def test_a_caller_who_falls_silent_gives_his_place_back(tmp_path: Path, sent: list[Request]) -> None:
    settings = local(VoiceSettings, voices_dir=tmp_path / "voices", max_streams=1, queue_limit=0, stream_idle_s=0.1)
    async with serve(build(settings)) as channel:
        call = VoiceServiceStub(channel).SynthesizeStream()
        for each in sent:
            await call.write(each)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in call:
                pass
        assert reason(caught.value) == "DEADLINE_EXCEEDED"
        assert "nothing was sent for 0.1 s" in str(caught.value.details())
        assert (await heard(VoiceServiceStub(channel).SynthesizeStream(requests("Next.")))).data


async def test_a_voice_is_not_waited_for_without_end(tmp_path: Path) -> None:
    async with serve(build(local(VoiceSettings, voices_dir=tmp_path / "voices", stream_idle_s=0.1))) as channel:
        call = VoiceServiceStub(channel).CreateVoice()
        await call.write(wire.CreateVoiceRequest(config=wire.CreateVoiceConfig(id="mine", consent=True)))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert reason(caught.value) == "DEADLINE_EXCEEDED"
