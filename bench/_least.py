"""The least that a gRPC server can do around the engine: pictures share forward passes, no events but the results.

`python -m bench._least THREADS` prints the address. Nothing is checked, queued, measured or cancelled.
"""

import hashlib
import sys
from collections.abc import AsyncIterator
from typing import Any

import grpc
import uvloop
from PIL import Image

from atelier.common.v1 import types_pb2
from atelier.imagegen.v1 import image_service_pb2, image_service_pb2_grpc
from bench._imagegen import Direct, png
from servekit.worker import DeviceWorker
from services.imagegen.batching import Batcher
from services.imagegen.domain import Job

Event = image_service_pb2.GenerateResponse


class Least(image_service_pb2_grpc.ImageServiceServicer):
    """Makes a picture and sends it."""

    def __init__(self, batcher: Batcher) -> None:
        self._batcher = batcher

    async def Generate(self, request: Any, context: Any) -> AsyncIterator[Event]:
        """Send header, file and summary of one picture."""
        size = (request.width, request.height)
        job = Job(request.prompt, "", *size, steps=request.steps, guidance=request.guidance, seed=request.seed)
        made = await self._batcher.make(job)
        data = png(Image.fromarray(made.decoded.pixels))
        header = image_service_pb2.ImageHeader(size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
        yield Event(image=header)
        yield Event(chunk=types_pb2.Chunk(data=data))
        yield Event(summary=image_service_pb2.Summary(model=request.model, images=1))


async def _serve(threads: int) -> None:
    worker = DeviceWorker("least-device")
    await worker.start()
    direct = await worker.run(lambda _: Direct(threads))
    server = grpc.aio.server()
    image_service_pb2_grpc.add_ImageServiceServicer_to_server(Least(Batcher(direct.engine, worker)), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
