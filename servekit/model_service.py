"""`atelier.models.v1.ModelService` over a residency: served alike by every server that has models."""

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from difflib import get_close_matches
from typing import Any, TypeAlias

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from atelier.common.v1.types_pb2 import Loading
from atelier.models.v1 import model_service_pb2 as wire
from atelier.models.v1 import model_service_pb2_grpc, models_pb2
from servekit.admission import Admission
from servekit.clock import Clock, SystemClock
from servekit.device import CurrentDevice, DevicePlan
from servekit.errors import InvalidRequest, Violation
from servekit.events import EventStream, produced
from servekit.residency import ModelState, ModelStatus, Residency, UnknownModel

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

SERVICE_NAME = wire.DESCRIPTOR.services_by_name["ModelService"].full_name
WATCH_METHOD = f"/{SERVICE_NAME}/WatchModels"
"""The one method without a natural end: pass it to `App(lasting=...)`."""

_STATES = {
    ModelState.ABSENT: models_pb2.MODEL_STATE_UNLOADED,
    ModelState.QUEUED: models_pb2.MODEL_STATE_QUEUED,
    ModelState.LOADING: models_pb2.MODEL_STATE_LOADING,
    ModelState.READY: models_pb2.MODEL_STATE_READY,
    ModelState.EVICTING: models_pb2.MODEL_STATE_UNLOADING,
    ModelState.HOST: models_pb2.MODEL_STATE_HOST,
    ModelState.FAILED: models_pb2.MODEL_STATE_FAILED,
}


class ModelServicer(model_service_pb2_grpc.ModelServiceServicer):
    """Lists, loads, unloads, pins and watches models; reports device, memory and queue.

    `models` is the catalog, in order and without residency. `weights` names the residency's id of models whose own id
    differs from it, where several models share weights. `libraries` are the versions that matter, by name.
    """

    def __init__(
        self,
        service: str,
        version: str,
        models: Sequence[models_pb2.Model],
        *,
        residency: Residency[Any],
        admission: Admission,
        device: CurrentDevice,
        weights: Mapping[str, str] | None = None,
        libraries: Mapping[str, str] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._service = service
        self._version = version
        self._models = {model.id: model for model in models}
        self._residency = residency
        self._admission = admission
        self._device = device
        self._weights = weights or {}
        self._libraries = libraries or {}
        self._clock = clock or SystemClock()
        self._began = self._clock.monotonic()

    def register(self, server: grpc.aio.Server) -> Sequence[str]:
        """Add the service to `server`; fits `App`."""
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(self, server)
        return [SERVICE_NAME]

    async def ListModels(self, request: wire.ListModelsRequest, context: Context) -> wire.ListModelsResponse:
        """Return every model of the catalog with its residency."""
        statuses = self._statuses()
        return wire.ListModelsResponse(models=[self._model(each, statuses[each]) for each in self._models])

    async def GetModel(self, request: wire.GetModelRequest, context: Context) -> wire.GetModelResponse:
        """Return one model."""
        return wire.GetModelResponse(model=self._current(request.model))

    async def LoadModel(
        self, request: wire.LoadModelRequest, context: Context
    ) -> AsyncIterator[wire.LoadModelResponse]:
        """Load a model; its progress, then the model."""
        weights = self._weights_of(request.model)

        async def load(stream: EventStream[wire.LoadModelResponse]) -> None:
            def on_progress(fraction: float) -> None:
                loading = Loading(model=request.model, fraction=fraction)
                stream.put(wire.LoadModelResponse(loading=loading), droppable=True)

            await self._residency.load(weights, pin=request.pin, on_progress=on_progress)
            stream.put(wire.LoadModelResponse(model=self._current(request.model)))

        async with aclosing(produced(load)) as events:
            async for event in events:
                yield event

    async def UnloadModel(self, request: wire.UnloadModelRequest, context: Context) -> wire.UnloadModelResponse:
        """Free a model's bytes."""
        await self._residency.unload(self._weights_of(request.model))
        return wire.UnloadModelResponse(model=self._current(request.model))

    async def PinModel(self, request: wire.PinModelRequest, context: Context) -> wire.PinModelResponse:
        """Set or clear a pin."""
        weights = self._weights_of(request.model)
        (self._residency.pin if request.pinned else self._residency.unpin)(weights)
        return wire.PinModelResponse(model=self._current(request.model))

    async def GetStatus(self, request: wire.GetStatusRequest, context: Context) -> wire.GetStatusResponse:
        """Return device, memory and queue."""
        memory = self._residency.status()
        return wire.GetStatusResponse(
            service=self._service,
            version=self._version,
            device=device_message(self._device.plan, memory.used_bytes),
            queued=self._admission.queued,
            running=self._admission.running,
            queue_eta_seconds=self._admission.eta_s(),
            uptime_seconds=self._clock.monotonic() - self._began,
            libraries=self._libraries,
            host_bytes=memory.host_used_bytes,
            host_budget_bytes=memory.host_budget_bytes,
        )

    async def WatchModels(
        self, request: wire.WatchModelsRequest, context: Context
    ) -> AsyncIterator[wire.WatchModelsResponse]:
        """Send every model once, then each that changes."""
        sent: dict[str, ModelStatus] = {}
        async with aclosing(self._residency.watch()) as changes:
            async for _ in changes:
                for model_id, status in self._statuses().items():
                    news = replace(status, idle_s=None)  # growing older is no change
                    if sent.get(model_id) != news:
                        sent[model_id] = news
                        yield wire.WatchModelsResponse(model=self._model(model_id, status))

    def _weights_of(self, model_id: str) -> str:
        """Return the residency's id. Raises `InvalidRequest`, `UnknownModel`."""
        if not model_id:
            raise InvalidRequest([Violation("model", "is required: the id of a model, see ListModels")])
        if model_id not in self._models:
            raise UnknownModel("model", model_id, get_close_matches(model_id, self._models, cutoff=0.5))
        return self._weights.get(model_id, model_id)

    def _statuses(self) -> dict[str, ModelStatus]:
        by_weights = {status.model_id: status for status in self._residency.status().models}
        return {model_id: by_weights[self._weights_of(model_id)] for model_id in self._models}

    def _current(self, model_id: str) -> models_pb2.Model:
        return self._model(model_id, self._residency.model_status(self._weights_of(model_id)))

    def _model(self, model_id: str, status: ModelStatus) -> models_pb2.Model:
        model = models_pb2.Model()
        model.CopyFrom(self._models[model_id])
        model.residency.CopyFrom(residency_message(status))
        return model


def residency_message(status: ModelStatus) -> models_pb2.Residency:
    """Return a model's status as the message."""
    message = models_pb2.Residency(
        state=_STATES[status.state],
        device_bytes=status.bytes,
        measured=status.measured,
        host_bytes=status.host_bytes,
        leases=status.leases,
        pinned=status.pinned,
        load_seconds=status.load_s if status.measured else 0.0,
        loading_fraction=status.fraction,
        error=status.error,
    )
    if status.idle_s is not None:
        message.last_used.CopyFrom(_ago(status.idle_s))
    return message


def device_message(plan: DevicePlan, used_bytes: int) -> models_pb2.Device:
    """Return the plan as the message; `used_bytes` of weights are on the device."""
    return models_pb2.Device(
        kind=plan.kind,
        id=plan.device,
        name=plan.name,
        dtype=plan.dtype,
        reason=plan.reason,
        capability="" if plan.capability is None else ".".join(map(str, plan.capability)),
        architectures=plan.arch_list,
        threads=plan.threads,
        total_bytes=plan.total_bytes,
        budget_bytes=plan.budget_bytes,
        used_bytes=used_bytes,
    )


def _ago(seconds: float) -> Timestamp:
    moment = Timestamp()
    moment.FromMicroseconds(int((time.time() - seconds) * 1e6))
    return moment
