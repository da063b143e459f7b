"""The smallest calls through the router to the servers behind it, beside a bare echo behind a bare forwarder.

`VoiceService.GetVoice` goes client -> router -> voice; an echo of as many bytes goes client -> bare forwarder -> bare
echo. imagegen has no unary call behind the router: the smallest that reaches it is a dry run of `Generate`, which the
router screens, places and relays as a stream. All servers are processes of their own, on uvloop, with the settings they
ship with, and run throughout; rounds of all kinds alternate, so that whatever else the machine does hits them alike.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import uvloop

from atelier.imagegen.v1 import image_service_pb2
from atelier.voice.v1 import voice_service_pb2, voice_service_pb2_grpc
from bench._bare import PATH
from bench._figures import Figure, percentile
from bench._parts import helper, only

_CLIENTS = 32
_ROUNDS = 20
_CALLS = 100
_BURST = 30
_WARM_UP_CALLS = 200
_TIMEOUT_S = 10.0
_GET_VOICE = "/atelier.voice.v1.VoiceService/GetVoice"
_GENERATE = "/atelier.imagegen.v1.ImageService/Generate"
_DRY_RUN = image_service_pb2.GenerateRequest(prompt="a", model="sketch", dry_run=True)

Call = Callable[[], Awaitable[bytes]]


@dataclass
class Measured:
    """Seconds per call, one after the other, and calls per second of many clients."""

    seconds: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)


def run() -> list[Figure]:
    """Start the servers, measure, stop them."""
    with helper("_bare") as echo, helper("_bare", echo, PATH, "unary_unary") as forwarder:
        return uvloop.run(_measure(forwarder))


async def _measure(forwarder: str) -> list[Figure]:
    async with (
        only("imagegen", "voice", "router") as studio,
        grpc.aio.insecure_channel(forwarder) as bare_channel,
        grpc.aio.insecure_channel(studio.address) as channel,
    ):
        request = await _smallest_request(channel)
        routed = _caller(channel, _GET_VOICE, request)
        bare = _caller(bare_channel, PATH, await routed())
        dry_run = _streamer(channel, _GENERATE, _DRY_RUN.SerializeToString())
        kinds = {"bare": (bare, Measured()), "routed": (routed, Measured()), "dry run": (dry_run, Measured())}
        for call, _ in kinds.values():
            await _sequence(call, _WARM_UP_CALLS)
        for _ in range(_ROUNDS):
            for call, measured in kinds.values():
                measured.seconds += await _sequence(call, _CALLS)
        for _ in range(_ROUNDS // 2):
            for call, measured in kinds.values():
                measured.rates.append(await _burst(call))
    return _figures({name: measured for name, (_, measured) in kinds.items()})


async def _smallest_request(channel: grpc.aio.Channel) -> bytes:
    stub = voice_service_pb2_grpc.VoiceServiceStub(channel)
    request = voice_service_pb2.ListVoicesRequest()
    listing = await stub.ListVoices(request, timeout=_TIMEOUT_S)
    return voice_service_pb2.GetVoiceRequest(voice=listing.voices[0].id).SerializeToString()


def _caller(channel: grpc.aio.Channel, path: str, request: bytes) -> Call:
    method: Any = channel.unary_unary(path)

    async def call() -> bytes:
        answer: bytes = await method(request, timeout=_TIMEOUT_S)
        return answer

    return call


def _streamer(channel: grpc.aio.Channel, path: str, request: bytes) -> Call:
    method: Any = channel.unary_stream(path)

    async def call() -> bytes:
        return b"".join([part async for part in method(request, timeout=_TIMEOUT_S)])

    return call


async def _sequence(call: Call, count: int) -> list[float]:
    seconds = []
    for _ in range(count):
        began = time.perf_counter()
        await call()
        seconds.append(time.perf_counter() - began)
    return seconds


async def _burst(call: Call) -> float:
    """Return the calls per second that `_CLIENTS` clients get through."""
    began = time.perf_counter()
    await asyncio.gather(*(_sequence(call, _BURST) for _ in range(_CLIENTS)))
    return _CLIENTS * _BURST / (time.perf_counter() - began)


def _figures(kinds: dict[str, Measured]) -> list[Figure]:
    names = {
        "routed": "router and voice",
        "bare": "bare forwarder and echo",
        "dry run": "dry run, router and imagegen",
    }
    samples = len(kinds["routed"].seconds)
    p50 = {kind: percentile(kinds[kind].seconds, 0.5) for kind in names}
    latencies = [
        Figure(f"{share} of one call, {name}", 1000 * percentile(kinds[kind].seconds, at), "ms", samples)
        for share, at in (("p50", 0.5), ("p99", 0.99))
        for kind, name in names.items()
    ]
    rates = [
        Figure(f"{name} with {_CLIENTS} clients", percentile(kinds[kind].rates, 0.5), "calls/s", len(kinds[kind].rates))
        for kind, name in names.items()
    ]
    ratio = Figure("p50 of the router to the bare forwarder", p50["routed"] / p50["bare"], "x", samples, aim="<= 1.5")
    return [ratio, *latencies, *rates]
