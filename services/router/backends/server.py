"""One server behind the router: its channel, its health, its models."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from atelier.models.v1 import model_service_pb2, model_service_pb2_grpc, models_pb2
from atelier.router.v1 import router_service_pb2
from servekit.errors import DeadlineExceeded
from services.router.backends.failures import translate
from services.router.domain import Model, Replica, ReplicaLost, Weights
from services.router.metrics import RouterMetrics

Backend = router_service_pb2.Backend

_MISSES = 2
"""Looks left unanswered in a row after which a healthy server is taken for gone, until it answers again.

Health is told by the event loop, whatever the device does. The loop of a busy server may be late once, when something
holds it up for a moment; one that is silent at every look would keep callers waiting as well.
"""

_WEIGHTS = {
    models_pb2.MODEL_STATE_READY: Weights.READY,
    models_pb2.MODEL_STATE_QUEUED: Weights.LOADING,
    models_pb2.MODEL_STATE_LOADING: Weights.LOADING,
    models_pb2.MODEL_STATE_HOST: Weights.HOST,
    models_pb2.MODEL_STATE_UNLOADING: Weights.UNLOADED,
    models_pb2.MODEL_STATE_UNLOADED: Weights.UNLOADED,
}


class Server:
    """A server and what it last said of itself."""

    def __init__(
        self, service: str, name: str, address: str, channel: grpc.aio.Channel, metrics: RouterMetrics
    ) -> None:
        self.name = name
        self.address = address
        self.channel = channel
        self._service = service
        self._metrics = metrics
        self._errors = metrics.backend_errors
        self._errors.labels(name, "UNAVAILABLE")  # at zero: an increase is seen only in a series that is there
        metrics.retries.labels(name)
        self._up = metrics.backend_up.labels(name)
        self._in_flight = metrics.backend_in_flight.labels(name)
        self._health = health_pb2_grpc.HealthStub(channel)
        self._models_stub = model_service_pb2_grpc.ModelServiceStub(channel)
        self._state = router_service_pb2.BACKEND_STATE_UNREACHABLE
        self._status = model_service_pb2.GetStatusResponse()
        self._models: Sequence[models_pb2.Model] = ()
        self._replica = Replica(name)
        self._probes = 0
        self._missed = 0
        self._overdue = False
        self._words = 0
        self.in_flight = 0

    @property
    def serving(self) -> bool:
        """Whether it was healthy when last asked."""
        return self._state == router_service_pb2.BACKEND_STATE_SERVING

    @property
    def answering(self) -> bool:
        """Whether it answered the last look in time, and has let no call end without a word since then."""
        return not (self._missed or self._overdue)

    @property
    def idle(self) -> bool:
        """Whether nothing is under way, so that closing the channel cancels nothing."""
        return not (self.in_flight or self._probes)

    def leave(self) -> None:
        """Note that it is not among the servers any more: what it still does is seen in no metric."""
        self._metrics.forget_backend(self.name)

    def heard(self) -> None:
        """Note that it said something."""
        self._words += 1

    @contextmanager
    def lease(self) -> Iterator["Server"]:
        """Count a call to the server; raises what a failed one means instead of gRPC's own error.

        A server that is lost counts as unreachable until the next look at it. One that let a deadline pass, and was not
        `heard` since the call began, is not `answering` until the next look that it answers.
        """
        words = self._words
        self.in_flight += 1
        self._in_flight.inc()
        try:
            yield self
        except grpc.aio.AioRpcError as error:
            self._errors.labels(self.name, error.code().name).inc()
            meaning = translate(error, self.name)
            if isinstance(meaning, ReplicaLost):
                self._state = router_service_pb2.BACKEND_STATE_UNREACHABLE
            self._overdue |= isinstance(meaning, DeadlineExceeded) and words == self._words
            raise meaning from error
        finally:
            self.in_flight -= 1
            self._in_flight.dec()

    async def probe(self, timeout_s: float, *, describe: bool = True) -> None:
        """Ask the server how it is; whatever goes wrong is its state.

        What it has is asked if `describe` is set, and whenever it turned healthy.
        A healthy server that answers too late may be busy: it is gone once it was late `_MISSES` times in a row. Looks
        at the same time count as one.
        """
        self._probes += 1
        missed = self._missed
        try:
            self._state = await self._look(timeout_s, describe=describe)
            self._missed, self._overdue = 0, False
            self.heard()
        except grpc.aio.AioRpcError as error:
            self._missed = missed + 1
            late = error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            if not (late and self.serving and self._missed < _MISSES):
                self._forget()
        finally:
            self._probes -= 1
        self._up.set(self.serving)

    async def _look(self, timeout_s: float, *, describe: bool) -> router_service_pb2.BackendState.ValueType:
        answer = await self._health.Check(health_pb2.HealthCheckRequest(), timeout=timeout_s)
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            return router_service_pb2.BACKEND_STATE_NOT_SERVING
        if describe or not self.serving:
            await self._describe_itself(timeout_s)
        return router_service_pb2.BACKEND_STATE_SERVING

    def _forget(self) -> None:
        self._state = router_service_pb2.BACKEND_STATE_UNREACHABLE
        self._status.Clear()
        self._models = ()

    async def _describe_itself(self, timeout_s: float) -> None:
        self._status, listing = await asyncio.gather(
            self._models_stub.GetStatus(model_service_pb2.GetStatusRequest(), timeout=timeout_s),
            self._models_stub.ListModels(model_service_pb2.ListModelsRequest(), timeout=timeout_s),
        )
        self._models = listing.models
        self._replica = _replica(self.name, self._status, self._models)

    def replica(self) -> Replica:
        """Return what placement needs to know."""
        return replace(self._replica, serving=self.serving, answering=self.answering, in_flight=self.in_flight)

    def describe(self) -> Backend:
        """Return what the operator sees."""
        return Backend(
            name=self.name,
            service=self._service,
            address=self.address,
            state=self._state,
            device=self._status.device if self._status.HasField("device") else None,
            models=self._models,
            queued=self._status.queued,
            queue_eta_seconds=self._status.queue_eta_seconds,
            version=self._status.version,
        )


def _replica(name: str, status: model_service_pb2.GetStatusResponse, models: Sequence[models_pb2.Model]) -> Replica:
    device = status.device
    free = 1 - device.used_bytes / device.budget_bytes if device.budget_bytes else 1.0
    states = {model.id: _WEIGHTS.get(model.residency.state) for model in models}
    return Replica(
        name=name,
        models={model.id: _model(model) for model in models},
        weights={model: weights for model, weights in states.items() if weights is not None},
        queue_eta_s=status.queue_eta_seconds,
        free_share=min(max(free, 0.0), 1.0),
    )


def _model(model: models_pb2.Model) -> Model:
    return Model(
        id=model.id,
        strengths=model.strengths,
        tags=tuple(model.tags),
        capabilities=frozenset(model.capabilities),
        is_default=model.is_default,
    )
