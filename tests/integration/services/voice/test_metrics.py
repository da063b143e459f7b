"""Every metric of speech moves when a real server does what it measures."""

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from prometheus_client import CollectorRegistry

from atelier.models.v1 import model_service_pb2
from atelier.models.v1.model_service_pb2_grpc import ModelServiceStub
from atelier.voice.v1 import voice_service_pb2 as wire
from atelier.voice.v1.voice_service_pb2_grpc import VoiceServiceStub
from servekit.app import App
from servekit.testing import local, serve
from services.voice.bootstrap import build
from services.voice.settings import VoiceSettings
from tests.contract.services.voice.piper_voices import make_voice
from tests.integration.services.voice.client import config, heard, request, until, until_idle
from tests.integration.services.voice.test_piper import ROW

TEXT = "Good evening. It is late."


@pytest.fixture
def app(tmp_path: Path) -> App:
    """Return a server whose Piper voices are silent, with espeak to take over from the English one."""
    make_voice(tmp_path / "piper", level=0.0)
    make_voice(tmp_path / "piper", "xx-mute-low", level=0.0)
    catalog = tmp_path / "mine.toml"
    row = ROW.format(source=tmp_path / "piper", default="piper/en_US-tiny-low", more='fallback = "espeak"')
    catalog.write_text(row)
    return build(local(VoiceSettings, port=0, catalog_file=catalog, voices_dir=tmp_path / "voices"))


@pytest.fixture
async def channel(app: App) -> AsyncIterator[grpc.aio.Channel]:
    async with serve(app) as channel:
        yield channel


class Gauges:
    """Reads the registry of a server."""

    def __init__(self, app: App) -> None:
        self._registry: CollectorRegistry = app._registry

    def __call__(self, name: str, **labels: str) -> float:
        return self._registry.get_sample_value(name, labels) or 0.0


async def test_speech_is_measured(app: App, channel: grpc.aio.Channel) -> None:
    read = Gauges(app)
    found = await heard(VoiceServiceStub(channel).Synthesize(request(TEXT)))
    for histogram in ("voice_first_audio_seconds", "voice_real_time_factor", "voice_queue_wait_seconds"):
        assert read(f"{histogram}_count", model="espeak") == 1, histogram
    assert 0 < read("voice_first_audio_seconds_sum", model="espeak") <= found.summary.first_audio_seconds
    assert read("voice_real_time_factor_sum", model="espeak") == pytest.approx(found.summary.real_time_factor)
    assert read("voice_characters_total", model="espeak") == len(TEXT)
    assert read("voice_sentences_total", model="espeak") == 2
    assert read("voice_audio_seconds_total", model="espeak") == pytest.approx(found.summary.audio_seconds)
    assert read("voice_underruns_total", model="espeak") == 0


async def test_waiting_for_text_is_not_speaking(app: App, channel: grpc.aio.Channel) -> None:
    """The seconds of a stage are those that the caller is told."""
    call = VoiceServiceStub(channel).SynthesizeStream()
    await call.write(wire.SynthesizeStreamRequest(config=config()))
    await call.write(wire.SynthesizeStreamRequest(text=TEXT))
    events = aiter(call)
    await until(events, "chunk")
    await call.done_writing()
    told = {each.stage: each.seconds for each in (await until(events, "summary")).summary.stages}
    measured = Gauges(app)("voice_stage_seconds_sum", model="espeak", stage="speak")
    assert measured == pytest.approx(told["speak"])


async def test_a_fallback_is_counted_with_its_cause(app: App, channel: grpc.aio.Channel) -> None:
    read = Gauges(app)
    await heard(VoiceServiceStub(channel).Synthesize(request(TEXT, model="piper")))
    for remedy in ("next_seed", "fallback_engine"):
        assert read("voice_retries_total", model="piper", cause="silent", remedy=remedy) == 2
    assert read("voice_rejections_total", model="piper", cause="silent") == 0


async def test_a_rejection_is_counted(app: App, channel: grpc.aio.Channel) -> None:
    """espeak does not speak the language of this voice, so nobody takes over."""
    with pytest.raises(grpc.aio.AioRpcError):
        await heard(VoiceServiceStub(channel).Synthesize(request(TEXT, voice="piper/xx-mute-low")))
    read = Gauges(app)
    assert read("voice_rejections_total", model="piper", cause="silent") == 1
    assert read("voice_retries_total", model="piper", cause="silent", remedy="fallback_engine") == 0


async def test_what_was_spoken_counts_also_when_the_caller_hangs_up(app: App, channel: grpc.aio.Channel) -> None:
    read = Gauges(app)
    call = VoiceServiceStub(channel).Synthesize(request(TEXT * 1000))
    await until(aiter(call), "chunk")
    call.cancel()
    await until_idle(channel)
    assert 0 < read("voice_characters_total", model="espeak") < 1000 * len(TEXT)
    assert read("voice_audio_seconds_total", model="espeak") > 0
    assert read("voice_first_audio_seconds_count", model="espeak") == 1


async def test_engine_and_device_are_told(app: App, channel: grpc.aio.Channel) -> None:
    (device,) = [
        sample.labels
        for metric in app._registry.collect()
        for sample in metric.samples
        if sample.name == "voice_device_info"
    ]
    assert (device["kind"], bool(device["reason"])) == ("cpu", True)
    models = ModelServiceStub(channel)
    assert Gauges(app)("voice_model_resident_bytes", model="espeak", tier="device") > 1_000_000
    await models.UnloadModel(model_service_pb2.UnloadModelRequest(model="espeak"))
    assert Gauges(app)("voice_model_resident_bytes", model="espeak", tier="device") == 0
