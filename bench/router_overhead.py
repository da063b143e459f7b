"""The smallest call through the router to a server behind it, beside a bare echo behind a bare forwarder.

`VoiceService.GetVoice` goes client -> router -> voice; an echo of as many bytes goes client -> bare forwarder -> bare
echo. All servers are processes of their own, on uvloop, with the settings they ship with, and run throughout; rounds of
both kinds alternate, so that whatever else the machine does hits both alike.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import uvloop

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
        only("voice", "router") as studio,
        grpc.aio.insecure_channel(forwarder) as bare_channel,
        grpc.aio.insecure_channel(studio.address) as channel,
    ):
        request = await _smallest_request(channel)
        routed = _caller(channel, _GET_VOICE, request)
        bare = _caller(bare_channel, PATH, await routed())
        kinds = {"bare": (bare, Measured()), "routed": (routed, Measured())}
        for call, _ in kinds.values():
            await _sequence(call, _WARM_UP_CALLS)
        for _ in range(_ROUNDS):
            for call, measured in kinds.values():
                measured.seconds += await _sequence(call, _CALLS)
        for _ in range(_ROUNDS // 2):
            for call, measured in kinds.values():
                measured.rates.append(await _burst(call))
    return _figures(kinds["bare"][1], kinds["routed"][1])


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


def _figures(bare: Measured, routed: Measured) -> list[Figure]:
    samples = len(routed.seconds)
    figures = [
        Figure(f"{share} of one call, {name}", 1000 * percentile(measured.seconds, at), "ms", samples)
        for share, at in (("p50", 0.5), ("p99", 0.99))
        for name, measured in (("router and voice", routed), ("bare forwarder and echo", bare))
    ]
    rates = {name: percentile(measured.rates, 0.5) for name, measured in (("routed", routed), ("bare", bare))}
    ratio = percentile(routed.seconds, 0.5) / percentile(bare.seconds, 0.5)
    return [
        Figure("p50 of the router to the bare forwarder", ratio, "x", samples, aim="<= 1.5"),
        *figures,
        Figure(f"router and voice with {_CLIENTS} clients", rates["routed"], "calls/s", len(routed.rates)),
        Figure(f"bare forwarder and echo with {_CLIENTS} clients", rates["bare"], "calls/s", len(bare.rates)),
    ]
