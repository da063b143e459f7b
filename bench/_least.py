"""The least that a gRPC server can do around the engine: one thread, one picture at a time, no events but the results.

`python -m bench._least THREADS` prints the address. Nothing is checked, queued, measured, cancelled or batched.
"""

import asyncio
import hashlib
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import uvloop

from atelier.common.v1 import types_pb2
from atelier.imagegen.v1 import image_service_pb2, image_service_pb2_grpc
from bench._imagegen import Direct, Kind

Event = image_service_pb2.GenerateResponse


class Least(image_service_pb2_grpc.ImageServiceServicer):
    """Makes a picture and sends it."""

    def __init__(self, threads: int) -> None:
        self._device = ThreadPoolExecutor(1)
        self._direct = self._device.submit(Direct, threads).result()

    async def Generate(self, request: Any, context: Any) -> AsyncIterator[Event]:
        """Send header, file and summary of one picture."""
        kind = Kind(request.steps, request.width, request.guidance)
        [data] = await asyncio.get_running_loop().run_in_executor(
            self._device, self._direct.pictures, [request.seed], kind
        )
        header = image_service_pb2.ImageHeader(size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
        yield Event(image=header)
        yield Event(chunk=types_pb2.Chunk(data=data))
        yield Event(summary=image_service_pb2.Summary(model=request.model, images=1))


async def _serve(threads: int) -> None:
    server = grpc.aio.server()
    image_service_pb2_grpc.add_ImageServiceServicer_to_server(Least(threads), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
