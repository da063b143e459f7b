"""Sends image requests to the replicas of a fleet."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import AbstractContextManager, aclosing, contextmanager, suppress
from typing import Any

import grpc

from atelier.imagegen.v1 import image_service_pb2
from atelier.models.v1 import model_service_pb2, model_service_pb2_grpc
from servekit import tracing
from servekit.context import current
from servekit.errors import BackendUnavailable
from services.router.backends.fleet import Fleet
from services.router.backends.server import Server
from services.router.domain import Replica
from services.router.hop import Hop

_GENERATE = "/atelier.imagegen.v1.ImageService/Generate"
_ANY = "anything"
"""A prompt for a request of which only the model matters."""


class ImageFleet:
    """The image servers, as `ports.ImageBackends`."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def replicas(self) -> tuple[Replica, ...]:
        """Return what placement needs to know of every server."""
        return self._fleet.replicas()

    async def refresh(self) -> None:
        """Ask every server now, briefly."""
        await self._fleet.refresh()

    async def explain(self, replica: str, model: str) -> None:
        """Raise why the server would not take a request for `model`, in its own words; return if it would.

        Only the server knows what its catalog has besides the models that it offers, and how to have them offered.
        """
        call = current()
        request = image_service_pb2.GenerateRequest(prompt=_ANY, model=model, dry_run=True)
        async with aclosing(self.generate(replica, request, Hop(call.outgoing_metadata(), call.deadline))) as events:
            async for _ in events:
                pass

    def lease(self, replica: str) -> AbstractContextManager[Server]:
        """Count a request to the server inside the block; raises `ReplicaLost` if it has gone."""
        return self._fleet.lease(replica)

    async def generate(
        self, replica: str, request: image_service_pb2.GenerateRequest, hop: Hop
    ) -> AsyncGenerator[bytes, None]:
        """Stream the events of a generation, encoded; raises `ReplicaLost` if the server goes away."""
        with (
            self.lease(replica) as server,
            tracing.onward(_GENERATE, hop.metadata) as metadata,
        ):
            begin: Any = server.channel.unary_stream(_GENERATE, image_service_pb2.GenerateRequest.SerializeToString)
            call = begin(request, timeout=hop.timeout_s, metadata=metadata)
            try:
                async for event in call:
                    server.heard()
                    yield event
            finally:
                call.cancel()  # does nothing to a call that is over

    @contextmanager
    def warming(self, replica: str, model: str, hop: Hop) -> Iterator[None]:
        """Have the model loaded for as long as the context lasts; failures do not matter."""
        task = asyncio.create_task(self._load(replica, model, hop), name=f"warm-{model}")
        try:
            yield
        finally:
            task.cancel()

    async def _load(self, replica: str, model: str, hop: Hop) -> None:
        request = model_service_pb2.LoadModelRequest(model=model)
        with suppress(grpc.aio.AioRpcError, BackendUnavailable):
            stub = model_service_pb2_grpc.ModelServiceStub(self._fleet.named(replica).channel)
            async for _ in stub.LoadModel(request, timeout=hop.timeout_s, metadata=hop.metadata):
                pass
