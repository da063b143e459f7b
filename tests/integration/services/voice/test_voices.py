"""Voices as resources, and the models behind them."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import numpy as np
import pytest

from atelier.models.v1 import model_service_pb2, models_pb2
from atelier.models.v1.model_service_pb2_grpc import ModelServiceStub
from atelier.voice.v1 import voice_service_pb2 as wire
from servekit.context import CALLER_KEY
from services.voice.domain import Voice
from services.voice.store import DiskVoices
from tests.integration.services.voice.client import heard, reason, request, violated

if TYPE_CHECKING:
    from atelier.voice.v1.voice_service_pb2_grpc import VoiceServiceAsyncStub


CREATED = datetime(2026, 11, 21, 9, tzinfo=UTC)


async def clip(
    voice: "VoiceServiceAsyncStub", text: str = "I agree that my voice may be copied here, and that I may delete it."
) -> bytes:
    """Return a recording of espeak."""
    return (await heard(voice.Synthesize(request(text)))).data


async def create(*parts: wire.CreateVoiceRequest) -> AsyncIterator[wire.CreateVoiceRequest]:
    for part in parts:
        yield part


def clip_config(**values: object) -> wire.CreateVoiceRequest:
    return wire.CreateVoiceRequest(config=wire.CreateVoiceConfig(**values))  # type: ignore[arg-type]


async def test_voices_are_listed_by_id(voice: "VoiceServiceAsyncStub") -> None:
    listed = (await voice.ListVoices(wire.ListVoicesRequest())).voices
    ids = [each.id for each in listed]
    assert len(ids) > 200
    assert ids == sorted(ids)


async def test_voices_of_a_language(voice: "VoiceServiceAsyncStub") -> None:
    listed = (await voice.ListVoices(wire.ListVoicesRequest(language="pt"))).voices
    assert {"espeak/pt", "espeak/pt-br", "espeak/pt-br+female"} <= {each.id for each in listed}
    assert all(any(tag.startswith("pt") for tag in each.languages) for each in listed)


async def test_a_voice_by_id(voice: "VoiceServiceAsyncStub") -> None:
    found = (await voice.GetVoice(wire.GetVoiceRequest(voice="espeak/en-us"))).voice
    assert (found.display_name, found.model, found.gender) == ("English (America)", "espeak", "male")


async def test_an_unknown_voice_names_the_nearest(voice: "VoiceServiceAsyncStub") -> None:
    with pytest.raises(grpc.aio.AioRpcError, match="espeak/en-us") as caught:
        await voice.GetVoice(wire.GetVoiceRequest(voice="espeak/en-uz"))
    assert reason(caught.value) == "UNKNOWN_VOICE"


async def test_a_good_clip_needs_a_model_that_is_there(voice: "VoiceServiceAsyncStub") -> None:
    data = await clip(voice)
    parts = create(
        clip_config(id="anna", consent=True),
        *(wire.CreateVoiceRequest(clip=data[at : at + 60_000]) for at in range(0, len(data), 60_000)),
    )
    with pytest.raises(grpc.aio.AioRpcError, match="COQUI_TOS_AGREED") as caught:
        await voice.CreateVoice(parts)
    assert (caught.value.code(), reason(caught.value)) == (grpc.StatusCode.FAILED_PRECONDITION, "MODEL_UNAVAILABLE")


async def test_a_bad_clip_and_config_are_told_together(voice: "VoiceServiceAsyncStub") -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await voice.CreateVoice(create(clip_config(id="An na"), wire.CreateVoiceRequest(clip=await clip(voice, "Hi."))))
    assert violated(caught.value) == ["config.id", "config.consent", "clip"]


async def test_built_in_voices_cannot_be_deleted(voice: "VoiceServiceAsyncStub") -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await voice.DeleteVoice(wire.DeleteVoiceRequest(voice="espeak/en-us"))
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED


@pytest.fixture
def kept(tmp_path: Path) -> DiskVoices:
    """Return the voices of the server, of which Ann has two, one of them shared."""
    store = DiskVoices(tmp_path / "voices", most=9)
    for name, shared in (("ann-own", False), ("ann-for-all", True)):
        made = Voice(name, name.title(), "espeak", ("en",), native=name, created=CREATED, shared=shared)
        store.add("ann", made, {"x": np.zeros(3, np.float32)}, consent=True)
    return store


def caller(name: str) -> tuple[tuple[str, str], ...]:
    return ((CALLER_KEY, name),)


async def cloned(voice: "VoiceServiceAsyncStub", who: str) -> list[str]:
    listed = await voice.ListVoices(wire.ListVoicesRequest(model="espeak"), metadata=caller(who))
    return [each.id for each in listed.voices if each.cloned]


async def test_a_kept_voice_is_told_whole(voice: "VoiceServiceAsyncStub", kept: DiskVoices) -> None:
    found = (await voice.GetVoice(wire.GetVoiceRequest(voice="ann-own"), metadata=caller("ann"))).voice
    assert (found.display_name, found.model, list(found.languages)) == ("Ann-Own", "espeak", ["en"])
    assert (found.cloned, found.shared, found.created.ToDatetime(UTC)) == (True, False, CREATED)


async def test_each_caller_sees_his_own_voices_and_the_shared_ones(
    voice: "VoiceServiceAsyncStub", kept: DiskVoices
) -> None:
    assert await cloned(voice, "ann") == ["ann-for-all", "ann-own"]
    assert await cloned(voice, "bob") == await cloned(voice, "") == ["ann-for-all"]


@pytest.mark.parametrize("method", ["GetVoice", "DeleteVoice", "Synthesize"])
async def test_what_is_not_ones_own_is_not_there(voice: "VoiceServiceAsyncStub", kept: DiskVoices, method: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        if method == "Synthesize":
            await heard(voice.Synthesize(request("Hello.", voice="ann-own"), metadata=caller("bob")))
        else:
            message = getattr(wire, f"{method}Request")(voice="ann-own")
            await getattr(voice, method)(message, metadata=caller("bob"))
    assert reason(caught.value) == "UNKNOWN_VOICE"
    assert kept.find("ann", "ann-own") is not None


async def test_a_shared_voice_is_deleted_by_its_maker_alone(voice: "VoiceServiceAsyncStub", kept: DiskVoices) -> None:
    wanted = wire.DeleteVoiceRequest(voice="ann-for-all")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await voice.DeleteVoice(wanted, metadata=caller("bob"))
    assert reason(caught.value) == "PERMISSION_DENIED"
    await voice.DeleteVoice(wanted, metadata=caller("ann"))
    assert await cloned(voice, "bob") == []


async def test_a_mistyped_voice_of_ones_own_is_named(voice: "VoiceServiceAsyncStub", kept: DiskVoices) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match="ann-own"):
        await voice.GetVoice(wire.GetVoiceRequest(voice="an-own"), metadata=caller("ann"))


async def test_the_engine_is_a_model_like_any_other(channel: grpc.aio.Channel, voice: "VoiceServiceAsyncStub") -> None:
    models = ModelServiceStub(channel)
    model = (await models.ListModels(model_service_pb2.ListModelsRequest())).models[0]
    assert (model.id, model.is_default) == ("espeak", True)
    assert model.residency.state == models_pb2.MODEL_STATE_READY
    assert {"streaming", "word_times", "ssml"} <= set(model.capabilities)


async def test_an_unloaded_engine_is_loaded_by_the_next_request(
    channel: grpc.aio.Channel, voice: "VoiceServiceAsyncStub"
) -> None:
    models = ModelServiceStub(channel)
    unloaded = (await models.UnloadModel(model_service_pb2.UnloadModelRequest(model="espeak"))).model
    assert unloaded.residency.state == models_pb2.MODEL_STATE_UNLOADED
    found = await heard(voice.Synthesize(request("Hello again.")))
    assert "loading" in found.kinds
    assert found.summary.audio_seconds > 0.3
