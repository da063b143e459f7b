import asyncio
from collections.abc import Awaitable, Callable

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from prometheus_client import CollectorRegistry

from servekit.app import App
from servekit.server import LIVENESS, channel_options
from servekit.settings import ServerSettings
from servekit.testing import Toy, ToyClient, echo, local

ServeToy = Callable[..., Awaitable[ToyClient]]
MIB = 1024 * 1024


async def test_a_request_that_is_too_large_is_refused(serve_toy: ServeToy, method: str) -> None:
    toy = await serve_toy(echo)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await toy.ask(method, "x" * (4 * MIB + 1))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await toy.ask(method, "hello") == ["hello"]


async def test_an_answer_that_is_too_large_is_refused(serve_toy: ServeToy, method: str) -> None:
    async def inflate(text: str) -> str:
        return "x" * (4 * MIB + 1)

    toy = await serve_toy(inflate)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await toy.ask(method, "hello", timeout=30)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_the_limit_is_a_setting(serve_toy: ServeToy) -> None:
    toy = await serve_toy(echo, max_message_bytes=2048)
    assert await toy.ask("Unary", "x" * 2000) == ["x" * 2000]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await toy.ask("Unary", "x" * 2049)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_the_largest_limit_that_can_be_set_is_one_grpc_takes(serve_toy: ServeToy) -> None:
    toy = await serve_toy(echo, max_message_bytes=2**31 - 1)
    assert await toy.ask("Unary", "hello") == ["hello"]


async def test_a_channel_with_our_options_carries_what_the_server_allows() -> None:
    app = App(local(ServerSettings, max_message_bytes=8 * MIB), Toy().register, registry=CollectorRegistry())
    async with app.serving() as address, grpc.aio.insecure_channel(address, channel_options(8 * MIB)) as channel:
        (answer,) = await ToyClient(channel).ask("Unary", "x" * (5 * MIB))
    assert len(answer) == 5 * MIB


async def test_calls_above_the_limit_are_told_when_to_come_back_and_health_checks_are_none_of_them(
    serve_toy: ServeToy, method: str, counted: Callable[..., Awaitable[float]]
) -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def wait(text: str) -> str:
        begun.set()
        await may_end.wait()
        return text

    toy = await serve_toy(wait, max_concurrent_calls=1)
    first = asyncio.create_task(toy.ask(method, "first"))
    await begun.wait()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await toy.ask(method, "second")
    status, info, retry = (
        rpc_status.from_call(caught.value),
        error_details_pb2.ErrorInfo(),
        error_details_pb2.RetryInfo(),
    )
    assert status is not None
    assert all(any(detail.Unpack(each) for detail in status.details) for each in (info, retry))
    assert (caught.value.code(), info.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
    health = health_pb2_grpc.HealthStub(toy.channel)
    for service in ("", LIVENESS):
        answer = await health.Check(health_pb2.HealthCheckRequest(service=service))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    may_end.set()
    assert await first == ["first"]
    assert await toy.ask(method, "third") == ["third"]
    assert await counted("handled_total", method, grpc_code="RESOURCE_EXHAUSTED") == 1
