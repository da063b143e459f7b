"""The four services as processes of this machine: for the demo, the benchmarks and the end-to-end tests.

`make run` uses honcho instead; both take their processes from `processes`.
"""

import asyncio
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from deploy.local.ports import unused
from servekit.channels import Link

SERVICES = ("rewrite_llm", "imagegen", "voice", "router")
"""In the order in which they start: the router last, so that it finds the others."""

PATIENT = {"GOMP_SPINCOUNT": "700"}
"""Threads that wait for each other spin for a moment, then sleep: `docs/decisions/0056-threads-that-wait.md`."""

STOP_SECONDS = 15.0
"""How long a service gets to stop by itself before it is killed."""


IN_THE_CLEAR = Link()


@dataclass(frozen=True)
class Process:
    """One service: how to start it and where it listens."""

    name: str
    port: int
    metrics_port: int
    environment: dict[str, str]

    @property
    def address(self) -> str:
        """Return host:port of its gRPC server."""
        return f"127.0.0.1:{self.port}"

    @property
    def command(self) -> list[str]:
        """Return its command line."""
        return [sys.executable, "-m", f"services.{self.name}"]


class StartFailed(Exception):
    """A service ended, or did not become healthy in time."""


def processes(ports: dict[str, tuple[int, int]], settings: dict[str, str] | None = None) -> list[Process]:
    """Return the four services, each wired to the others.

    Args:
        ports: gRPC and metrics port by name of the service.
        settings: settings for every service, without the prefix, for instance `LOG_FORMAT`.
    """
    wiring = {
        "ATELIER_ROUTER_IMAGEGEN_TARGETS": f"127.0.0.1:{ports['imagegen'][0]}",
        "ATELIER_ROUTER_VOICE_TARGETS": f"127.0.0.1:{ports['voice'][0]}",
        "ATELIER_ROUTER_REWRITE_TARGET": f"127.0.0.1:{ports['rewrite_llm'][0]}",
        "ATELIER_IMAGEGEN_REWRITE_ADDRESS": f"127.0.0.1:{ports['rewrite_llm'][0]}",
    }
    return [
        Process(name, *ports[name], environment=PATIENT | wiring | _own_settings(name, ports[name], settings or {}))
        for name in SERVICES
    ]


def _own_settings(name: str, ports: tuple[int, int], settings: dict[str, str]) -> dict[str, str]:
    prefix = "ATELIER_REWRITE" if name == "rewrite_llm" else f"ATELIER_{name.upper()}"
    values = {"PORT": str(ports[0]), "METRICS_PORT": str(ports[1])} | settings
    return {f"{prefix}_{key}": value for key, value in values.items()}


def free_ports() -> dict[str, tuple[int, int]]:
    """Return unused loopback ports for every service."""
    numbers = iter(unused(2 * len(SERVICES)))
    return {name: (next(numbers), next(numbers)) for name in SERVICES}


class Studio:
    """Starts the services, waits until all are healthy, and stops every one of them on the way out.

    `settings` are settings of every service, without the prefix; `environment` is set as it is. `link` is how their
    health is asked for, where they do not serve in the clear.
    """

    def __init__(
        self,
        log_dir: Path,
        *,
        settings: dict[str, str] | None = None,
        environment: dict[str, str] | None = None,
        link: Link = IN_THE_CLEAR,
        ready_seconds: float = 120.0,
    ) -> None:
        self.log_dir = log_dir
        self._environment = os.environ | (environment or {})
        self._link = link
        self._ready_seconds = ready_seconds
        self._logs: list[IO[bytes]] = []
        self.services = {each.name: each for each in processes(free_ports(), settings)}
        self.running: dict[str, asyncio.subprocess.Process] = {}

    @property
    def address(self) -> str:
        """Return the router's address."""
        return self.services["router"].address

    async def __aenter__(self) -> Self:
        self.log_dir.mkdir(parents=True, exist_ok=True)
        starting = [asyncio.create_task(self.start(name)) for name in SERVICES]
        try:
            async with asyncio.timeout(self._ready_seconds):
                await asyncio.gather(*starting)
        except BaseException as error:
            await self._abandon(starting)
            if isinstance(error, TimeoutError):
                message = f"not healthy after {self._ready_seconds:.0f} s; logs are in {self.log_dir}"
                raise StartFailed(message) from None
            raise
        return self

    async def _abandon(self, starting: Sequence[asyncio.Task[None]]) -> None:
        """Stop what runs, after nothing more can be started."""
        for each in starting:
            each.cancel()
        try:
            await asyncio.wait(starting)
        finally:
            await self.stop()

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    async def start(self, name: str) -> None:
        """Start one service and return when it is healthy.

        Raises:
            StartFailed: the process ended before that.
        """
        service = self.services[name]
        log = (self.log_dir / f"{name}.log").open("ab")
        self._logs.append(log)
        # A session of its own keeps Ctrl-C away from it: the studio stops it in order.
        process = await asyncio.create_subprocess_exec(
            *service.command,
            env=self._environment | service.environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        self.running[name] = process
        healthy = asyncio.ensure_future(_healthy(service.address, self._link))
        ended = asyncio.ensure_future(process.wait())
        try:
            await asyncio.wait({healthy, ended}, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                tail = (self.log_dir / f"{name}.log").read_text(errors="replace").splitlines()[-5:]
                raise StartFailed(f"{name} ended with code {process.returncode}:\n" + "\n".join(tail))
        finally:
            healthy.cancel()
            ended.cancel()
            await asyncio.gather(healthy, ended, return_exceptions=True)

    async def stop(self) -> None:
        """Stop every service: politely, then by force; by force at once when cancelled."""
        try:
            await asyncio.gather(*(_stop(process) for process in self.running.values()))
        finally:
            for process in self.running.values():
                if process.returncode is None:
                    process.kill()
            for log in self._logs:
                log.close()
            self._logs.clear()


async def _healthy(address: str, link: Link) -> None:
    """Return when the server says SERVING."""
    async with link.open(address, [("grpc.initial_reconnect_backoff_ms", 100)]) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        while True:
            try:
                async for reply in stub.Watch(health_pb2.HealthCheckRequest(), wait_for_ready=True):
                    if reply.status == health_pb2.HealthCheckResponse.SERVING:
                        return
            except grpc.aio.AioRpcError:
                continue  # the port is taken before the server answers; the process's end stops this loop


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
