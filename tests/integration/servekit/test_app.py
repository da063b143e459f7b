"""The life of an app inside one process; `test_process.py` has signals and exit codes."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2 as details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status
from prometheus_client import CollectorRegistry

from servekit.app import App
from servekit.settings import ServerSettings
from servekit.testing import Toy, ToyClient, echo, ended, local, serve, tasks

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Once:
    """Lets its callers wait until it is released, and tells when one came."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.released = asyncio.Event()

    async def __call__(self, text: str = "") -> str:
        self.entered.set()
        await self.released.wait()
        return text


def _app(on_message: Callable[[str], Awaitable[str]] = echo, hooks: Any = None, **settings: Any) -> App:
    toy = Toy(on_message)
    return App(local(ServerSettings, **settings), toy.register, registry=CollectorRegistry(), **(hooks or {}))


async def _health(channel: grpc.aio.Channel, service: str = "") -> int:
    response = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service))
    return int(response.status)


def _reason(error: grpc.aio.AioRpcError) -> str:
    info = details_pb2.ErrorInfo()
    assert any(detail.Unpack(info) for detail in rpc_status.from_call(error).details)
    return str(info.reason)


class Running:
    """An app served by a task of its own, so that a test can watch it start and drain."""

    def __init__(self, app: App, port: int) -> None:
        self._app = app
        self._stop = asyncio.Event()
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        self.task = asyncio.create_task(self._run())

    def stop(self) -> None:
        self._stop.set()

    async def _run(self) -> None:
        async with self._app.serving():
            await self._stop.wait()


@asynccontextmanager
async def running(port: int, *args: Any, **options: Any) -> AsyncIterator[Running]:
    run = Running(_app(*args, port=port, **options), port)
    try:
        yield run
    finally:
        run.stop()
        await run.channel.close()
        await run.task


@pytest.mark.parametrize("service", ["", Toy.SERVICE])
async def test_it_is_unhealthy_until_started(unused_tcp_port: int, service: str) -> None:
    start = Once()

    async def hook() -> None:
        await start()

    async with running(unused_tcp_port, hooks={"start": hook}) as run:
        await start.entered.wait()
        watch = health_pb2_grpc.HealthStub(run.channel).Watch(health_pb2.HealthCheckRequest(service=service))
        assert (await watch.read()).status == NOT_SERVING
        start.released.set()
        assert (await watch.read()).status == SERVING
        run.stop()
        assert (await watch.read()).status == NOT_SERVING


async def test_calls_are_refused_until_started(unused_tcp_port: int) -> None:
    start = Once()

    async def hook() -> None:
        await start()

    async with running(unused_tcp_port, hooks={"start": hook}) as run:
        await start.entered.wait()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ToyClient(run.channel).ask("Unary", "hello")
        start.released.set()
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert _reason(caught.value) == "MODEL_LOADING"


async def test_it_is_healthy_once_started() -> None:
    async with serve(_app()) as channel:
        assert await _health(channel) == SERVING
        assert await _health(channel, Toy.SERVICE) == SERVING


async def test_hooks_run_around_the_serving() -> None:
    events: list[str] = []

    async def start() -> None:
        events.append("start")

    async def stop() -> None:
        events.append("stop")

    async with _app(hooks={"start": start, "stop": stop}).serving():
        events.append("serving")
    assert events == ["start", "serving", "stop"]


async def test_a_start_that_fails_is_stopped_and_reported() -> None:
    stopped = asyncio.Event()

    async def start() -> None:
        raise RuntimeError("no device")

    async def stop() -> None:
        stopped.set()

    with pytest.raises(RuntimeError, match="no device"):
        async with _app(hooks={"start": start, "stop": stop}).serving():
            pytest.fail("an app that did not start was served")
    assert stopped.is_set()


async def test_an_address_that_is_taken_is_reported() -> None:
    async with _app().serving() as address:
        with pytest.raises(OSError, match=f"cannot listen on {address}"):
            async with _app(port=int(address.rpartition(":")[2])).serving():
                pytest.fail("two servers share one port")


@pytest.mark.parametrize("kind", ["Unary", "Each"])
async def test_draining_finishes_what_is_in_flight_and_refuses_what_comes_after(
    unused_tcp_port: int, kind: str
) -> None:
    once = Once()
    async with running(unused_tcp_port, once, grace_s=30) as run:
        toy = ToyClient(run.channel)
        await run.channel.channel_ready()
        answer = asyncio.create_task(toy.ask(kind, "hello", wait_for_ready=True))
        await once.entered.wait()
        watch = health_pb2_grpc.HealthStub(run.channel).Watch(health_pb2.HealthCheckRequest())
        await watch.read()
        run.stop()
        await watch.read()
        with pytest.raises(grpc.aio.AioRpcError):
            await watch.read()  # the watch has ended, so the port is closed
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await toy.ask(kind, "too late")
        once.released.set()
        assert await answer == ["hello"]
        await run.task
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_calls_are_served_until_load_balancers_had_time_to_notice(unused_tcp_port: int) -> None:
    async with running(unused_tcp_port, drain_delay_s=0.2) as run:
        await run.channel.channel_ready()
        watch = health_pb2_grpc.HealthStub(run.channel).Watch(health_pb2.HealthCheckRequest())
        await watch.read()
        run.stop()
        assert (await watch.read()).status == NOT_SERVING
        assert await ToyClient(run.channel).ask("Unary", "in time") == ["in time"]


async def test_a_client_that_watches_health_loses_nothing_when_one_of_two_servers_goes(
    unused_tcp_port_factory: Callable[[], int],
) -> None:
    """As in a rolling update behind a headless service: the client goes round the healthy ones and repeats nothing."""
    ports = unused_tcp_port_factory(), unused_tcp_port_factory()
    config = {"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": ""}}
    async with (
        running(ports[0], drain_delay_s=0.3) as first,
        running(ports[1]),
        grpc.aio.insecure_channel(
            "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in ports),
            options=[("grpc.service_config", json.dumps(config))],
        ) as channel,
        asyncio.TaskGroup() as asking,
    ):
        stop_asking = asyncio.Event()

        async def ask_on() -> None:
            while not stop_asking.is_set():
                assert await ToyClient(channel).ask("Unary", "hello", wait_for_ready=True) == ["hello"]

        for _ in range(8):
            asking.create_task(ask_on())
        await ToyClient(channel).ask("Unary", "hello", wait_for_ready=True)
        first.stop()
        await first.task
        stop_asking.set()


async def test_what_outlives_the_grace_ends_with_a_status(unused_tcp_port: int) -> None:
    once = Once()
    async with running(unused_tcp_port, once, grace_s=0.1) as run:
        await run.channel.channel_ready()
        answer = asyncio.create_task(ToyClient(run.channel).ask("Unary", "hello"))
        await once.entered.wait()
        run.stop()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await answer
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert _reason(caught.value) == "DRAINING"


async def test_a_lasting_call_does_not_hold_up_the_end(unused_tcp_port: int) -> None:
    once = Once()
    lasting = {"lasting": [f"/{Toy.SERVICE}/Split"]}
    async with running(unused_tcp_port, once, hooks=lasting, grace_s=1000) as run:
        await run.channel.channel_ready()
        answer = asyncio.create_task(ToyClient(run.channel).ask("Split", "hello"))
        await once.entered.wait()
        run.stop()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await answer
        await run.task
    assert _reason(caught.value) == "DRAINING"


async def test_a_lasting_call_has_no_default_deadline() -> None:
    async def soon(text: str) -> str:
        await asyncio.get_running_loop().run_in_executor(None, lambda: None)
        return text

    hooks = {"lasting": [f"/{Toy.SERVICE}/Split"]}
    async with serve(_app(soon, hooks=hooks, default_deadline_s=1e-6)) as channel:
        assert await ToyClient(channel).ask("Split", "hello") == ["hello"]
        with pytest.raises(grpc.aio.AioRpcError):
            await ToyClient(channel).ask("Unary", "hello")


async def test_reflection_lists_every_service() -> None:
    async with serve(_app()) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        (answer,) = [answer async for answer in stub.ServerReflectionInfo(iter([request]))]
    names = {service.name for service in answer.list_services_response.service}
    assert names == {Toy.SERVICE, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}


async def test_nothing_is_left_behind() -> None:
    before = tasks()
    async with serve(_app(metrics_port=0)) as channel:
        await ToyClient(channel).ask("Unary", "hello")
    await ended(since=before)
