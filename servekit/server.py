"""Builds the grpc.aio server: options, interceptor, health, reflection, address."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeAlias

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from servekit.errors import NotFound
from servekit.interceptors import CallInterceptor
from servekit.settings import ServerSettings
from servekit.tls import server_credentials

Register: TypeAlias = Callable[[grpc.aio.Server], Sequence[str]]
"""Adds the servicers to the server and returns the full names of their services."""

Options: TypeAlias = list[tuple[str, int]]

_KEEPALIVE: Options = [
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
]
_RECONNECT: Options = [
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 1000),  # the default of two minutes would hide a server that came back
]


def channel_options(max_message_bytes: int) -> Options:
    """Return the options of a channel to one of our servers.

    It is pinged, so a dead peer is noticed in 40 s, and one that comes back is found within a second.
    """
    return [*_size_options(max_message_bytes), *_KEEPALIVE, *_RECONNECT]


def server_options(settings: ServerSettings) -> Options:
    """Return the options of the server."""
    return [
        *_size_options(settings.max_message_bytes),
        *_KEEPALIVE,
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
        ("grpc.http2.max_ping_strikes", 0),
        ("grpc.so_reuseport", 0),  # or a second server on the same port would silently take half of the calls
    ]


def _size_options(max_message_bytes: int) -> Options:
    return [("grpc.max_receive_message_length", max_message_bytes), ("grpc.max_send_message_length", max_message_bytes)]


def build(settings: ServerSettings, interceptor: CallInterceptor) -> grpc.aio.Server:
    """Return a server without services or address."""
    return grpc.aio.server(interceptors=[interceptor], options=server_options(settings))


def bind(server: grpc.aio.Server, settings: ServerSettings) -> str:
    """Bind the address of `settings` and return it as `host:port`; raises `OSError` if it is taken."""
    host = f"[{settings.host}]" if ":" in settings.host and "[" not in settings.host else settings.host
    wanted = f"{host}:{settings.port}"
    credentials = server_credentials(settings)
    try:
        port = server.add_secure_port(wanted, credentials) if credentials else server.add_insecure_port(wanted)
    except RuntimeError as error:
        why = _why_not(settings.host.strip("[]"), settings.port) or str(error)
        raise OSError(f"cannot listen on {wanted}: {why}") from None
    return f"{host}:{port}"


def _why_not(host: str, port: int) -> str:
    """Return what the system says to listening there, which gRPC keeps to itself; empty if it has no objections."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in found:
            with socket.socket(family, kind, protocol) as tried:
                tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                tried.bind(address)
                tried.listen()
    except OSError as error:
        return error.strerror or str(error)
    return ""


_Status = health_pb2.HealthCheckResponse

LIVENESS = "liveness"
"""Name under which health checks ask whether the process should be restarted, not whether it wants calls."""


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # the library is not typed
    """The health of a server and all its services, which rises and falls together, and its liveness, which does not.

    The library's own servicer writes to those who watch while it holds the lock that every change needs, so that one of
    them who does not read holds up everybody; this one has no lock.
    """

    def __init__(self, services: Sequence[str]) -> None:
        self._welcoming = ("", *services)
        self._statuses: dict[str, int] = {}
        self._changed = asyncio.Event()
        self._set(_Status.NOT_SERVING, *self._welcoming)
        self.alive(True)

    def add_to(self, server: grpc.aio.Server) -> None:
        """Answer health checks: NOT_SERVING for now."""
        health_pb2_grpc.add_HealthServicer_to_server(self, server)

    def serving(self) -> None:
        """Say that calls are welcome."""
        self._set(_Status.SERVING, *self._welcoming)

    def draining(self) -> None:
        """Say that they are no longer."""
        self._set(_Status.NOT_SERVING, *self._welcoming)

    def alive(self, alive: bool) -> None:
        """Say whether the process still does its work; if not, it should be restarted."""
        self._set(_Status.SERVING if alive else _Status.NOT_SERVING, LIVENESS)

    async def Check(self, request: health_pb2.HealthCheckRequest, context: Any) -> health_pb2.HealthCheckResponse:
        """Answer how a service is; raises `NotFound`."""
        status = self._statuses.get(request.service)
        if status is None:
            raise NotFound("service", request.service)
        return health_pb2.HealthCheckResponse(status=status)

    async def Watch(
        self, request: health_pb2.HealthCheckRequest, context: Any
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """Tell how a service is, and again when that changes; who reads slowly is told the latest."""
        told = None
        while True:
            changed, status = self._changed, self._statuses.get(request.service, _Status.SERVICE_UNKNOWN)
            if status == told:
                await changed.wait()
            else:
                yield health_pb2.HealthCheckResponse(status=status)
                told = status

    def _set(self, status: int, *services: str) -> None:
        self._statuses |= dict.fromkeys(services, status)
        self._changed.set()
        self._changed = asyncio.Event()


def add_reflection(server: grpc.aio.Server, services: Sequence[str]) -> None:
    """Let generic tools discover `services`, health and reflection itself."""
    names = (*services, health.SERVICE_NAME, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server)
