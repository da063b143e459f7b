"""A server that stands still: its connection is open and it answers nothing."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2_grpc

from atelier.common.v1 import types_pb2
from atelier.models.v1 import models_pb2
from atelier.router.v1 import router_service_pb2
from atelier.voice.v1 import voice_service_pb2
from tests.integration.services.router.conftest import Client, Event, Health, Imagegen, model, router_at, serving
from tests.integration.services.router.speaker import Speaker

ROOT = Path(__file__).parents[4]
SERVING = router_service_pb2.BACKEND_STATE_SERVING
UNREACHABLE = router_service_pb2.BACKEND_STATE_UNREACHABLE
QUICK: dict[str, Any] = {"refresh_s": 0.05, "probe_timeout_s": 1.0}


async def listed(client: Client, **wanted: int) -> None:
    """Return once the router lists the servers as `wanted`; dashes in names are written as underscores."""
    known: dict[str, int] = {}
    while not wanted.items() <= known.items():
        listing = await client.router.ListBackends(router_service_pb2.ListBackendsRequest())
        known = {backend.name.replace("-", "_"): backend.state for backend in listing.backends}


async def say(client: Client, timeout_s: float = 20.0) -> str:
    """Return the name of the server that said something."""
    request = voice_service_pb2.SynthesizeRequest(text="hi")
    events = [event async for event in client.voice.Synthesize(request, timeout=timeout_s)]
    assert events[-1].chunk.data == b"hi"
    return str(events[0].routed.backend)


@dataclass
class Process:
    """A voice server in a process of its own."""

    pid: int
    address: str

    def freeze(self) -> None:
        """Stop it: its kernel still takes connections and bytes."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)


@asynccontextmanager
async def speaker() -> AsyncIterator[Process]:
    """Run a voice server in a process of its own inside the block."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", Speaker.__module__, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        yield Process(process.pid, (await process.stdout.readline()).decode().strip())
    finally:
        process.kill()
        await process.wait()


async def test_a_frozen_server_is_passed_over_until_it_answers_again() -> None:
    async with (
        speaker() as frozen,
        serving(Speaker()) as other_at,
        router_at(voice=f"{frozen.address},{other_at}", **QUICK) as client,
    ):
        await listed(client, voice_0=SERVING, voice_1=SERVING)
        frozen.freeze()
        with pytest.raises(grpc.aio.AioRpcError, match="voice-0 did not finish before the deadline"):
            await say(client, timeout_s=0.5)
        at_once = [await say(client) for _ in range(3)]
        await listed(client, voice_0=UNREACHABLE, voice_1=SERVING)
        later = [await say(client) for _ in range(3)]
        frozen.thaw()
        await listed(client, voice_0=SERVING, voice_1=SERVING)
        while await say(client) != "voice-0":
            await listed(client, voice_0=SERVING)

    assert at_once == later == ["voice-1"] * 3


@dataclass
class Standing(Imagegen):
    """An image server that stands still once `health.busy` is set."""

    health: Health = field(default_factory=Health)

    @asynccontextmanager
    async def served(self) -> AsyncIterator[str]:
        """Serve inside the block, which gets the address."""
        self.script = self._hangs
        server = grpc.aio.server()
        self.register(server)
        health_pb2_grpc.add_HealthServicer_to_server(self.health, server)
        address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        yield address
        await server.stop(None)

    async def _hangs(self, _request: Any) -> AsyncIterator[Event]:
        await asyncio.Event().wait()
        yield Event()


async def test_an_image_server_that_answers_takes_the_requests_of_a_silent_one() -> None:
    silent, other = Standing([model("general")]), Imagegen([model("general")], queue_eta_s=60)
    async with (
        silent.served() as silent_at,
        serving(other) as other_at,
        router_at(f"{silent_at},{other_at}", **QUICK) as client,
    ):
        await listed(client, imagegen_0=SERVING, imagegen_1=SERVING)
        silent.health.busy = True
        await listed(client, imagegen_0=UNREACHABLE, imagegen_1=SERVING)
        events = await client.events("a garden")
        silent.health.busy = False
        await listed(client, imagegen_0=SERVING)

    assert events[0].routed.backend == "imagegen-1"
    assert not silent.requests


async def test_a_missed_deadline_sends_the_next_request_to_another_image_server() -> None:
    late, other = Standing([model("general")]), Imagegen([model("general")], queue_eta_s=60)
    async with (
        late.served() as late_at,
        serving(other) as other_at,
        router_at(f"{late_at},{other_at}", refresh_s=60.0) as client,
    ):
        with pytest.raises(grpc.aio.AioRpcError, match="imagegen-0 did not finish before the deadline"):
            await client.events("a garden", timeout_s=1.0)
        events = await client.events("a garden")

    assert events[0].routed.backend == "imagegen-1"


async def test_a_caller_in_a_hurry_does_not_cost_a_server_its_place() -> None:
    async def draws(_request: Any) -> AsyncIterator[Event]:
        yield Event(progress=types_pb2.Progress(step=1, total=2))
        await asyncio.Event().wait()

    unloaded = model("general", state=models_pb2.MODEL_STATE_UNLOADED)
    warm, cold = Imagegen([model("general")], script=draws), Imagegen([unloaded])
    async with (
        serving(warm) as warm_at,
        serving(cold) as cold_at,
        router_at(f"{warm_at},{cold_at}", refresh_s=60.0) as client,
    ):
        with pytest.raises(grpc.aio.AioRpcError, match="imagegen-0 did not finish before the deadline"):
            await client.events("a garden", timeout_s=1.0)
        warm.script = None
        events = await client.events("a garden")

    assert events[0].routed.backend == "imagegen-0"


async def test_a_silent_judge_is_listed_as_unreachable() -> None:
    silent = Standing([])
    async with silent.served() as silent_at, router_at(rewrite=silent_at, **QUICK) as client:
        await listed(client, rewrite_llm_0=SERVING)
        silent.health.busy = True
        await listed(client, rewrite_llm_0=UNREACHABLE)
