"""How soon espeak is heard through the router and voice, alone and beside 63 others.

First one caller at a time, by turns through the router and straight to voice: seconds from the request to the first
audio, as the caller sees it. `GetVoice` through the router is called in between: against its own figure on a quiet
machine (`router_overhead`) it tells how busy the machine was. Then 64 callers at once, each of whom plays what he gets
from the moment it begins: whether anybody runs dry, whether everything arrives, and how much faster than playback it is
made.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
import uvloop

from atelier.voice.v1 import voice_pb2, voice_service_pb2, voice_service_pb2_grpc
from bench._figures import Figure, percentile
from bench._parts import only

if TYPE_CHECKING:
    from atelier.voice.v1.voice_service_pb2_grpc import VoiceServiceAsyncStub

_ROUNDS = 200
_WARM_UP = 20
_STREAMS = 64
_TIMEOUT_S = 120.0
_RATE = 22050
_BYTES_PER_S = 2 * _RATE
_VOICE = "espeak/en-us"
_SHORT = "Good evening. Here is the picture that you asked for."
_LONG = "Once upon a time there was a studio that made pictures, and told stories about them. " * 12


@dataclass(frozen=True, slots=True)
class Heard:
    """One stream as its caller heard it."""

    first_s: float
    """Seconds to the first audio."""
    audio_s: float
    dry: int
    """How often playback that began with the first audio had to wait for more."""
    whole: bool


def run() -> list[Figure]:
    """Start the servers, measure, stop them."""
    return uvloop.run(_measure())


async def _measure() -> list[Figure]:
    async with (
        only("voice", "router") as studio,
        grpc.aio.insecure_channel(studio.address) as router,
        grpc.aio.insecure_channel(studio.services["voice"].address) as voice,
    ):
        stubs = [voice_service_pb2_grpc.VoiceServiceStub(channel) for channel in (router, voice)]
        rounds = [await _round(*stubs) for _ in range(_WARM_UP + _ROUNDS)][_WARM_UP:]
        began = time.perf_counter()
        together = await asyncio.gather(*(_heard(stubs[0], _LONG) for _ in range(_STREAMS)))
        seconds = time.perf_counter() - began
    routed, direct, smallest = zip(*rounds, strict=True)
    return [*_alone(routed, direct, smallest), *_together(together, seconds)]


async def _round(router: "VoiceServiceAsyncStub", voice: "VoiceServiceAsyncStub") -> tuple[Heard, Heard, float]:
    """Return what was heard by either way, and the seconds of the smallest call."""
    routed, direct = await _heard(router, _SHORT), await _heard(voice, _SHORT)
    began = time.perf_counter()
    await router.GetVoice(voice_service_pb2.GetVoiceRequest(voice=_VOICE), timeout=_TIMEOUT_S)
    return routed, direct, time.perf_counter() - began


def _alone(routed: Sequence[Heard], direct: Sequence[Heard], smallest: Sequence[float]) -> list[Figure]:
    def first(share: float, name: str, heard: Sequence[Heard], aim: str = "") -> Figure:
        what = f"p{round(100 * share)} of the time to first audio, {name}"
        return Figure(what, 1000 * percentile([each.first_s for each in heard], share), "ms", len(heard), aim)

    return [
        first(0.5, "router and voice", routed, aim="< 15"),
        first(0.99, "router and voice", routed),
        first(0.5, "voice alone", direct),
        first(0.99, "voice alone", direct),
        Figure("p50 of GetVoice through the router, in between", 1000 * percentile(smallest, 0.5), "ms", len(smallest)),
    ]


def _together(heard: list[Heard], seconds: float) -> list[Figure]:
    first = [each.first_s for each in heard]
    at_once = f"{_STREAMS} streams at once through the router"
    return [
        Figure(f"{at_once}: arrived whole", sum(each.whole for each in heard), "streams", _STREAMS, aim=f"{_STREAMS}"),
        Figure(f"{at_once}: ran dry", sum(each.dry > 0 for each in heard), "streams", _STREAMS, aim="0"),
        Figure(f"{at_once}: p50 of the time to first audio", 1000 * percentile(first, 0.5), "ms", _STREAMS),
        Figure(f"{at_once}: last to be heard", 1000 * max(first), "ms", _STREAMS),
        Figure(f"{at_once}: audio made in a second", sum(each.audio_s for each in heard) / seconds, "s/s", _STREAMS),
    ]


async def _heard(stub: "VoiceServiceAsyncStub", text: str) -> Heard:
    audio = voice_pb2.AudioConfig(format=voice_pb2.AUDIO_FORMAT_PCM_S16LE)
    config = voice_service_pb2.SynthesisConfig(voice=_VOICE, audio=audio)
    request = voice_service_pb2.SynthesizeRequest(text=text, config=config)
    began = time.perf_counter()
    first_s = starts_s = audio_s = 0.0
    dry = 0
    async for event in stub.Synthesize(request, timeout=_TIMEOUT_S):
        if event.WhichOneof("event") != "chunk":
            continue
        now_s = time.perf_counter() - began
        first_s = first_s or now_s
        starts_s = starts_s or now_s
        if now_s > starts_s + audio_s:
            dry += audio_s > 0
            starts_s = now_s - audio_s
        audio_s += len(event.chunk.data) / _BYTES_PER_S
    return Heard(first_s, audio_s, dry, whole=round(audio_s * _BYTES_PER_S) == event.summary.audio_bytes)
