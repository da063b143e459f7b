"""Puts `Calls` around every handler, of all four kinds.

One wrapper per method, built at its first call. It turns each kind into a coroutine that also decodes and encodes, so
that a message that does not parse, or a result of the wrong type, fails like anything else in a handler.
"""

import inspect
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any, TypeAlias

import grpc
from prometheus_client import Counter

from servekit.calls import Body, Calls, ServicerContext
from servekit.errors import InvalidRequest, Violation
from servekit.metrics import GrpcMetrics, MethodMetrics

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Decode: TypeAlias = Callable[[bytes], Any]
Encode: TypeAlias = Callable[[Any], bytes]
OnMessage: TypeAlias = Callable[[Any], None]
"""Is shown every message that was received."""

_TYPES = {
    (False, False): ("unary", grpc.unary_unary_rpc_method_handler),
    (False, True): ("server_stream", grpc.unary_stream_rpc_method_handler),
    (True, False): ("client_stream", grpc.stream_unary_rpc_method_handler),
    (True, True): ("bidi_stream", grpc.stream_stream_rpc_method_handler),
}


class CallInterceptor(grpc.aio.ServerInterceptor):
    """The one interceptor of a server. Handlers must be coroutines or async generators."""

    def __init__(self, calls: Calls, metrics: GrpcMetrics, on_message: OnMessage | None = None) -> None:
        self._calls = calls
        self._metrics = metrics
        self._on_message = on_message
        self._wrapped: dict[str, Handler] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], "Awaitable[Handler | None]"],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "Handler | None":
        """Return the wrapped handler; None for an unknown method, which gRPC answers and nothing counts."""
        method = handler_call_details.method
        if method not in self._wrapped:
            handler = await continuation(handler_call_details)
            if handler is None:
                return None
            self._wrapped[method] = self._wrap(method, handler)
        return self._wrapped[method]

    def _wrap(self, method: str, handler: Handler) -> Handler:
        streams_in, streams_out = handler.request_streaming, handler.response_streaming
        grpc_type, build = _TYPES[streams_in, streams_out]
        service, _, name = method.lstrip("/").rpartition("/")
        metrics = MethodMetrics(self._metrics, grpc_type, service, name)
        decode = _decoder(handler, metrics.received, self._on_message)
        encode = _encoder(handler, metrics.sent)
        behave: Any = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
        take: Decode = _as_it_is if streams_in else decode
        body = _stream_body(behave, take) if streams_out else _unary_body(behave, take, encode)

        async def call(request: Any, context: ServicerContext) -> Any:
            return await self._calls.run(method, metrics, body, request, context)

        # Streamed messages are coded as they pass, by gRPC, inside the handler's own reads and writes.
        return build(call, decode if streams_in else None, encode if streams_out else None)


def _unary_body(behave: Callable[..., Any], take: Decode, encode: Encode) -> Body:
    async def body(request: Any, context: ServicerContext) -> bytes:
        return encode(await behave(take(request), context))

    return body


def _stream_body(behave: Callable[..., Any], take: Decode) -> Body:
    async def body(request: Any, context: ServicerContext) -> None:
        responses = behave(take(request), context)
        if inspect.isawaitable(responses):  # a coroutine that calls context.write itself
            await responses
            return
        async with aclosing(responses):
            async for response in responses:
                await context.write(response)

    return body


def _decoder(handler: Handler, received: Counter, on_message: OnMessage | None) -> Decode:
    deserialize = handler.request_deserializer or _as_it_is

    def decode(data: bytes) -> Any:
        received.inc()
        try:
            message = deserialize(data)
        except Exception:
            raise InvalidRequest([Violation("*", "the bytes are not a message of this method's type")]) from None
        if on_message:
            on_message(message)
        return message

    return decode


def _encoder(handler: Handler, sent: Counter) -> Encode:
    serialize = handler.response_serializer or _as_it_is

    def encode(message: Any) -> bytes:
        data: bytes = serialize(message)
        sent.inc()
        return data

    return encode


def _as_it_is(value: Any) -> Any:
    return value
