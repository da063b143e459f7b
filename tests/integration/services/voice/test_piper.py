"""A real server with espeak, and with Piper as a user adds it: a row of his own and a folder of voices."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest

from atelier.models.v1 import model_service_pb2, models_pb2
from atelier.models.v1.model_service_pb2_grpc import ModelServiceStub
from atelier.voice.v1 import voice_service_pb2 as wire
from atelier.voice.v1.voice_service_pb2_grpc import VoiceServiceStub
from servekit.testing import local, serve
from services.voice.bootstrap import build
from services.voice.catalog import CatalogError
from services.voice.settings import VoiceSettings
from tests.contract.services.voice.piper_voices import make_voice
from tests.integration.services.voice.client import heard, reason, request

ROW = """
[[model]]
id = "piper"
display_name = "Piper"
family = "piper"
source = "{source}"
license = "MIT"
strengths = "A neural voice of your own choice."
default_voice = "{default}"
max_characters = 300
bytes = 100_000_000
{more}
"""

Open = Callable[..., AbstractAsyncContextManager[grpc.aio.Channel]]


@pytest.fixture
def studio(tmp_path: Path) -> Open:
    """Return what opens a server with one Piper voice of a given loudness."""

    @asynccontextmanager
    async def opened(
        level: float = 0.3, default: str = "piper/en_US-tiny-low", more: str = ""
    ) -> AsyncIterator[grpc.aio.Channel]:
        make_voice(tmp_path / "piper", level=level)
        catalog = tmp_path / "mine.toml"
        catalog.write_text(ROW.format(source=tmp_path / "piper", default=default, more=more))
        settings = local(VoiceSettings, port=0, catalog_file=catalog, voices_dir=tmp_path / "voices")
        async with serve(build(settings)) as channel:
            yield channel

    return opened


async def test_a_users_own_voice_speaks(studio: Open) -> None:
    async with studio() as channel:
        voice = VoiceServiceStub(channel)
        listed = (await voice.ListVoices(wire.ListVoicesRequest(model="piper"))).voices
        assert [(each.id, list(each.languages)) for each in listed] == [("piper/en_US-tiny-low", ["en-us"])]
        found = await heard(voice.Synthesize(request("Hello. And hello again.", {"pitch": 1.5}, model="piper")))
        assert (found.summary.voice, found.summary.sentences, found.header.sample_rate) == (listed[0].id, 2, 16000)
        assert [each.field for each in found.summary.adjustments] == ["config.audio.pitch"]
        assert "loading" in found.kinds
        assert 0.25 < np.abs(found.samples()).max() < 0.35


async def test_it_is_loaded_and_unloaded_like_any_model(studio: Open) -> None:
    async with studio() as channel:
        models = ModelServiceStub(channel)
        async for _ in models.LoadModel(model_service_pb2.LoadModelRequest(model="piper")):
            pass
        loaded = (await models.GetModel(model_service_pb2.GetModelRequest(model="piper"))).model
        assert loaded.residency.measured
        assert loaded.residency.device_bytes > 10_000_000
        unloaded = (await models.UnloadModel(model_service_pb2.UnloadModelRequest(model="piper"))).model
        assert unloaded.residency.state == models_pb2.MODEL_STATE_UNLOADED


async def test_a_silent_voice_is_tried_again_and_then_espeak_takes_over(studio: Open) -> None:
    async with studio(level=0.0, more='fallback = "espeak"') as channel:
        found = await heard(VoiceServiceStub(channel).Synthesize(request("Can you hear me? I hope so.", model="piper")))
    remedies = [(each.cause, each.remedy, each.attempt) for each in found.retries]
    assert remedies == [("silent", "next_seed", 1), ("silent", "fallback_engine", 2)] * 2
    assert found.summary.attempts == 5
    assert np.abs(found.samples()).max() > 0.1
    assert found.summary.audio_seconds > 1


@pytest.mark.parametrize(("level", "cause"), [(0.0, "silent"), (3.0, "clipped"), (float("nan"), "non_finite")])
async def test_without_a_fallback_every_attempt_is_told(studio: Open, level: float, cause: str) -> None:
    async with studio(level=level) as channel:
        with pytest.raises(grpc.aio.AioRpcError, match=f"{cause}; {cause}") as caught:
            await heard(VoiceServiceStub(channel).Synthesize(request("Can you hear me?", model="piper")))
    assert (caught.value.code(), reason(caught.value)) == (grpc.StatusCode.FAILED_PRECONDITION, "OUTPUT_REJECTED")


async def test_a_default_voice_that_is_not_there_stops_the_start(studio: Open) -> None:
    with pytest.raises(CatalogError, match=r"default_voice: no voice .*/nobody.*piper/en_US-tiny-low"):
        async with studio(default="piper/nobody"):
            pass
