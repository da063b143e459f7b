from collections.abc import Awaitable, Callable

import grpc
import pytest
from prometheus_client import CollectorRegistry

from servekit.app import App
from servekit.server import channel_options
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


async def test_a_channel_with_our_options_carries_what_the_server_allows() -> None:
    app = App(local(ServerSettings, max_message_bytes=8 * MIB), Toy().register, registry=CollectorRegistry())
    async with app.serving() as address, grpc.aio.insecure_channel(address, channel_options(8 * MIB)) as channel:
        (answer,) = await ToyClient(channel).ask("Unary", "x" * (5 * MIB))
    assert len(answer) == 5 * MIB
