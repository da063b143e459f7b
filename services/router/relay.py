"""Hands the calls of a whole service on to a server behind the router, byte for byte.

Messages are neither decoded nor encoded on the way, whatever the method and however large the chunks; a method that is
added to the service's proto is relayed without any change here.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeAlias

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from servekit import tracing
from services.router.failover import with_failover
from services.router.hop import Hop, onward
from services.router.metrics import RouterMetrics
from services.router.replay import Once, Replay
from services.router.slots import Slots

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


class Server(Protocol):
    """A server that calls are handed on to."""

    @property
    def channel(self) -> grpc.aio.Channel:
        """Channel to it."""

    def heard(self) -> None:
        """Note that it said something."""


class Servers(Protocol):
    """The servers that calls are handed on to."""

    def pick(self) -> str:
        """Return the name of the best one; raises a `ServingError` if there is none."""

    def successor(self, lost: Sequence[str]) -> str | None:
        """Return the name of the one that takes over from the last of the `lost` ones; None if there is none."""

    def lease(self, name: str) -> AbstractContextManager[Server]:
        """Count a call to a server; inside, transport errors become `ServingError`s, `ReplicaLost` among them."""


@dataclass(frozen=True, slots=True)
class Opening:
    """How a stream begins that the router opens with a message of its own, and begins anew when its server is lost."""

    announce: Callable[[str], bytes]
    """Makes the encoded message from the server's name."""
    is_output: Callable[[bytes], bool]
    """Whether an encoded message is one after which the stream cannot begin anew."""


class Relay:
    """Relays services. `openings` names the methods whose streams are opened by the router."""

    def __init__(
        self,
        servers: Servers,
        slots: Slots,
        metrics: RouterMetrics,
        *,
        margin_s: float,
        openings: Mapping[str, Opening],
    ) -> None:
        self._servers = servers
        self._slots = slots
        self._metrics = metrics
        self._margin_s = margin_s
        self._openings = openings

    def handler(self, service: ServiceDescriptor) -> grpc.GenericRpcHandler:
        """Return the handler of every method of `service`."""
        methods = {method.name: self._method(method) for method in service.methods}
        return grpc.method_handlers_generic_handler(service.full_name, methods)

    def _method(self, method: MethodDescriptor) -> Handler:
        kind = ("stream" if method.client_streaming else "unary") + ("_stream" if method.server_streaming else "_unary")
        path = f"/{method.containing_service.full_name}/{method.name}"
        opening = self._openings.get(method.name)
        if not method.server_streaming:
            relay: Callable[..., Any] = self._single(kind, path)
        else:
            relay = self._stream(kind, path) if opening is None else self._lasting_stream(kind, path, opening)
        handler: Handler = getattr(grpc, f"{kind}_rpc_method_handler")(relay)
        return handler

    def _single(self, kind: str, path: str) -> Callable[[Any, Context], Awaitable[bytes]]:
        async def relay(request: Any, context: Context) -> bytes:
            hop = self._hop(context)
            with (
                self._slots.one(),
                self._servers.lease(self._servers.pick()) as server,
                tracing.onward(path, hop.metadata) as metadata,
            ):
                answer: bytes = await _begin(server, kind, path, request, hop, metadata)
                return answer

        return relay

    def _stream(self, kind: str, path: str) -> Callable[[Any, Context], AsyncIterator[bytes]]:
        async def relay(request: Any, context: Context) -> AsyncIterator[bytes]:
            begin = partial(self._messages, kind, path, lambda: request, self._hop(context))
            with self._slots.one():
                async with aclosing(begin(self._servers.pick())) as messages:
                    async for message in messages:
                        yield message

        return relay

    def _lasting_stream(self, kind: str, path: str, opening: Opening) -> Callable[[Any, Context], AsyncIterator[bytes]]:
        """Relay a stream that another server begins anew when its own is lost before there was any output."""

        async def relay(request: Any, context: Context) -> AsyncIterator[bytes]:
            said = Replay(request) if kind.startswith("stream") else Once(request)
            with self._slots.one():
                server = self._servers.pick()
                events = with_failover(
                    server,
                    begin=partial(self._messages, kind, path, said.read, self._hop(context)),
                    successor=self._servers.successor,
                    is_output=opening.is_output,
                    announce=partial(self._announce, opening),
                    settled=said.forget,
                )
                async with aclosing(said), aclosing(events):
                    with self._servers.lease(server):  # so that who comes meanwhile sees it busy
                        yield opening.announce(server)
                    async for message in events:
                        yield message

        return relay

    def _announce(self, opening: Opening, lost: str, following: str, number: int) -> bytes:
        self._metrics.retries.labels(lost).inc()
        return opening.announce(following)

    async def _messages(
        self, kind: str, path: str, request: Callable[[], Any], hop: Hop, name: str
    ) -> AsyncGenerator[bytes, None]:
        """Stream what the server called `name` answers."""
        with self._servers.lease(name) as server, tracing.onward(path, hop.metadata) as metadata:
            call = _begin(server, kind, path, request(), hop, metadata)
            try:
                async for message in call:
                    server.heard()
                    yield message
            finally:
                call.cancel()  # does nothing to a call that is over

    def _hop(self, context: Context) -> Hop:
        return onward(context.invocation_metadata(), self._margin_s)


def _begin(server: Server, kind: str, path: str, request: Any, hop: Hop, metadata: tracing.Metadata) -> Any:
    """Open the call; `request` is the encoded message or the iterator of them."""
    return getattr(server.channel, kind)(path)(request, timeout=hop.timeout_s, metadata=metadata)
