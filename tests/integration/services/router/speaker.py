"""A voice server in a process of its own, which a test can stop: `python -m tests.integration.services.router.speaker`.

It prints its address when it serves.
"""

import asyncio

import grpc

from atelier.models.v1 import model_service_pb2_grpc
from tests.integration.services.router.conftest import Imagegen, Voice, serving


class Speaker(Voice):
    """A voice server that tells how it is, as real ones do."""

    def register(self, server: grpc.aio.Server) -> list[str]:
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(Imagegen([]), server)
        return super().register(server)


async def _speak() -> None:
    async with serving(Speaker()) as address:
        print(address, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_speak())
