"""Replicas: behind a name, as a headless service of Kubernetes has it, and beside one another."""

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest

from atelier.common.v1 import decision_pb2
from atelier.imagegen.v1 import image_service_pb2
from atelier.rewrite.v1 import rewrite_service_pb2
from atelier.router.v1 import router_service_pb2
from tests.integration.services.router.conftest import Client, Event, Imagegen, Rewrite, model, router_at, serving


class Names:
    """A name service whose only name stands for the `addresses` that a test sets."""

    NAME = "imagegen.studio.svc"

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.addresses: list[str] = []
        self.answering = threading.Event()
        self.answering.set()
        self._others = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self)

    def __call__(self, host: Any, port: Any, *options: Any, **more: Any) -> Any:
        if host != self.NAME:
            return self._others(host, port, *options, **more)
        self.answering.wait(60.0)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in self.addresses]


async def test_replicas_behind_a_name_come_and_go(monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names(monkeypatch)
    first, second = Imagegen([model("general")]), Imagegen([model("general")])
    async with serving(first, host="127.0.0.2") as address:
        port = int(address.rpartition(":")[2])
        names.addresses = ["127.0.0.2"]
        async with (
            serving(second, host="127.0.0.3", port=port),
            router_at(f"dns:///{names.NAME}:{port}", refresh_s=0.02) as client,
        ):
            await client.events("a garden")
            names.addresses = ["127.0.0.3"]
            await replicas(client, {f"127.0.0.3:{port}"})
            await client.events("a lake")

    assert [[request.prompt for request in each.requests] for each in (first, second)] == [["a garden"], ["a lake"]]


async def test_a_model_whose_server_restarts_is_not_unknown() -> None:
    first, second = Imagegen([model("sketch")]), Imagegen([model("flux")])
    async with AsyncExitStack() as restarting, serving(first) as first_at:
        second_at = await restarting.enter_async_context(serving(second))
        async with router_at(f"{first_at},{second_at}", refresh_s=0.02) as client:
            await client.events("a garden", model="flux")
            await restarting.aclose()
            await unreachable(client, second_at)
            events = await client.events("a garden", allowed_models=["flux", "sketch"])
            with pytest.raises(grpc.aio.AioRpcError, match="no server that has flux is ready") as caught:
                await client.events("a garden", model="flux")

    assert events[0].routed.model == "sketch"
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


@dataclass
class Pensive(Rewrite):
    """A rewrite_llm that answers once `expected` questions have come, and makes a prompt safe once it `may_rewrite`."""

    expected: int = 1
    all_came: asyncio.Event = field(default_factory=asyncio.Event)
    may_rewrite: asyncio.Event = field(default_factory=asyncio.Event)

    async def JudgePrompt(self, request: Any, context: Any) -> rewrite_service_pb2.JudgePromptResponse:
        self.expected -= 1
        if self.expected <= 0:
            self.all_came.set()
        await self.all_came.wait()
        return await super().JudgePrompt(request, context)

    async def RewritePrompt(self, request: Any, context: Any) -> rewrite_service_pb2.RewritePromptResponse:
        await self.may_rewrite.wait()
        return await super().RewritePrompt(request, context)


@asynccontextmanager
async def twins(rewrite: Rewrite) -> AsyncIterator[Client]:
    """Run a router before two image servers that have the same models, and never finish."""

    async def hangs(_request: Any) -> AsyncIterator[Event]:
        await asyncio.Event().wait()
        yield Event()

    first, second = (Imagegen([model("general")], script=hangs) for _ in range(2))
    async with (
        serving(first) as first_at,
        serving(second) as second_at,
        serving(rewrite) as rewrite_at,
        router_at(f"{first_at},{second_at}", rewrite_at, decision_budget_s=20.0, refresh_s=60.0) as client,
    ):
        yield client


async def placed(client: Client) -> str:
    """Return which server a picture was sent to, and leave it there."""
    call = client.images.Generate(image_service_pb2.GenerateRequest(prompt="a garden"), timeout=20)
    return str((await anext(aiter(call))).routed.backend)


async def test_what_is_judged_at_the_same_time_is_spread_over_the_servers() -> None:
    async with twins(Pensive(expected=8)) as client:
        servers = await asyncio.gather(*(placed(client) for _ in range(8)))

    assert Counter(servers) == {"imagegen-0": 4, "imagegen-1": 4}


async def test_a_request_whose_prompt_is_being_rewritten_counts() -> None:
    async with twins(Pensive(verdict=decision_pb2.VERDICT_REWRITE)) as client:
        servers = [await placed(client) for _ in range(4)]

    assert Counter(servers) == {"imagegen-0": 2, "imagegen-1": 2}


async def test_a_name_service_that_hangs_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names(monkeypatch)
    names.addresses = ["127.0.0.1"]
    async with serving(Imagegen([model("general")])) as address:
        target = f"dns:///{names.NAME}:{address.rpartition(':')[2]}"
        async with router_at(target, probe_timeout_s=0.5, refresh_s=60.0) as client:
            names.answering.clear()
            listing = await client.router.ListBackends(router_service_pb2.ListBackendsRequest(), timeout=20)
            names.answering.set()

    assert address in {backend.address for backend in listing.backends}


async def unreachable(client: Client, address: str) -> None:
    """Return once the router cannot reach the server at `address`."""
    state = router_service_pb2.BACKEND_STATE_UNSPECIFIED
    while state != router_service_pb2.BACKEND_STATE_UNREACHABLE:
        listing = await client.router.ListBackends(router_service_pb2.ListBackendsRequest())
        (state,) = (backend.state for backend in listing.backends if backend.address == address)


async def replicas(client: Client, wanted: set[str]) -> None:
    """Return once the router knows just the image servers at the addresses `wanted`."""
    known: set[str] = set()
    while known != wanted:
        listing = await client.router.ListBackends(router_service_pb2.ListBackendsRequest())
        known = {backend.address for backend in listing.backends if backend.service == "imagegen"}
