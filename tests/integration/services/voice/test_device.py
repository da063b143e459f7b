"""The device that XTTS chooses is voice's: its figures are told, and liveness asks it."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import torch

from atelier.models.v1 import model_service_pb2
from atelier.models.v1.model_service_pb2_grpc import ModelServiceStub
from servekit.app import App
from servekit.testing import local, serve
from services.voice import bootstrap
from services.voice.settings import VoiceSettings


@pytest.fixture
def app(folder: Path, tmp_path: Path) -> App:
    settings = local(
        VoiceSettings,
        port=0,
        warm=(),
        catalog_file=folder / "voices.toml",
        models_dir=folder,
        voices_dir=tmp_path / "voices",
        xtts_dtype="float32",
        xtts_device="cpu",
    )
    return bootstrap.build(settings)


@pytest.fixture
async def models(app: App) -> AsyncIterator[Any]:
    async with serve(app) as channel:
        yield ModelServiceStub(channel)


async def load(models: Any) -> None:
    assert [event async for event in models.LoadModel(model_service_pb2.LoadModelRequest(model="tiny"))]


async def alive(app: App) -> bool:
    """Let the heart beat once, and return what liveness is told of it."""
    told: list[bool] = []
    assert app._heartbeat is not None
    await app._heartbeat._once(told.append)
    return told[-1]


def reason(app: App) -> str:
    (info,) = [each for each in app._registry.collect() if each.name == "voice_device"]
    return info.samples[0].labels["reason"]


async def test_what_xtts_chose_is_told_with_its_reason(app: App, models: Any) -> None:
    assert reason(app) == "engines run on the CPU unless they find a GPU of use"
    await load(models)
    assert reason(app) == "asked for the CPU"
    assert app._registry.get_sample_value("voice_engine_mode", {"model": "tiny", "mode": "cpu"}) == 1
    status = await models.GetStatus(model_service_pb2.GetStatusRequest())
    assert (status.device.reason, status.device.dtype) == (reason(app), "float32")
    assert status.device.budget_bytes == app._registry.get_sample_value("voice_budget_bytes")


async def test_the_device_thread_is_measured(app: App, models: Any) -> None:
    """A job is counted once the thread has left it, which is certain only when the next one is done."""

    def read(name: str) -> float:
        value = app._registry.get_sample_value(f"voice_device_{name}")
        assert value is not None
        return value

    busy_s, jobs = read("busy_seconds_total"), read("jobs_total")
    await load(models)
    await models.UnloadModel(model_service_pb2.UnloadModelRequest(model="tiny"))
    assert read("busy_seconds_total") > busy_s
    assert read("jobs_total") > jobs
    assert read("queue_depth") >= 0


async def test_liveness_asks_the_device_once_an_engine_has_chosen_it(
    app: App, models: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    with monkeypatch.context() as broken:
        broken.setattr(torch, "ones", lost)
        assert await alive(app)
    await load(models)
    assert await alive(app)
    with monkeypatch.context() as broken:
        broken.setattr(torch, "ones", lost)
        assert not await alive(app)
    assert await alive(app)
