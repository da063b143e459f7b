"""ModelService on a real server, over a residency whose loader moves nothing but counts."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from prometheus_client import CollectorRegistry

from atelier.models.v1 import model_service_pb2 as wire
from atelier.models.v1 import models_pb2
from atelier.models.v1.model_service_pb2_grpc import ModelServiceStub
from servekit.admission import Admission
from servekit.app import App
from servekit.device import CurrentDevice, DevicePlan
from servekit.model_service import WATCH_METHOD, ModelServicer
from servekit.residency import Loaded, ModelSpec, OnProgress, Residency
from servekit.settings import ServerSettings
from servekit.testing import local
from servekit.worker import CancelToken, DeviceWorker

if TYPE_CHECKING:  # in the type stubs only
    from atelier.models.v1.model_service_pb2_grpc import ModelServiceAsyncStub

PLAN = DevicePlan(
    kind="cuda",
    device="cuda:0",
    name="NVIDIA H200",
    dtype="bfloat16",
    capability=(9, 0),
    arch_list=("sm_90",),
    threads=4,
    total_bytes=200,
    budget_bytes=100,
    reason="the probe worked",
)
CATALOG = [
    models_pb2.Model(id="flux", display_name="Flux", family="flux", is_default=True),
    models_pb2.Model(id="sdxl", display_name="SDXL"),
    models_pb2.Model(id="sdxl_refined", display_name="SDXL, refined"),
]


class Loader:
    """Loads in ten steps on a real device thread; `go_on` may hold them up."""

    def __init__(self, worker: DeviceWorker) -> None:
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.begun = asyncio.Event()
        self.stopped = asyncio.Event()
        self.fails_with: Exception | None = None
        self._worker = worker

    async def load(self, model_id: str, on_progress: OnProgress, token: CancelToken) -> Loaded[str]:
        self.begun.set()
        token.on_cancel(self.go_on.set)
        token.on_cancel(self.stopped.set)
        for step in range(10):
            await self._worker.run(partial(self._step, on_progress, step), token)
            await self.go_on.wait()
        if self.fails_with:
            raise self.fails_with
        return Loaded(model_id, 60)

    @staticmethod
    def _step(on_progress: OnProgress, step: int, _: CancelToken) -> None:
        on_progress(step / 10)

    async def unload(self, value: str) -> None:
        await self._worker.run(lambda _: None)


@dataclass
class Studio:
    stub: "ModelServiceAsyncStub"
    loader: Loader
    residency: Residency[str]
    admission: Admission
    stop: Callable[[], Awaitable[None]]


@pytest.fixture
async def studio() -> AsyncIterator[Studio]:
    worker = DeviceWorker("device")
    loader = Loader(worker)
    residency = Residency([ModelSpec("flux", 50), ModelSpec("sdxl", 50)], loader, budget_bytes=PLAN.budget_bytes)
    admission = Admission(capacity=1, queue_limit=3)
    servicer = ModelServicer(
        "imagegen",
        "1.2.3",
        CATALOG,
        residency=residency,
        admission=admission,
        device=CurrentDevice(PLAN, lambda _: None),
        weights={"sdxl_refined": "sdxl"},
        libraries={"torch": "2.13.0"},
    )

    async def stop() -> None:
        await residency.close()
        await worker.close()

    app = App(
        local(ServerSettings),
        servicer.register,
        registry=CollectorRegistry(),
        start=worker.start,
        stop=stop,
        lasting=[WATCH_METHOD],
    )
    async with AsyncExitStack() as server:
        address = await server.enter_async_context(app.serving())
        async with grpc.aio.insecure_channel(address) as channel:
            yield Studio(ModelServiceStub(channel), loader, residency, admission, stop=server.aclose)


def reason_of(error: grpc.aio.AioRpcError) -> str:
    status = rpc_status.from_call(error)
    for detail in status.details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return str(info.reason)
    return ""


def watching(studio: Studio) -> AsyncIterator[wire.WatchModelsResponse]:
    return aiter(studio.stub.WatchModels(wire.WatchModelsRequest()))


async def load(studio: Studio, model: str, *, pin: bool = False) -> list[wire.LoadModelResponse]:
    return [event async for event in studio.stub.LoadModel(wire.LoadModelRequest(model=model, pin=pin))]


async def get(studio: Studio, model: str) -> models_pb2.Model:
    return (await studio.stub.GetModel(wire.GetModelRequest(model=model))).model


async def until(studio: Studio, model: str, state: models_pb2.ModelState.ValueType) -> None:
    async for news in studio.stub.WatchModels(wire.WatchModelsRequest()):
        if news.model.id == model and news.model.residency.state == state:
            return


async def test_lists_the_catalog_in_order_with_residency(studio: Studio) -> None:
    await load(studio, "sdxl")
    models = (await studio.stub.ListModels(wire.ListModelsRequest())).models
    assert [model.id for model in models] == ["flux", "sdxl", "sdxl_refined"]
    assert [model.residency.state for model in models] == [
        models_pb2.MODEL_STATE_UNLOADED,
        models_pb2.MODEL_STATE_READY,
        models_pb2.MODEL_STATE_READY,
    ]
    assert models[0].display_name == "Flux"
    assert models[0].residency.device_bytes == 50
    assert (models[1].residency.device_bytes, models[1].residency.measured) == (60, True)
    assert models[1].residency.HasField("last_used")
    assert not models[0].residency.HasField("last_used")


async def test_a_load_streams_its_progress_and_ends_with_the_model(studio: Studio) -> None:
    events = await load(studio, "flux")
    fractions = [event.loading.fraction for event in events[:-1]]
    assert fractions == sorted(fractions)
    assert {event.loading.model for event in events[:-1]} == {"flux"}
    assert events[-1].model.residency.state == models_pb2.MODEL_STATE_READY
    assert events[-1].model.residency.leases == 0


async def test_loading_what_is_there_gives_the_model_alone(studio: Studio) -> None:
    await load(studio, "flux")
    assert [event.WhichOneof("event") for event in await load(studio, "flux")] == ["model"]


async def test_models_that_share_weights_share_the_load(studio: Studio) -> None:
    await load(studio, "sdxl_refined")
    assert (await get(studio, "sdxl")).residency.state == models_pb2.MODEL_STATE_READY


async def test_cancelling_a_load_stops_it(studio: Studio) -> None:
    studio.loader.go_on.clear()
    call = studio.stub.LoadModel(wire.LoadModelRequest(model="flux"))
    await studio.loader.begun.wait()
    call.cancel()
    await studio.loader.stopped.wait()
    await until(studio, "flux", models_pb2.MODEL_STATE_UNLOADED)


async def test_a_load_somebody_else_waits_for_goes_on(studio: Studio) -> None:
    studio.loader.go_on.clear()
    calls = [asyncio.ensure_future(load(studio, "flux")) for _ in range(2)]
    await studio.loader.begun.wait()
    calls[0].cancel()
    await asyncio.wait(calls[:1])
    studio.loader.go_on.set()
    assert (await calls[1])[-1].model.residency.state == models_pb2.MODEL_STATE_READY
    assert not studio.loader.stopped.is_set()


async def test_a_failed_load_tells_its_caller_nothing_but_the_state_why(studio: Studio) -> None:
    studio.loader.fails_with = ValueError("secret path")
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await load(studio, "flux")
    assert failed.value.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in (failed.value.details() or "")
    assert (await get(studio, "flux")).residency.state == models_pb2.MODEL_STATE_FAILED


async def test_a_load_with_pin_keeps_the_model(studio: Studio) -> None:
    await load(studio, "flux", pin=True)
    assert (await get(studio, "flux")).residency.pinned
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await load(studio, "sdxl")
    assert failed.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert reason_of(failed.value) == "DEVICE_OUT_OF_MEMORY"


async def test_pin_and_unpin(studio: Studio) -> None:
    for pinned in (True, False):
        response = await studio.stub.PinModel(wire.PinModelRequest(model="flux", pinned=pinned))
        assert response.model.residency.pinned is pinned
        assert response.model.residency.state == models_pb2.MODEL_STATE_UNLOADED


async def test_unload_frees_the_bytes(studio: Studio) -> None:
    await load(studio, "flux")
    response = await studio.stub.UnloadModel(wire.UnloadModelRequest(model="flux"))
    assert response.model.residency.state == models_pb2.MODEL_STATE_UNLOADED
    assert (await studio.stub.GetStatus(wire.GetStatusRequest())).device.used_bytes == 0


async def test_a_model_in_use_cannot_be_unloaded(studio: Studio) -> None:
    async with studio.residency.acquire("flux"):
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await studio.stub.UnloadModel(wire.UnloadModelRequest(model="flux"))
    assert failed.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert reason_of(failed.value) == "FAILED_PRECONDITION"


@pytest.mark.parametrize(
    ("model", "code", "reason"),
    [
        ("", grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST"),
        ("fluxx", grpc.StatusCode.NOT_FOUND, "UNKNOWN_MODEL"),
        ("x" * 10_000, grpc.StatusCode.NOT_FOUND, "UNKNOWN_MODEL"),
    ],
)
@pytest.mark.parametrize("method", ["GetModel", "LoadModel", "UnloadModel", "PinModel"])
async def test_bad_ids(studio: Studio, method: str, model: str, code: grpc.StatusCode, reason: str) -> None:
    call = getattr(studio.stub, method)(getattr(wire, f"{method}Request")(model=model))
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await (call.read() if method == "LoadModel" else call)
    assert failed.value.code() is code
    assert reason_of(failed.value) == reason


async def test_status_tells_device_memory_and_queue(studio: Studio) -> None:
    await load(studio, "flux")
    async with studio.admission.admit("flux"):
        status = await studio.stub.GetStatus(wire.GetStatusRequest())
    assert (status.service, status.version) == ("imagegen", "1.2.3")
    assert (status.queued, status.running) == (0, 1)
    assert status.libraries == {"torch": "2.13.0"}
    assert status.uptime_seconds > 0
    assert status.device == models_pb2.Device(
        kind="cuda",
        id="cuda:0",
        name="NVIDIA H200",
        dtype="bfloat16",
        reason="the probe worked",
        capability="9.0",
        architectures=["sm_90"],
        threads=4,
        total_bytes=200,
        budget_bytes=100,
        used_bytes=60,
    )


async def test_a_watch_begins_with_every_model_and_then_sends_changes_only(studio: Studio) -> None:
    watch = watching(studio)
    first = [(await anext(watch)).model.id for _ in CATALOG]
    assert first == ["flux", "sdxl", "sdxl_refined"]
    await load(studio, "flux")
    states = list[int]()
    while not states or states[-1] != models_pb2.MODEL_STATE_READY:
        news = await anext(watch)
        assert news.model.id == "flux"
        states.append(news.model.residency.state)
    assert models_pb2.MODEL_STATE_LOADING in states


async def test_a_watch_ends_when_the_server_does(studio: Studio) -> None:
    watch = watching(studio)
    for _ in CATALOG:
        await anext(watch)
    stopping = asyncio.ensure_future(studio.stop())
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        await anext(watch)
    await stopping
    assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
