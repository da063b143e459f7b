"""Builds the grpc.aio server: options, interceptor, health, reflection, address."""

import socket
from collections.abc import Callable, Sequence
from typing import TypeAlias

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

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


def channel_options(max_message_bytes: int) -> Options:
    """Return the options of a channel to one of our servers; it is pinged, so a dead peer is noticed in 40 s."""
    return [*_size_options(max_message_bytes), *_KEEPALIVE]


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
    return grpc.aio.server(
        interceptors=[interceptor],
        options=server_options(settings),
        maximum_concurrent_rpcs=settings.max_concurrent_calls,
    )


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


LIVENESS = "liveness"
"""Name under which health checks ask whether the process should be restarted, not whether it wants calls."""


class Health:
    """The health of a server and all its services, which rises and falls together, and its liveness, which does not."""

    def __init__(self, services: Sequence[str]) -> None:
        self._services = ("", *services)
        self._servicer = health.aio.HealthServicer()

    async def add_to(self, server: grpc.aio.Server) -> None:
        """Serve health as NOT_SERVING; grpc's own servicer would start as SERVING."""
        await self._set(health_pb2.HealthCheckResponse.NOT_SERVING)
        await self.alive(True)
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    async def serving(self) -> None:
        """Say that calls are welcome."""
        await self._set(health_pb2.HealthCheckResponse.SERVING)

    async def alive(self, alive: bool) -> None:
        """Say whether the process still does its work; if not, it should be restarted."""
        statuses = health_pb2.HealthCheckResponse
        await self._servicer.set(LIVENESS, statuses.SERVING if alive else statuses.NOT_SERVING)

    async def draining(self) -> None:
        """Say for good that they are not."""
        await self._servicer.enter_graceful_shutdown()

    async def _set(self, status: "health_pb2.HealthCheckResponse.ServingStatus") -> None:
        for service in self._services:
            await self._servicer.set(service, status)


def add_reflection(server: grpc.aio.Server, services: Sequence[str]) -> None:
    """Let generic tools discover `services`, health and reflection itself."""
    names = (*services, health.SERVICE_NAME, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server)
