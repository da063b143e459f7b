"""Replicas behind a name, as a headless service of Kubernetes has it."""

import socket
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest

from atelier.router.v1 import router_service_pb2
from tests.integration.services.router.conftest import Client, Imagegen, model, router_at, serving


class Names:
    """A name service whose only name stands for the `addresses` that a test sets."""

    NAME = "imagegen.studio.svc"

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.addresses: list[str] = []
        self._others = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self)

    def __call__(self, host: Any, port: Any, *options: Any, **more: Any) -> Any:
        if host != self.NAME:
            return self._others(host, port, *options, **more)
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
