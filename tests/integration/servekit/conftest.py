"""A toy server per test, and what its registry says of it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from servekit.app import App
from servekit.settings import ServerSettings
from servekit.testing import Toy, ToyClient, local, serve


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
async def servers() -> AsyncIterator[AsyncExitStack]:
    """What runs in this test. Closed, it has drained, so that all calls are counted and logged."""
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def serve_toy(registry: CollectorRegistry, servers: AsyncExitStack) -> Callable[..., Awaitable[ToyClient]]:
    """Start a toy around `on_message`, with the given settings; once per test."""

    async def start(on_message: Callable[[str], Awaitable[str]], **overrides: Any) -> ToyClient:
        app = App(local(ServerSettings, **overrides), Toy(on_message).register, registry=registry)
        return ToyClient(await servers.enter_async_context(serve(app)))

    return start


@pytest.fixture
def counted(registry: CollectorRegistry, servers: AsyncExitStack) -> Callable[..., Awaitable[float]]:
    """Stop the toy and return a sample of `grpc_server_<metric>` for one of its methods, 0 if there is none."""

    async def sample(metric: str, method: str, **labels: str) -> float:
        await servers.aclose()
        names = {"grpc_type": Toy.KINDS[method], "grpc_service": Toy.SERVICE, "grpc_method": method}
        return registry.get_sample_value(f"grpc_server_{metric}", {**names, **labels}) or 0

    return sample


@pytest.fixture(params=Toy.KINDS)
def method(request: pytest.FixtureRequest) -> str:
    """Each method of the toy, so that all kinds and both styles of streaming are covered."""
    name: str = request.param
    return name
