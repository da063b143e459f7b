import json
import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from servekit.errors import InvalidRequest, Violation
from servekit.logging import JsonFormatter
from servekit.testing import Toy, ToyClient, echo

ServeToy = Callable[..., Awaitable[ToyClient]]
Lines = Callable[[], Awaitable[list[dict[str, object]]]]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture, servers: AsyncExitStack) -> Lines:
    """Stop the toy and return what it logged about calls, as JSON would have it."""
    caplog.set_level(logging.INFO, "servekit.rpc")

    async def read() -> list[dict[str, object]]:
        await servers.aclose()
        formatter = JsonFormatter()
        ours = [record for record in caplog.records if record.name == "servekit.rpc"]
        return [json.loads(formatter.format(record)) for record in ours]

    return read


async def test_one_line_tells_how_a_call_went(serve_toy: ServeToy, method: str, lines: Lines) -> None:
    toy = await serve_toy(echo)
    await toy.ask(method, "hello")
    (line,) = await lines()
    assert line["method"] == f"/{Toy.SERVICE}/{method}"
    assert line["code"] == "OK"
    assert isinstance(line["seconds"], float)
    assert line["peer"] == "ipv4:127.0.0.1"


async def test_the_line_of_a_refused_call_has_the_reason_and_no_content(
    serve_toy: ServeToy, method: str, lines: Lines
) -> None:
    async def refuse(text: str) -> str:
        raise InvalidRequest([Violation("value", f"{text} is not allowed")])

    toy = await serve_toy(refuse)
    with pytest.raises(grpc.aio.AioRpcError):
        await toy.ask(method, "confidential")
    (line,) = await lines()
    assert (line["level"], line["code"], line["reason"]) == ("INFO", "INVALID_ARGUMENT", "INVALID_REQUEST")
    assert "confidential" not in json.dumps(line)


async def test_content_is_logged_where_a_setting_asks_for_it(serve_toy: ServeToy, method: str, lines: Lines) -> None:
    toy = await serve_toy(echo, log_prompts=True)
    await toy.ask(method, "a lighthouse")
    received, _ = await lines()
    assert received["content"] == 'value: "a lighthouse"'


async def test_health_checks_are_not_worth_a_line(serve_toy: ServeToy, lines: Lines) -> None:
    toy = await serve_toy(echo)
    await health_pb2_grpc.HealthStub(toy.channel).Check(health_pb2.HealthCheckRequest())
    assert await lines() == []
