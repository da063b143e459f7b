"""An image server without a device. `python -m bench._pictures` prints its address.

A request names the events of progress as its steps, and the milliseconds between two of them as its seed; 0 makes a
picture that is ready at once.
It speaks the real protos on the real runtime, so that what is measured in front of it is all there is to measure.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import uvloop
from prometheus_client import CollectorRegistry

from atelier.common.v1 import types_pb2
from atelier.imagegen.v1 import image_service_pb2, image_service_pb2_grpc
from atelier.models.v1 import model_service_pb2, models_pb2
from servekit.app import App
from servekit.chunks import split
from servekit.settings import ServerSettings

_MODELS = "atelier.models.v1.ModelService"
_PICTURE = bytes(range(256)) * 4096
"""One MiB."""
_CHUNK_BYTES = 256 * 1024
"""As imagegen has it."""

Event = image_service_pb2.GenerateResponse


class Pictures(image_service_pb2_grpc.ImageServiceServicer):
    """Sends the progress and the chunks of a picture of one MiB."""

    async def Generate(self, request: Any, context: Any) -> AsyncIterator[Event]:
        """Stream a picture."""
        for step in range(request.steps):
            if request.seed:
                await asyncio.sleep(request.seed / 1000)
            yield Event(progress=types_pb2.Progress(step=step + 1, total=request.steps))
        digest = hashlib.sha256(_PICTURE).hexdigest()
        yield Event(image=image_service_pb2.ImageHeader(size_bytes=len(_PICTURE), sha256=digest))
        for number, piece in enumerate(split(_PICTURE, _CHUNK_BYTES)):
            yield Event(chunk=types_pb2.Chunk(data=piece, offset=number * len(piece)))
        yield Event(summary=image_service_pb2.Summary(model=request.model, images=1))


async def _list_models(request: Any, context: Any) -> model_service_pb2.ListModelsResponse:
    residency = models_pb2.Residency(state=models_pb2.MODEL_STATE_READY)
    model = models_pb2.Model(id="ready", capabilities=["text_to_image"], is_default=True, residency=residency)
    return model_service_pb2.ListModelsResponse(models=[model])


async def _get_status(request: Any, context: Any) -> model_service_pb2.GetStatusResponse:
    return model_service_pb2.GetStatusResponse(service="imagegen")


def register(server: grpc.aio.Server) -> list[str]:
    """Add the services; of ModelService only what a router asks."""
    image_service_pb2_grpc.add_ImageServiceServicer_to_server(Pictures(), server)
    handlers: dict[str, Any] = {
        "ListModels": grpc.unary_unary_rpc_method_handler(
            _list_models,
            model_service_pb2.ListModelsRequest.FromString,
            model_service_pb2.ListModelsResponse.SerializeToString,
        ),
        "GetStatus": grpc.unary_unary_rpc_method_handler(
            _get_status,
            model_service_pb2.GetStatusRequest.FromString,
            model_service_pb2.GetStatusResponse.SerializeToString,
        ),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_MODELS, handlers),))
    return ["atelier.imagegen.v1.ImageService", _MODELS]


async def _serve() -> None:
    async with App(ServerSettings(metrics_port=None), register, registry=CollectorRegistry()).serving() as address:
        print(address, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_serve())
