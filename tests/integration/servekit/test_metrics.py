import asyncio
import urllib.request
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest
from prometheus_client import CollectorRegistry

from servekit import metrics
from servekit.testing import ToyClient, echo

ServeToy = Callable[..., Awaitable[ToyClient]]
Counted = Callable[..., Awaitable[float]]


async def test_a_call_is_counted_and_timed(serve_toy: ServeToy, method: str, counted: Counted) -> None:
    toy = await serve_toy(echo)
    await toy.ask(method, "hello")
    assert await counted("started_total", method) == 1
    assert await counted("handled_total", method, grpc_code="OK") == 1
    assert await counted("handling_seconds_count", method, grpc_code="OK") == 1
    assert await counted("handling_seconds_sum", method, grpc_code="OK") > 0


@pytest.mark.parametrize(
    ("method", "texts", "received", "sent"),
    [
        ("Unary", ["a b c"], 1, 1),
        ("Split", ["a b c"], 1, 3),
        ("Written", ["a b c"], 1, 3),
        ("Join", ["a", "b", "c"], 3, 1),
        ("Each", ["a", "b", "c"], 3, 3),
    ],
)
async def test_messages_are_counted(
    serve_toy: ServeToy, counted: Counted, method: str, texts: list[str], received: int, sent: int
) -> None:
    toy = await serve_toy(echo)
    await toy.ask(method, *texts)
    assert await counted("msg_received_total", method) == received
    assert await counted("msg_sent_total", method) == sent


async def test_an_unknown_method_makes_no_label(serve_toy: ServeToy, registry: CollectorRegistry) -> None:
    channel: Any = (await serve_toy(echo)).channel
    before = {str(sample.labels) for metric in registry.collect() for sample in metric.samples}
    for path in ("/servekit.toy.v1.ToyService/Nope", "/no.Service/Nope", "/rubbish"):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary(path)(b"")
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert {str(sample.labels) for metric in registry.collect() for sample in metric.samples} == before


async def test_a_call_under_way_is_a_task_more(serve_toy: ServeToy, registry: CollectorRegistry) -> None:
    entered, leave = asyncio.Event(), asyncio.Event()

    async def wait(text: str) -> str:
        entered.set()
        await leave.wait()
        return text

    toy = await serve_toy(wait)
    before = registry.get_sample_value("asyncio_tasks") or 0
    asking = asyncio.create_task(toy.ask("Unary", "hello"))
    await entered.wait()
    during = registry.get_sample_value("asyncio_tasks") or 0
    leave.set()
    await asking
    assert before < during


async def test_the_endpoint_serves_the_registry() -> None:
    registry = metrics.new_registry("toy", "1")
    async with metrics.endpoint(registry, "127.0.0.1", 0) as address:
        text = await asyncio.to_thread(_read, f"http://{address}/metrics")
    assert 'servekit_build_info{grpc="' in text


async def test_the_endpoint_closes_its_port() -> None:
    async with metrics.endpoint(CollectorRegistry(), "127.0.0.1", 0) as address:
        pass
    host, port = address.split(":")
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(host, int(port))


async def test_an_endpoint_that_is_taken_is_reported() -> None:
    async with metrics.endpoint(CollectorRegistry(), "127.0.0.1", 0) as address:
        with pytest.raises(OSError, match=f"cannot serve metrics on {address}"):
            async with metrics.endpoint(CollectorRegistry(), "127.0.0.1", int(address.split(":")[1])):
                pytest.fail("two endpoints share one port")


def _read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as response:
        text: str = response.read().decode()
    return text
