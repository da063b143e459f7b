"""XTTS behind a real server: a catalog of the user's own names a folder with a checkpoint."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import numpy as np
import pytest
import soundfile

from atelier.models.v1 import model_service_pb2, models_pb2
from atelier.models.v1.model_service_pb2_grpc import ModelServiceStub
from atelier.voice.v1 import voice_service_pb2 as wire
from atelier.voice.v1.voice_service_pb2_grpc import VoiceServiceStub
from servekit.testing import local, serve
from services.voice.bootstrap import build
from services.voice.settings import VoiceSettings
from tests.integration.services.voice.client import Heard, config, heard, reason, request, until, until_idle

VOICE = "tiny/ada-one"


@pytest.fixture
async def channel(folder: Path, tmp_path: Path) -> AsyncIterator[grpc.aio.Channel]:
    settings = local(
        VoiceSettings,
        port=0,
        warm=(),
        catalog_file=folder / "voices.toml",
        models_dir=folder,
        voices_dir=tmp_path / "voices",
        xtts_dtype="float32",
    )
    async with serve(build(settings)) as channel:
        yield channel


async def test_it_speaks_and_several_at_once_say_what_one_says(channel: grpc.aio.Channel) -> None:
    voice = VoiceServiceStub(channel)
    alone = await heard(voice.Synthesize(request("Hello there.", voice=VOICE, seed=5)))
    assert (alone.summary.model, alone.header.sample_rate, alone.summary.attempts) == ("tiny", 24000, 1)
    assert "loading" in alone.kinds
    orders = [request("Hello there.", voice=VOICE, seed=5), request("And you?", model="tiny", seed=6)]
    together, _ = await asyncio.gather(*(heard(voice.Synthesize(each)) for each in orders))
    assert np.abs(together.samples() - alone.samples()).max() < 1e-3


async def test_a_text_is_its_sentences_one_after_the_other(channel: grpc.aio.Channel) -> None:
    """They are spoken together, and heard in their order."""
    voice, sentences = VoiceServiceStub(channel), ("Hello there.", "And you?", "Me too.", "What now?", "Never mind.")
    together = await heard(voice.Synthesize(request(" ".join(sentences), voice=VOICE, seed=5)))
    singly = [await heard(voice.Synthesize(request(each, voice=VOICE, seed=5))) for each in sentences]
    assert (together.summary.sentences, together.summary.attempts) == (5, 1)
    assert np.abs(together.samples() - np.concatenate([each.samples() for each in singly])).max() < 1e-3


async def test_a_text_that_arrives_bit_by_bit_is_heard_as_the_whole_text(channel: grpc.aio.Channel) -> None:
    """The first sentence is heard before the second is there; the later ones arrive while others are spoken."""
    voice, text = VoiceServiceStub(channel), "Hello there. And you? Me too. What now?"
    call = voice.SynthesizeStream()
    events = aiter(call)
    await call.write(wire.SynthesizeStreamRequest(config=config(voice=VOICE, seed=5)))
    await call.write(wire.SynthesizeStreamRequest(text=text[:15]))
    begun = [await until(events, "audio"), await until(events, "chunk")]
    for start in range(15, len(text), 5):
        await call.write(wire.SynthesizeStreamRequest(text=text[start : start + 5]))
    await call.done_writing()
    streamed = Heard([*begun, *[event async for event in events]])
    whole = await heard(voice.Synthesize(request(text, voice=VOICE, seed=5)))
    assert streamed.summary.sentences == 4
    assert np.abs(streamed.samples() - whole.samples()).max() < 1e-3


async def test_a_caller_who_hangs_up_frees_his_place(channel: grpc.aio.Channel) -> None:
    call = VoiceServiceStub(channel).Synthesize(request("Hello there. " * 40, voice=VOICE))
    async for event in call:
        if event.WhichOneof("event") == "chunk":
            break
    call.cancel()
    await until_idle(channel)


async def test_a_voice_is_made_from_a_clip_and_speaks(channel: grpc.aio.Channel, tmp_path: Path) -> None:
    voice = VoiceServiceStub(channel)
    spoken = await heard(voice.Synthesize(request("This is a clip of my own voice, spoken to be cloned. " * 2)))
    soundfile.write(tmp_path / "clip.wav", spoken.samples(), spoken.header.sample_rate)
    config = wire.CreateVoiceConfig(id="anna", consent=True, model="tiny")
    clip = (tmp_path / "clip.wav").read_bytes()
    made = await voice.CreateVoice(iter((wire.CreateVoiceRequest(config=config), wire.CreateVoiceRequest(clip=clip))))
    assert (made.voice.id, made.voice.model) == ("anna", "tiny")
    cloned = await heard(voice.Synthesize(request("Hello there.", voice="anna", seed=5)))
    assert cloned.summary.audio_seconds > 0.05


async def test_it_is_a_model_like_any_other(channel: grpc.aio.Channel) -> None:
    models = ModelServiceStub(channel)
    _ = [event async for event in models.LoadModel(model_service_pb2.LoadModelRequest(model="tiny"))]
    found = {each.id: each for each in (await models.ListModels(model_service_pb2.ListModelsRequest())).models}["tiny"]
    assert found.residency.state == models_pb2.MODEL_STATE_READY
    assert found.residency.device_bytes > 50_000_000
    assert {"cloning", "streaming", "batching"} <= set(found.capabilities)
    unloaded = (await models.UnloadModel(model_service_pb2.UnloadModelRequest(model="tiny"))).model
    assert unloaded.residency.state == models_pb2.MODEL_STATE_UNLOADED


async def test_the_shipped_xtts_states_its_licence_first(channel: grpc.aio.Channel) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match="non-commercial") as caught:
        await heard(VoiceServiceStub(channel).Synthesize(request("Hello.", model="xtts")))
    assert reason(caught.value) == "MODEL_UNAVAILABLE"
