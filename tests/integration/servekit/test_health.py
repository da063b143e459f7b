"""What health checks are told, whoever else asks."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import CollectorRegistry

from servekit.app import App
from servekit.clock import SystemClock
from servekit.heartbeat import Heartbeat
from servekit.server import LIVENESS
from servekit.settings import ServerSettings
from servekit.testing import Toy, local, serve

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _SETTINGS = 0, 1, 4
_END_STREAM, _ACK, _END_HEADERS = 1, 1, 4
_INITIAL_WINDOW_SIZE = 4


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _header(name: bytes, value: bytes) -> bytes:
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def _watch(service: str) -> bytes:
    """Return the frames of a call to `Watch` by a client that takes no byte of the answer."""
    names = (b":method", b":scheme", b":path", b":authority", b"te", b"content-type")
    values = (b"POST", b"http", b"/grpc.health.v1.Health/Watch", b"x", b"trailers", b"application/grpc")
    headers = b"".join(map(_header, names, values))
    request = health_pb2.HealthCheckRequest(service=service).SerializeToString()
    message = struct.pack(">BI", 0, len(request)) + request
    return (
        _frame(_SETTINGS, 0, 0, struct.pack(">HI", _INITIAL_WINDOW_SIZE, 0))
        + _frame(_HEADERS, _END_HEADERS, 1, headers)
        + _frame(_DATA, _END_STREAM, 1, message)
    )


@asynccontextmanager
async def _deaf(address: str, service: str) -> AsyncIterator[None]:
    """Watch `service` inside the block without reading: the server's first answer waits to be sent all the while."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(_PREFACE + _watch(service))
    kind = _SETTINGS
    while kind != _HEADERS:
        size, kind, flags = struct.unpack(">3sBB4x", await reader.readexactly(9))
        await reader.readexactly(int.from_bytes(size))
        if kind == _SETTINGS and not flags & _ACK:
            writer.write(_frame(_SETTINGS, _ACK, 0))
    try:
        yield
    finally:
        writer.close()
        await writer.wait_closed()


def _watched(channel: grpc.aio.Channel, service: str) -> Any:
    return health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=service))


async def _check(channel: grpc.aio.Channel, service: str = "") -> int:
    answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service))
    return int(answer.status)


class Life:
    """The life of a server, in a task of its own: it starts and drains when it is told to."""

    def __init__(self, port: int) -> None:
        self._settings = local(ServerSettings, port=port, grace_s=0.1)
        self.starting, self._may_start = asyncio.Event(), asyncio.Event()
        self._serving, self._may_stop = asyncio.Event(), asyncio.Event()

    async def run(self) -> None:
        app = App(self._settings, Toy().register, registry=CollectorRegistry(), start=self._start)
        async with app.serving():
            self._serving.set()
            await self._may_stop.wait()

    async def _start(self) -> None:
        self.starting.set()
        await self._may_start.wait()

    async def start(self) -> None:
        self._may_start.set()
        await self._serving.wait()

    def stop(self) -> None:
        self._may_stop.set()


@pytest.mark.parametrize("service", ["", Toy.SERVICE, LIVENESS])
async def test_one_who_watches_and_does_not_read_holds_up_neither_start_nor_drain(
    unused_tcp_port: int, service: str
) -> None:
    address, life = f"127.0.0.1:{unused_tcp_port}", Life(unused_tcp_port)
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        living = group.create_task(life.run())
        await life.starting.wait()
        async with _deaf(address, service):
            await life.start()
            async with grpc.aio.insecure_channel(address) as channel:
                assert await _check(channel) == SERVING
            life.stop()
            await living


async def test_one_who_watches_and_does_not_read_hides_no_hanging_device() -> None:
    may_beat = asyncio.Event()
    heartbeat = Heartbeat(may_beat.wait, clock=SystemClock(), stalled_after_s=0.2)
    app = App(local(ServerSettings, grace_s=0.1), Toy().register, registry=CollectorRegistry(), heartbeat=heartbeat)
    async with (
        asyncio.timeout(20),
        app.serving() as address,
        _deaf(address, LIVENESS),
        grpc.aio.insecure_channel(address) as channel,
    ):
        watch = _watched(channel, LIVENESS)
        while (await watch.read()).status != NOT_SERVING:
            pass


async def test_liveness_does_not_fall_while_the_server_drains(unused_tcp_port: int) -> None:
    life = Life(unused_tcp_port)
    async with asyncio.TaskGroup() as group, grpc.aio.insecure_channel(f"127.0.0.1:{unused_tcp_port}") as channel:
        group.create_task(life.run())
        await life.start()
        watches = [_watched(channel, service) for service in ("", LIVENESS)]
        assert [(await watch.read()).status for watch in watches] == [SERVING, SERVING]
        life.stop()
        assert (await watches[0].read()).status == NOT_SERVING
        with pytest.raises(grpc.aio.AioRpcError) as caught:  # it ends, and tells of no fall before
            await watches[1].read()
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_service_that_is_not_there_is_unknown_to_those_who_watch() -> None:
    async with serve(App(local(ServerSettings), Toy().register, registry=CollectorRegistry())) as channel:
        assert (await _watched(channel, "no.such.Service").read()).status == SERVICE_UNKNOWN
