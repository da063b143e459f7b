"""Engines come and go by the same rules as the models of pictures."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest

from atelier.models.v1 import model_service_pb2 as wire
from atelier.models.v1 import models_pb2
from atelier.models.v1.model_service_pb2_grpc import ModelServiceStub
from atelier.voice.v1.voice_service_pb2_grpc import VoiceServiceStub
from servekit.device.host import usable_memory
from servekit.testing import local, serve
from services.voice.bootstrap import build
from services.voice.settings import VoiceSettings
from tests.contract.services.voice.piper_voices import make_voice
from tests.integration.services.voice.client import heard, reason, request
from tests.integration.services.voice.test_piper import ROW

if TYPE_CHECKING:
    from atelier.models.v1.model_service_pb2_grpc import ModelServiceAsyncStub

Open = Callable[..., AbstractAsyncContextManager[grpc.aio.Channel]]
State = models_pb2.ModelState


@pytest.fixture
def studio(tmp_path: Path) -> Open:
    """Return what opens a server with espeak and Piper."""

    @asynccontextmanager
    async def opened(**settings: object) -> AsyncIterator[grpc.aio.Channel]:
        make_voice(tmp_path / "piper")
        catalog = tmp_path / "mine.toml"
        catalog.write_text(ROW.format(source=tmp_path / "piper", default="piper/en_US-tiny-low", more=""))
        own = {"port": 0, "catalog_file": catalog, "voices_dir": tmp_path / "voices"}
        async with serve(build(local(VoiceSettings, **own, **settings))) as channel:
            yield channel

    return opened


async def until_state(models: "ModelServiceAsyncStub", model: str, state: "State.ValueType") -> None:
    async with asyncio.timeout(20):
        call = models.WatchModels(wire.WatchModelsRequest())
        async for event in call:
            if (event.model.id, event.model.residency.state) == (model, state):
                break
        call.cancel()


async def state_of(models: "ModelServiceAsyncStub", model: str) -> "State.ValueType":
    return (await models.GetModel(wire.GetModelRequest(model=model))).model.residency.state


async def test_an_idle_engine_is_unloaded_and_a_pinned_one_is_not(studio: Open) -> None:
    async with studio(idle_timeout_s=0.2) as channel:
        models = ModelServiceStub(channel)
        await models.PinModel(wire.PinModelRequest(model="espeak", pinned=True))
        await heard(VoiceServiceStub(channel).Synthesize(request("Hello.", model="piper")))
        await until_state(models, "piper", models_pb2.MODEL_STATE_UNLOADED)
        assert await state_of(models, "espeak") == models_pb2.MODEL_STATE_READY
        await models.PinModel(wire.PinModelRequest(model="espeak", pinned=False))
        await until_state(models, "espeak", models_pb2.MODEL_STATE_UNLOADED)


async def test_the_memory_fraction_is_the_budget_and_an_engine_makes_room_for_another(studio: Open) -> None:
    """Each fits, both do not: they take about 40 and 60 MB and may take 105, Piper's estimate being 100."""
    async with studio(memory_fraction=105e6 / usable_memory()) as channel:
        models = ModelServiceStub(channel)
        device = (await models.GetStatus(wire.GetStatusRequest())).device
        assert device.budget_bytes == pytest.approx(105e6, rel=0.01)
        await heard(VoiceServiceStub(channel).Synthesize(request("Hello.", model="piper")))
        assert await state_of(models, "espeak") == models_pb2.MODEL_STATE_UNLOADED
        assert await state_of(models, "piper") == models_pb2.MODEL_STATE_READY


async def test_an_engine_that_can_never_fit_is_refused(studio: Open) -> None:
    async with studio(memory_fraction=60e6 / usable_memory()) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await heard(VoiceServiceStub(channel).Synthesize(request("Hello.", model="piper")))
    assert reason(caught.value) == "DEVICE_OUT_OF_MEMORY"
