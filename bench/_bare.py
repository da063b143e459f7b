"""The least a gRPC server can do. Messages are bytes: nothing is decoded, nothing is intercepted.

`python -m bench._bare` echoes; `… _bare HOST:PORT PATH KIND` forwards the method PATH there, KIND being `unary_unary`
or `unary_stream`. Prints its address once it serves.
"""

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import uvloop

PATH = "/bench.v1.Bare/Call"


async def echo(request: bytes, context: Any) -> bytes:
    """Return what came."""
    return request


def forward_one(call: Any) -> Callable[[bytes, Any], Awaitable[bytes]]:
    """Return a handler that hands a unary call on."""

    async def handler(request: bytes, context: Any) -> bytes:
        answer: bytes = await call(request)
        return answer

    return handler


def forward_stream(call: Any) -> Callable[[bytes, Any], AsyncIterator[bytes]]:
    """Return a handler that hands a call with a streamed answer on."""

    async def handler(request: bytes, context: Any) -> AsyncIterator[bytes]:
        async for message in call(request):
            yield message

    return handler


async def serve(target: str = "", path: str = PATH, kind: str = "unary_unary") -> None:
    """Serve until killed."""
    behave: Any = echo
    if target:
        call = getattr(grpc.aio.insecure_channel(target), kind)(path)
        behave = forward_one(call) if kind == "unary_unary" else forward_stream(call)
    service, _, method = path.strip("/").partition("/")
    methods = {method: getattr(grpc, f"{kind}_rpc_method_handler")(behave)}
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(serve(*sys.argv[1:]))
