"""The life of a server process: bind, start, serve, drain, stop. `run` holds the only `asyncio.run`."""

import asyncio
import gc
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeAlias, TypeVar

import grpc
from prometheus_client import CollectorRegistry

from servekit import garbage, metrics, server
from servekit import logging as logs
from servekit.access import guard_of
from servekit.calls import Calls
from servekit.clock import SYSTEM_CLOCK, Clock
from servekit.device import DeviceUnavailable
from servekit.errors import ServingError
from servekit.gate import Gate
from servekit.heartbeat import Heartbeat
from servekit.interceptors import CallInterceptor
from servekit.settings import ServerSettings, check_files, from_environment
from servekit.tracing import Tracing

logger = logging.getLogger(__name__)

Hook: TypeAlias = Callable[[], Awaitable[None]]
S = TypeVar("S", bound=ServerSettings)

_LAST_WORDS_S = 1.0
"""Seconds for the calls that outlive the grace to send their status."""


async def _nothing() -> None:
    """Do nothing; the hook of an app that needs none."""


class App:
    """A server with what it serves, and what to do before the first call and after the last.

    `register` adds the servicers and returns their services' full names. `start` makes the service ready (device,
    warm-up); calls are refused until it returns. `stop` runs once `start` was begun, so it must cope with a `start`
    that failed half-way. `lasting` names the methods without a natural end, see `Gate`. `heartbeat` says whether the
    device is alive; without one the server is, as long as it answers. `clock` is that of limits and of
    looks at the callers file. At the `edge` callers are no services of ours: only a callers file can let them speak for
    others, a certificate does not.
    """

    def __init__(
        self,
        settings: ServerSettings,
        register: server.Register,
        *,
        registry: CollectorRegistry,
        start: Hook = _nothing,
        stop: Hook = _nothing,
        lasting: Collection[str] = (),
        tracing: Tracing | None = None,
        heartbeat: Heartbeat | None = None,
        clock: Clock = SYSTEM_CLOCK,
        edge: bool = False,
    ) -> None:
        self.settings = settings
        self._register = register
        self._registry = registry
        self._metrics = metrics.GrpcMetrics(registry)
        self._loop_metrics = metrics.LoopMetrics(registry)
        self._start = start
        self._stop = stop
        self._guard = guard_of(settings, registry, clock, edge=edge)
        self._lasting = lasting
        self._tracing = tracing
        self._heartbeat = heartbeat

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Serve inside the block, which gets the bound `host:port`; drain and stop when it is left."""
        self._loop_metrics.watch(asyncio.get_running_loop())
        gate = Gate(self._lasting, self.settings.max_concurrent_calls)
        grpc_server = server.build(self.settings, self._interceptor(gate))
        services = self._register(grpc_server)
        health = server.Health(services)
        health.add_to(grpc_server)
        if self.settings.reflection != "off":
            server.add_reflection(grpc_server, services)
        async with AsyncExitStack() as stack:
            if self._tracing is not None:
                stack.push_async_callback(self._tracing.close)
            stack.callback(self._guard.close)
            await stack.enter_async_context(self._guard.watching())
            address = await self._listen(grpc_server, stack)
            stack.push_async_callback(self._stop)
            stack.push_async_callback(grpc_server.stop, None)
            began = time.monotonic()
            await self._start()
            gate.open()
            health.serving()
            if self._heartbeat is not None:
                watch = asyncio.create_task(self._heartbeat.watch(health.alive), name="heartbeat")
                stack.callback(watch.cancel)
            logger.info("ready after %.1f s, serving %s", time.monotonic() - began, ", ".join(services))
            stack.push_async_callback(self._drain, grpc_server, health, gate)
            yield address

    def _interceptor(self, gate: Gate) -> CallInterceptor:
        calls = Calls(
            gate,
            self._guard,
            default_deadline_s=self.settings.default_deadline_s,
            guard_reflection=self.settings.reflection == "guarded",
            tracing=self._tracing,
        )
        return CallInterceptor(calls, self._metrics, logs.log_content if self.settings.log_prompts else None)

    async def _listen(self, grpc_server: grpc.aio.Server, stack: AsyncExitStack) -> str:
        metrics_address = "off"
        if self.settings.metrics_port is not None:
            endpoint = metrics.endpoint(self._registry, self.settings.metrics_host, self.settings.metrics_port)
            metrics_address = await stack.enter_async_context(endpoint)
        address = server.bind(grpc_server, self.settings)
        await grpc_server.start()
        logger.info(
            "listening on %s, metrics %s",
            address,
            metrics_address,
            extra={"address": address, "metrics_address": metrics_address},
        )
        return address

    async def _drain(self, grpc_server: grpc.aio.Server, health: server.Health, gate: Gate) -> None:
        """Turn unhealthy and go on serving until that is noticed; then finish what is in flight, within the grace.

        Nothing is refused before the port closes; gRPC itself turns away what comes then. What outlives the grace
        ends with a status.
        """
        logger.info("draining")
        health.draining()
        await asyncio.sleep(self.settings.drain_delay_s)
        gate.end_lasting()
        overdue = asyncio.get_running_loop().call_later(self.settings.grace_s, gate.end_all)
        await grpc_server.stop(self.settings.grace_s + _LAST_WORDS_S)
        overdue.cancel()
        logger.info("drained")


def launch(settings: type[S], build: Callable[[S], App]) -> None:
    """Read the settings from the environment, build the app and `run` it: the main program of a service.

    Raises `SystemExit` with a line for each wrong setting or row of a catalog, without a traceback, and as `run`.
    """
    try:
        chosen = from_environment(settings)
        check_files(chosen)
        logs.configure(chosen.log_level, chosen.log_format)  # for what is told while the app is built
        app = build(chosen)
    except (ValueError, OSError, ServingError, DeviceUnavailable) as error:
        sys.exit("\n".join(f"cannot start: {line}" for line in str(error).splitlines()))
    run(app)


def run(app: App) -> None:
    """Serve until SIGTERM or SIGINT, then drain and return.

    A second signal, or one during the start, cuts that short: calls are broken off, but `stop` runs. One more ends the
    process at once, even if the device hangs.

    Raises `SystemExit` with 1 if the app does not start, with 128 + the signal's number if it was cut short; a process
    that was ended at once has that exit code, too.
    """
    logs.configure(app.settings.log_level, app.settings.log_format)
    with asyncio.Runner(loop_factory=_loop_factory(app.settings)) as runner:
        code = runner.run(_serve_until_signalled(app))
    gc.freeze()  # all is closed; looking for cycles among what torch has made takes the interpreter more than a second
    if code:
        sys.exit(code)


def _loop_factory(settings: ServerSettings) -> Callable[[], asyncio.AbstractEventLoop] | None:
    if not settings.uvloop:
        return None
    import uvloop

    return uvloop.new_event_loop


async def _serve_until_signalled(app: App) -> int:
    signals = _StopSignals()
    try:
        async with app.serving():
            garbage.set_aside()
            await signals.first()
    except asyncio.CancelledError:
        return 128 + signals.cut_short_by
    except Exception as error:
        expected = isinstance(error, ServingError | OSError)
        logger.error("failed: %s: %s", type(error).__name__, error, exc_info=not expected)
        return 1
    return 0


class _StopSignals:
    """SIGTERM and SIGINT: one that is waited for asks to stop, another cancels what goes on, a last ends the process.

    The last is for a device thread that hangs: nothing can cancel a step.
    """

    def __init__(self) -> None:
        self.cut_short_by = 0
        """The signal that cancelled what was going on; 0 if none did."""
        self._asked: asyncio.Future[None] | None = None
        self._task = asyncio.current_task()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._received, number)

    async def first(self) -> None:
        """Wait for a signal."""
        self._asked = asyncio.get_running_loop().create_future()
        await self._asked

    def _received(self, number: int) -> None:
        if self._asked is not None and not self._asked.done():
            self._asked.set_result(None)
        elif not self.cut_short_by and self._task is not None:
            self.cut_short_by = number
            logger.warning("cut short by signal %s; one more ends the process at once", number)
            self._task.cancel()
        else:
            logger.warning("ended at once by signal %s", number)
            os._exit(128 + number)
