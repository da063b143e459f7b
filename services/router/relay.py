"""Hands the calls of a whole service on to a server behind the router, byte for byte.

Messages are neither decoded nor encoded on the way, whatever the method and however large the chunks; a method that is
added to the service's proto is relayed without any change here.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, Protocol, TypeAlias

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from servekit import tracing
from services.router.hop import Hop, onward
from services.router.slots import Slots

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


class Server(Protocol):
    """A server that calls are handed on to."""

    @property
    def name(self) -> str:
        """Name, for instance `voice-0`."""

    @property
    def channel(self) -> grpc.aio.Channel:
        """Channel to it."""


Lease: TypeAlias = Callable[[], AbstractContextManager[Server]]
"""Picks a server for the length of a call and turns its transport errors into `ServingError`s."""
Announce: TypeAlias = Callable[[str], bytes]
"""Makes the encoded message that opens a stream, from the server's name."""


class Relay:
    """Relays services. `announce` names the methods whose streams the router opens with a message of its own."""

    def __init__(self, lease: Lease, slots: Slots, *, margin_s: float, announce: Mapping[str, Announce]) -> None:
        self._lease = lease
        self._slots = slots
        self._margin_s = margin_s
        self._announce = announce

    def handler(self, service: ServiceDescriptor) -> grpc.GenericRpcHandler:
        """Return the handler of every method of `service`."""
        methods = {method.name: self._method(method) for method in service.methods}
        return grpc.method_handlers_generic_handler(service.full_name, methods)

    def _method(self, method: MethodDescriptor) -> Handler:
        kind = ("stream" if method.client_streaming else "unary") + ("_stream" if method.server_streaming else "_unary")
        path = f"/{method.containing_service.full_name}/{method.name}"
        announce = self._announce.get(method.name)
        relay = self._stream(kind, path, announce) if method.server_streaming else self._single(kind, path)
        handler: Handler = getattr(grpc, f"{kind}_rpc_method_handler")(relay)
        return handler

    def _single(self, kind: str, path: str) -> Callable[[Any, Context], Awaitable[bytes]]:
        async def relay(request: Any, context: Context) -> bytes:
            hop = self._hop(context)
            with self._slots.one(), self._lease() as server, tracing.onward(path, hop.metadata) as metadata:
                answer: bytes = await _begin(server, kind, path, request, replace(hop, metadata=metadata))
                return answer

        return relay

    def _stream(
        self, kind: str, path: str, announce: Announce | None
    ) -> Callable[[Any, Context], AsyncIterator[bytes]]:
        async def relay(request: Any, context: Context) -> AsyncIterator[bytes]:
            hop = self._hop(context)
            with self._slots.one(), self._lease() as server, tracing.onward(path, hop.metadata) as metadata:
                call = _begin(server, kind, path, request, replace(hop, metadata=metadata))
                try:
                    if announce is not None:
                        yield announce(server.name)
                    async for message in call:
                        yield message
                finally:
                    call.cancel()  # does nothing to a call that is over

        return relay

    def _hop(self, context: Context) -> Hop:
        return onward(context.invocation_metadata(), self._margin_s)


def _begin(server: Server, kind: str, path: str, request: Any, hop: Hop) -> Any:
    """Open the call; `request` is the encoded message or the iterator of them."""
    return getattr(server.channel, kind)(path)(request, timeout=hop.timeout_s, metadata=hop.metadata)
