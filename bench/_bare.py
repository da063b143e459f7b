"""The least a gRPC server can do: `python -m bench._bare` echoes, `… _bare HOST:PORT` forwards there.

Messages are bytes, nothing is decoded, nothing is intercepted. Prints its address once it serves.
"""

import sys
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import uvloop

PATH = "/bench.v1.Bare/Call"

Handler = Callable[[bytes, Any], Awaitable[bytes]]


async def echo(request: bytes, context: Any) -> bytes:
    """Return what came."""
    return request


def forward(channel: grpc.aio.Channel) -> Handler:
    """Return a handler that hands the call on through `channel`."""
    call: Any = channel.unary_unary(PATH)

    async def handler(request: bytes, context: Any) -> bytes:
        answer: bytes = await call(request)
        return answer

    return handler


async def serve(target: str | None) -> None:
    """Serve until killed."""
    behave = forward(grpc.aio.insecure_channel(target)) if target else echo
    service, _, method = PATH.strip("/").partition("/")
    server = grpc.aio.server()
    methods: Any = {method: grpc.unary_unary_rpc_method_handler(behave)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1] if len(sys.argv) > 1 else None))
