"""A server that draws nothing but answers at once, and the command line run beside it."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from prometheus_client import CollectorRegistry
from typer.testing import CliRunner, Result

from atelier.common.v1 import types_pb2
from atelier.imagegen.v1 import image_service_pb2 as image_pb2
from atelier.imagegen.v1.image_service_pb2_grpc import ImageServiceServicer, add_ImageServiceServicer_to_server
from atelier_client.cli.app import app
from servekit.app import App
from servekit.settings import ServerSettings
from servekit.testing import local

PICTURE = b"\x89PNG a picture"


class Pictures(ImageServiceServicer):
    """Answers with pictures that are always the same, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[image_pb2.GenerateRequest] = []

    def register(self, server: grpc.aio.Server) -> list[str]:
        add_ImageServiceServicer_to_server(self, server)
        return ["atelier.imagegen.v1.ImageService"]

    async def Generate(
        self, request: image_pb2.GenerateRequest, context: Any
    ) -> AsyncIterator[image_pb2.GenerateResponse]:
        self.asked.append(request)
        changed = [types_pb2.Adjustment(field="steps", requested="99", used="50", reason="the model takes 50")]
        if request.dry_run:
            yield image_pb2.GenerateResponse(plan=image_pb2.Plan(model="m", width=64, adjustments=changed))
        for index in range(0 if request.dry_run else max(1, request.count)):
            sha256 = hashlib.sha256(PICTURE).hexdigest()
            header = image_pb2.ImageHeader(index=index, size_bytes=len(PICTURE), sha256=sha256, width=64, height=64)
            yield image_pb2.GenerateResponse(image=header)
            yield image_pb2.GenerateResponse(chunk=types_pb2.Chunk(data=PICTURE))
        yield image_pb2.GenerateResponse(summary=image_pb2.Summary(model="m", adjustments=changed))


@asynccontextmanager
async def serving(pictures: Pictures) -> AsyncIterator[str]:
    """Serve inside the block, which gets the address."""
    async with App(local(ServerSettings), pictures.register, registry=CollectorRegistry()).serving() as address:
        yield address


async def atelier(*arguments: str, stdin: bytes = b"") -> Result:
    """Run the command beside the event loop that serves it."""
    return await asyncio.to_thread(lambda: CliRunner().invoke(app, arguments, input=stdin))
