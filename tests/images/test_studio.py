"""The local overlay on the built images: it comes up, works, and is replaced under load without losing a call."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import grpc
import pytest
import pytest_asyncio

from atelier.router.v1 import router_service_pb2, router_service_pb2_grpc
from atelier_client import AsyncClient
from tests.images.pods import Cluster, podman

SERVICES = ("rewrite-llm", "imagegen", "voice", "router")
PROMPT = "a serene landscape with mountains and a lake at sunset"

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(900)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("pods"))
    await podman("network", "create", made.network)
    try:
        for service in SERVICES:
            await made.start(service)
        yield made
    finally:
        await made.close()


@pytest.mark.parametrize("service", SERVICES)
async def test_every_probe_passes(cluster: Cluster, service: str) -> None:
    pod = cluster.pods[service, 0]
    assert [await pod.passes(probe) for probe in ("startupProbe", "readinessProbe", "livenessProbe")] == [True] * 3


async def test_a_client_gets_a_picture_and_a_sentence(cluster: Cluster) -> None:
    async with AsyncClient(cluster.pods["router", 0].address) as client:
        result = await client.image(PROMPT, seed=7)
        spoken = await client.say("Welcome to the studio.")
    assert result.pictures[0].data.startswith(b"\x89PNG")
    assert result.routed is not None
    assert result.routed.model == "sketch_landscape"
    assert spoken.data.startswith(b"RIFF")


@asynccontextmanager
async def load(ask: Callable[[], Awaitable[object]], width: int) -> AsyncIterator[list[int]]:
    """Call `ask` again and again, `width` at a time, until the block is left; raises what any call raised."""
    answered, leave = [0], asyncio.Event()

    async def go_on() -> None:
        while not leave.is_set():
            await ask()
            answered[0] += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(width):
            group.create_task(go_on())
        yield answered
        leave.set()


async def replace(cluster: Cluster, service: str, answered: list[int]) -> int:
    """Do what a rolling update does: a new pod, and when it is ready, the old one goes. Return its exit code."""
    before = answered[0]
    await cluster.start(service, 1)
    code = await cluster.pods[service, 0].stop()
    assert answered[0] > before
    return code


async def test_replacing_a_voice_server_loses_no_sentence(cluster: Cluster) -> None:
    async with (
        AsyncClient(cluster.pods["router", 0].address) as client,
        load(lambda: client.say("One after the other."), width=4) as answered,
    ):
        assert await replace(cluster, "voice", answered) == 0


async def test_replacing_an_image_server_loses_no_picture(cluster: Cluster) -> None:
    async with (
        AsyncClient(cluster.pods["router", 0].address) as client,
        load(lambda: client.image(PROMPT, steps=2), width=2) as answered,
    ):
        assert await replace(cluster, "imagegen", answered) == 0


async def test_replacing_the_router_loses_no_decision(cluster: Cluster) -> None:
    """With a client as the headless service is meant for: round the healthy addresses, repeating nothing."""
    request = router_service_pb2.RouteRequest()
    request.request.prompt = PROMPT
    new = await cluster.start("router", 1)
    old = cluster.pods["router", 0]
    config = {"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": ""}}
    options = [("grpc.service_config", json.dumps(config))]
    async with grpc.aio.insecure_channel(f"ipv4:{old.address},{new.address}", options=options) as channel:
        stub = router_service_pb2_grpc.RouterServiceStub(channel)
        async with load(lambda: stub.Route(request, wait_for_ready=True), width=4) as answered:
            assert await old.stop() == 0
        assert answered[0] > 0
