import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import CollectorRegistry

from atelier.models.v1 import models_pb2
from atelier.router.v1 import router_service_pb2
from servekit.channels import Link
from servekit.errors import DeadlineExceeded
from services.router.backends.channels import open_channel
from services.router.backends.server import Server
from services.router.domain import Replica, ReplicaLost, Weights
from services.router.metrics import RouterMetrics
from tests.integration.services.router.conftest import NOWHERE, Health, Imagegen, model


@pytest.fixture
async def health() -> Health:
    """Return the health of `backend`."""
    return Health()


@pytest.fixture
def registry() -> CollectorRegistry:
    """Return the registry of the metrics of `backend`."""
    return CollectorRegistry()


@pytest.fixture
async def backend(health: Health, registry: CollectorRegistry) -> AsyncIterator[Server]:
    """Return the router's view of an image server."""
    states = [models_pb2.MODEL_STATE_READY, models_pb2.MODEL_STATE_HOST, models_pb2.MODEL_STATE_FAILED]
    grpc_server = grpc.aio.server()
    Imagegen([model(name, state=state) for name, state in zip("abc", states, strict=True)]).register(grpc_server)
    health_pb2_grpc.add_HealthServicer_to_server(health, grpc_server)
    address = f"127.0.0.1:{grpc_server.add_insecure_port('127.0.0.1:0')}"
    await grpc_server.start()
    async with open_channel(address, Link(), max_message_bytes=4096) as channel:
        yield Server("imagegen", "imagegen-0", address, channel, RouterMetrics(registry))
    await grpc_server.stop(None)


async def test_a_server_is_not_idle_while_it_is_asked(backend: Server, health: Health) -> None:
    health.busy = True
    look = asyncio.create_task(backend.probe(60.0))
    await health.asked.wait()
    idle_while_asked = backend.idle
    look.cancel()
    await asyncio.wait([look])

    assert (idle_while_asked, backend.idle) == (False, True)


async def test_a_healthy_server_tells_what_it_has(backend: Server) -> None:
    await backend.probe(5.0)

    replica = backend.replica()
    assert replica.serving
    assert list(replica.models) == ["a", "b", "c"]
    assert replica.weights == {"a": Weights.READY, "b": Weights.HOST}
    assert replica.free_share == pytest.approx(0.6)


async def test_a_server_is_not_serving_before_it_was_asked(backend: Server) -> None:
    assert backend.replica() == Replica("imagegen-0", serving=False)


async def test_a_healthy_server_that_is_too_busy_to_answer_stays_in_use(backend: Server, health: Health) -> None:
    await backend.probe(5.0)
    health.busy = True

    await backend.probe(0.01)

    assert (backend.serving, backend.answering) == (True, False)


async def test_a_server_that_is_silent_twice_in_a_row_is_unreachable(
    backend: Server, health: Health, registry: CollectorRegistry
) -> None:
    await backend.probe(5.0)
    health.busy = True

    await backend.probe(0.01)
    await backend.probe(0.01)

    assert backend.describe().state == router_service_pb2.BACKEND_STATE_UNREACHABLE
    assert registry.get_sample_value("router_backend_up", {"backend": "imagegen-0"}) == 0


async def test_nothing_is_told_of_a_server_that_has_gone(backend: Server, registry: CollectorRegistry) -> None:
    await backend.probe(5.0)
    backend.leave()
    await backend.probe(5.0)
    with backend.lease():
        pass

    names = ("router_backend_up", "router_backend_in_flight")
    assert [registry.get_sample_value(name, {"backend": "imagegen-0"}) for name in names] == [None, None]


async def test_a_server_that_answers_in_between_is_busy_and_stays_in_use(backend: Server, health: Health) -> None:
    await backend.probe(5.0)

    for busy in (True, False, True):
        health.busy = busy
        await backend.probe(0.01 if busy else 5.0)

    assert backend.serving


async def test_two_looks_at_once_are_one_miss(backend: Server, health: Health) -> None:
    await backend.probe(5.0)
    health.busy = True

    await asyncio.gather(backend.probe(0.01), backend.probe(0.01))

    assert backend.serving


async def test_a_silent_server_that_answers_again_is_back_with_what_it_has(backend: Server, health: Health) -> None:
    health.busy = True
    await backend.probe(0.01)
    await backend.probe(0.01)
    health.busy = False

    await backend.probe(5.0, describe=False)

    assert (backend.serving, backend.answering, len(backend.describe().models)) == (True, True, 3)


async def test_a_server_that_misses_a_deadline_is_put_last_until_the_next_good_look(backend: Server) -> None:
    await backend.probe(5.0)

    with pytest.raises(DeadlineExceeded), backend.lease():
        raise grpc.aio.AioRpcError(grpc.StatusCode.DEADLINE_EXCEEDED, grpc.aio.Metadata(), grpc.aio.Metadata())
    late = backend.replica()
    await backend.probe(5.0)

    assert (late.serving, late.answering, backend.replica().answering) == (True, False, True)


async def test_a_server_that_was_heard_before_the_deadline_keeps_its_place(backend: Server) -> None:
    await backend.probe(5.0)

    with pytest.raises(DeadlineExceeded), backend.lease():
        backend.heard()
        raise grpc.aio.AioRpcError(grpc.StatusCode.DEADLINE_EXCEEDED, grpc.aio.Metadata(), grpc.aio.Metadata())

    assert backend.answering


async def test_a_server_that_answered_a_look_before_the_deadline_keeps_its_place(backend: Server) -> None:
    with pytest.raises(DeadlineExceeded), backend.lease():
        await backend.probe(5.0)
        raise grpc.aio.AioRpcError(grpc.StatusCode.DEADLINE_EXCEEDED, grpc.aio.Metadata(), grpc.aio.Metadata())

    assert backend.answering


async def test_a_server_that_drains_is_not_serving(backend: Server, health: Health) -> None:
    await backend.probe(5.0)
    health.status = health_pb2.HealthCheckResponse.NOT_SERVING

    await backend.probe(5.0)

    assert not backend.serving


async def test_a_look_at_the_health_alone_keeps_what_is_known(backend: Server) -> None:
    await backend.probe(5.0)
    known = backend.replica()

    await backend.probe(5.0, describe=False)

    assert backend.replica() == known


async def test_a_server_that_is_lost_is_avoided_until_the_next_look(backend: Server) -> None:
    await backend.probe(5.0)

    with pytest.raises(ReplicaLost), backend.lease():
        raise grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata())

    assert (backend.serving, backend.in_flight) == (False, 0)


async def test_a_server_that_is_not_there_is_unreachable() -> None:
    async with open_channel(NOWHERE, Link(), max_message_bytes=4096) as channel:
        server = Server("imagegen", "imagegen-0", NOWHERE, channel, RouterMetrics(CollectorRegistry()))
        await server.probe(5.0)

    assert not server.serving
