from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any
from uuid import UUID

import grpc
import pytest

from servekit import context
from servekit.errors import PreconditionFailed
from servekit.testing import ToyClient, answers, echo

ServeToy = Callable[..., Awaitable[ToyClient]]


async def _returned(call: Any) -> str:
    """Return the request id in the trailing metadata of `call`, once it has ended, well or not."""
    with suppress(grpc.aio.AioRpcError):
        await answers(call)
    metadata = dict(await call.trailing_metadata())
    return str(metadata["x-request-id"])


async def test_it_comes_back(serve_toy: ServeToy, method: str) -> None:
    toy = await serve_toy(echo)
    call = toy.call(method, "hello", metadata=(("x-request-id", "id-1"),))
    assert await _returned(call) == "id-1"


async def test_it_comes_back_with_an_error(serve_toy: ServeToy, method: str) -> None:
    async def refuse(text: str) -> str:
        raise PreconditionFailed("no")

    toy = await serve_toy(refuse)
    call = toy.call(method, "hello", metadata=(("x-request-id", "id-1"),))
    assert await _returned(call) == "id-1"
    assert await call.code() is grpc.StatusCode.FAILED_PRECONDITION


async def test_it_is_known_to_the_handler(serve_toy: ServeToy, method: str) -> None:
    async def tell(text: str) -> str:
        return context.current().request_id

    toy = await serve_toy(tell)
    assert await toy.ask(method, "hello", metadata=(("x-request-id", "id-1"),)) == ["id-1"]


async def test_a_call_without_one_gets_one(serve_toy: ServeToy, method: str) -> None:
    toy = await serve_toy(echo)
    assert UUID(await _returned(toy.call(method, "hello")))


@pytest.mark.parametrize("sent", ["", "a b", "a" * 129, "<script>", "{}"])
async def test_an_unfit_one_is_replaced(serve_toy: ServeToy, sent: str) -> None:
    toy = await serve_toy(echo)
    assert UUID(await _returned(toy.call("Unary", "hello", metadata=(("x-request-id", sent),))))


async def test_the_longest_fit_one_is_kept(serve_toy: ServeToy) -> None:
    toy = await serve_toy(echo)
    sent = "aZ9._:/+=-" * 12 + "12345678"
    assert await _returned(toy.call("Unary", "hello", metadata=(("x-request-id", sent),))) == sent


async def test_the_caller_that_a_service_before_names_is_known(serve_toy: ServeToy, method: str) -> None:
    async def who(text: str) -> str:
        return context.current().caller

    toy = await serve_toy(who)
    assert await toy.ask(method, "?", metadata=(("x-atelier-caller", "zo%C3%AB"),)) == ["zoë"]
