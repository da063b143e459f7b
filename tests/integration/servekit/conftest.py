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
async def serve_toy(registry: CollectorRegistry) -> AsyncIterator[Callable[..., Awaitable[ToyClient]]]:
    """Start a toy around `on_message`, with the given settings; once per test."""
    async with AsyncExitStack() as stack:

        async def start(on_message: Callable[[str], Awaitable[str]], **overrides: Any) -> ToyClient:
            app = App(local(ServerSettings, **overrides), Toy(on_message).register, registry=registry)
            return ToyClient(await stack.enter_async_context(serve(app)))

        yield start


@pytest.fixture
def counted(registry: CollectorRegistry) -> Callable[..., float]:
    """Return a sample of `grpc_server_<metric>` for a method of the toy, 0 if there is none."""

    def sample(metric: str, method: str, **labels: str) -> float:
        names = {"grpc_type": Toy.KINDS[method], "grpc_service": Toy.SERVICE, "grpc_method": method}
        return registry.get_sample_value(f"grpc_server_{metric}", {**names, **labels}) or 0

    return sample


@pytest.fixture(params=Toy.KINDS)
def method(request: pytest.FixtureRequest) -> str:
    """Each method of the toy, so that all kinds and both styles of streaming are covered."""
    name: str = request.param
    return name
