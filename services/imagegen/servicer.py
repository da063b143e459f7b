"""`ImageService` on the wire."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace

import grpc

from atelier.imagegen.v1 import image_service_pb2, image_service_pb2_grpc
from servekit import context as serving
from servekit.chunks import CHUNK_BYTES
from servekit.events import EventStream, produced
from services.imagegen.convert import to_request
from services.imagegen.domain import GenerationRequest, Priority
from services.imagegen.events import Event
from services.imagegen.generate import Generate
from services.imagegen.responses import to_responses


class ImageServicer(image_service_pb2_grpc.ImageServiceServicer):
    """Converts in, generates, converts out."""

    def __init__(self, generate: Generate, chunk_bytes: int = CHUNK_BYTES) -> None:
        self._generate = generate
        self._chunk_bytes = chunk_bytes

    async def Generate(
        self,
        request: image_service_pb2.GenerateRequest,
        context: "grpc.aio.ServicerContext[image_service_pb2.GenerateRequest, image_service_pb2.GenerateResponse]",
    ) -> AsyncIterator[image_service_pb2.GenerateResponse]:
        """Make pictures and stream what happens."""
        call = serving.current()
        wanted, deadline = _capped(await self._converted(request), call.priority_ceiling), call.deadline

        async def produce(stream: EventStream[Event]) -> None:
            await self._generate(wanted, stream, deadline)

        async with aclosing(produced(produce)) as events:
            async for event in events:
                for response in to_responses(event, self._chunk_bytes):
                    yield response

    @staticmethod
    async def _converted(request: image_service_pb2.GenerateRequest) -> GenerationRequest:
        """Decoding a picture takes long enough to stall every other call, so that happens in a thread."""
        return await asyncio.to_thread(to_request, request) if request.HasField("source") else to_request(request)


def _capped(request: GenerationRequest, ceiling: str) -> GenerationRequest:
    return replace(request, priority_ceiling=Priority[ceiling.upper()]) if ceiling else request
