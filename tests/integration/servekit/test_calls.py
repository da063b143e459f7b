"""Every way a call can end, for every kind of call."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeAlias, TypeVar

import grpc
import pytest
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import StringValue
from google.rpc import error_details_pb2 as details_pb2
from grpc_status import rpc_status
from prometheus_client import CollectorRegistry

from servekit import context
from servekit.app import App
from servekit.errors import InvalidRequest, Overloaded, PreconditionFailed, Violation
from servekit.settings import ServerSettings
from servekit.testing import Toy, ToyClient, echo, local, serve

ServeToy = Callable[..., Awaitable[ToyClient]]
Counted = Callable[..., Awaitable[float]]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
M = TypeVar("M", bound=Message)


def _detail(error: grpc.aio.AioRpcError, kind: type[M]) -> M:
    detail = kind()
    assert any(packed.Unpack(detail) for packed in rpc_status.from_call(error).details)
    return detail


class Hanging:
    """Never answers; tells when a call came in and when it was let go."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.left = asyncio.Event()

    async def __call__(self, text: str) -> str:
        self.entered.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.left.set()
        raise AssertionError("a future that nobody sets was set")


async def test_an_answer(serve_toy: ServeToy, method: str, counted: Counted) -> None:
    toy = await serve_toy(echo)
    assert await toy.ask(method, "hello") == ["hello"]
    assert await counted("handled_total", method, grpc_code="OK") == 1


async def test_a_serving_error(serve_toy: ServeToy, method: str, counted: Counted) -> None:
    async def refuse(text: str) -> str:
        raise InvalidRequest([Violation("value", "one word"), Violation("other", "absent")])

    toy = await serve_toy(refuse)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await toy.ask(method, "hello")
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    violations = _detail(caught.value, details_pb2.BadRequest).field_violations
    assert [violation.field for violation in violations] == ["value", "other"]
    assert await counted("handled_total", method, grpc_code="INVALID_ARGUMENT") == 1


async def test_an_error_that_says_when_to_retry(serve_toy: ServeToy, method: str) -> None:
    async def refuse(text: str) -> str:
        raise Overloaded("full", retry_after_s=3)

    toy = await serve_toy(refuse)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await toy.ask(method, "hello")
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert _detail(caught.value, details_pb2.RetryInfo).retry_delay.seconds == 3


async def test_an_unexpected_exception(
    serve_toy: ServeToy, method: str, counted: Counted, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(text: str) -> str:
        raise ValueError("secret")

    toy = await serve_toy(fail)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await toy.ask(method, "hello", metadata=(("x-request-id", "id-1"),))
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert caught.value.details() == "internal error; request id id-1"
    assert "secret" not in str(caught.value.trailing_metadata())
    assert await counted("handled_total", method, grpc_code="INTERNAL") == 1
    assert "ValueError: secret" in caplog.text


async def test_a_cancelled_error_of_the_servers_own(serve_toy: ServeToy, method: str, counted: Counted) -> None:
    async def cancelled(text: str) -> str:
        raise asyncio.CancelledError

    toy = await serve_toy(cancelled)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await toy.ask(method, "hello", timeout=30)
    assert caught.value.code() is grpc.StatusCode.CANCELLED
    assert _detail(caught.value, details_pb2.ErrorInfo).reason == "CANCELLED"
    assert await counted("handled_total", method, grpc_code="CANCELLED") == 1


async def test_a_caller_who_cancels(serve_toy: ServeToy, method: str, counted: Counted) -> None:
    hanging = Hanging()
    toy = await serve_toy(hanging)
    call = toy.call(method, "hello")
    await hanging.entered.wait()
    call.cancel()
    await hanging.left.wait()
    assert await counted("handled_total", method, grpc_code="CANCELLED") == 1


async def test_a_caller_whose_channel_closes(serve_toy: ServeToy, method: str, counted: Counted) -> None:
    hanging = Hanging()
    toy = await serve_toy(hanging)
    call = toy.call(method, "hello")
    await hanging.entered.wait()
    await toy.channel.close()
    await hanging.left.wait()
    assert call.done()
    assert await counted("handled_total", method, grpc_code="CANCELLED") == 1


async def test_the_default_deadline(serve_toy: ServeToy, method: str, counted: Counted) -> None:
    hanging = Hanging()
    toy = await serve_toy(hanging, default_deadline_s=0.2)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await toy.ask(method, "hello")
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert _detail(caught.value, details_pb2.ErrorInfo).reason == "DEADLINE_EXCEEDED"
    assert hanging.left.is_set() == hanging.entered.is_set()  # a machine under load may not even have begun
    assert await counted("handled_total", method, grpc_code="DEADLINE_EXCEEDED") == 1


async def test_the_callers_deadline(serve_toy: ServeToy, method: str, counted: Counted) -> None:
    hanging = Hanging()
    toy = await serve_toy(hanging)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await toy.ask(method, "hello", timeout=0.5)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await hanging.left.wait()
    assert await counted("handled_total", method, grpc_code="DEADLINE_EXCEEDED") == 1


async def test_the_handler_knows_the_deadline(serve_toy: ServeToy, method: str) -> None:
    async def remaining(text: str) -> str:
        return str(context.current().remaining_s())

    toy = await serve_toy(remaining, default_deadline_s=50)
    assert 90 < float((await toy.ask(method, "caller's", timeout=100))[0].split()[0]) < 102  # gRPC rounds up
    assert 40 < float((await toy.ask(method, "default"))[0].split()[0]) <= 50


async def test_bytes_that_are_no_message(serve_toy: ServeToy, method: str, counted: Counted) -> None:
    toy = await serve_toy(echo)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ToyClient(toy.channel, encode=lambda message: b"\xff\xff").ask(method, "hello")
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert _detail(caught.value, details_pb2.ErrorInfo).reason == "INVALID_REQUEST"
    assert await counted("handled_total", method, grpc_code="INVALID_ARGUMENT") == 1


@asynccontextmanager
async def _serving(handler: Handler, registry: CollectorRegistry) -> AsyncIterator[Any]:
    """Serve `handler` as `/a.B/C` and return a channel to it."""

    def register(server: grpc.aio.Server) -> Sequence[str]:
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("a.B", {"C": handler}),))
        return ["a.B"]

    async with serve(App(local(ServerSettings), register, registry=registry)) as channel:
        yield channel


async def test_a_handler_that_aborts_by_itself(registry: CollectorRegistry) -> None:
    async def abort(request: bytes, servicer_context: Any) -> None:
        await servicer_context.abort(grpc.StatusCode.DATA_LOSS, "mine")

    handler: Handler = grpc.unary_unary_rpc_method_handler(abort)
    async with _serving(handler, registry) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary("/a.B/C")(b"")
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.DATA_LOSS, "mine")
    labels = {"grpc_type": "unary", "grpc_service": "a.B", "grpc_method": "C", "grpc_code": "DATA_LOSS"}
    assert registry.get_sample_value("grpc_server_handled_total", labels) == 1


async def test_a_result_of_the_wrong_type_tells_nothing(registry: CollectorRegistry) -> None:
    async def one(request: bytes, servicer_context: Any) -> str:
        return "secret"

    handler: Handler = grpc.unary_unary_rpc_method_handler(one, None, StringValue.SerializeToString)
    async with _serving(handler, registry) as channel:
        with pytest.raises(grpc.aio.AioRpcError, match="internal error; request id"):
            await channel.unary_unary("/a.B/C")(b"")


async def test_a_streamed_result_of_the_wrong_type_tells_nothing(registry: CollectorRegistry) -> None:
    async def many(request: bytes, servicer_context: Any) -> AsyncIterator[str]:
        yield "secret"

    handler: Handler = grpc.unary_stream_rpc_method_handler(many, None, StringValue.SerializeToString)
    async with _serving(handler, registry) as channel:
        with pytest.raises(grpc.aio.AioRpcError, match="internal error; request id"):
            await channel.unary_stream("/a.B/C")(b"").read()


async def test_a_failure_of_grpc_inside_the_server_still_ends_the_call(serve_toy: ServeToy, method: str) -> None:
    async def fail(text: str) -> str:
        raise grpc.aio.InternalError("a batch failed")

    toy = await serve_toy(fail)
    with pytest.raises(grpc.aio.AioRpcError, match="internal error; request id"):
        await toy.ask(method, "hello", timeout=30)


async def test_an_error_nobody_waits_for_counts_as_cancelled(
    registry: CollectorRegistry, method: str, counted: Counted
) -> None:
    hanging = Hanging()

    async def fail(text: str) -> str:
        try:
            return await hanging(text)
        except asyncio.CancelledError:
            raise PreconditionFailed("too late to tell") from None

    async with serve(App(local(ServerSettings), Toy(fail).register, registry=registry)) as channel:
        call = ToyClient(channel).call(method, "hello")
        await hanging.entered.wait()
        call.cancel()
        await hanging.left.wait()
    assert await counted("handled_total", method, grpc_code="CANCELLED") == 1


async def test_a_generator_is_closed_when_its_caller_leaves(registry: CollectorRegistry) -> None:
    closed = asyncio.Event()

    async def endless(request: bytes, servicer_context: Any) -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x"
                await asyncio.sleep(0)
        finally:
            closed.set()

    handler: Handler = grpc.unary_stream_rpc_method_handler(endless)
    async with _serving(handler, registry) as channel:
        call = channel.unary_stream("/a.B/C")(b"")
        await call.read()
        call.cancel()
        await closed.wait()
