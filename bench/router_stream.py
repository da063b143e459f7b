"""What the router adds to a streamed picture, and whether it keeps many streams apart.

An image server without a device (`bench._pictures`) sends a picture of one MiB in 4 chunks after some events of
progress. The same picture is asked for there, through a bare forwarder and through the router, by turns; the model is
named, so the router screens the prompt but does not choose. The time rewrite_llm takes to screen is taken off: what is
left is the router's own. imagegen tells of progress ten times a second at most (its setting `progress_per_s`); two
harder streams stand beside that: an event every 5 ms, and twenty at once, each behind the one before. Then many
streams run at once, and each must bring its picture whole.
"""

import asyncio
import hashlib
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
import uvloop

from atelier.imagegen.v1 import image_service_pb2, image_service_pb2_grpc
from bench._figures import Figure, percentile
from bench._parts import helper, only

if TYPE_CHECKING:
    from atelier.imagegen.v1.image_service_pb2_grpc import ImageServiceAsyncStub

_GENERATE = "/atelier.imagegen.v1.ImageService/Generate"
_WARM_UP = 10
_STREAMS = 64
_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Kind:
    """What a picture's stream is like."""

    told: str
    events: int
    """Of progress."""
    every_ms: int
    rounds: int = 100
    aim: str = ""


_AT_ONCE = Kind("20 events at once", 20, 0)
_KINDS = (Kind("as imagegen tells of progress", 2, 250, 60, "< 3"), Kind("an event every 5 ms", 20, 5), _AT_ONCE)


@dataclass(frozen=True, slots=True)
class Stream:
    """One generation as its caller saw it."""

    seconds: float
    screen_s: float
    whole: bool
    """Whether the picture has the SHA-256 that was announced, and the summary came last."""


def run() -> list[Figure]:
    """Start the servers, measure, stop them."""
    with helper("_pictures") as pictures, helper("_bare", pictures, _GENERATE, "unary_stream") as forwarder:
        return uvloop.run(_measure(pictures, forwarder))


async def _measure(pictures: str, forwarder: str) -> list[Figure]:
    async with AsyncExitStack() as stack:
        targets = {"ATELIER_ROUTER_IMAGEGEN_TARGETS": pictures}
        studio = await stack.enter_async_context(only("rewrite_llm", "router", router=targets))
        channels = [
            await stack.enter_async_context(grpc.aio.insecure_channel(address))
            for address in (pictures, forwarder, studio.address)
        ]
        stubs = [image_service_pb2_grpc.ImageServiceStub(channel) for channel in channels]
        rounds = {
            kind: [[await _stream(stub, kind) for stub in stubs] for _ in range(_WARM_UP + kind.rounds)][_WARM_UP:]
            for kind in _KINDS
        }
        together = await asyncio.gather(*(_stream(stubs[-1], _AT_ONCE) for _ in range(_STREAMS)))
    figures = [figure for kind, measured in rounds.items() for figure in _figures(measured, kind)]
    whole = sum(stream.whole for stream in together)
    return [
        *figures,
        Figure(f"of {_STREAMS} streams at once, arrived whole", whole, "streams", _STREAMS, aim=f"{_STREAMS}"),
    ]


def _figures(rounds: list[list[Stream]], kind: Kind) -> list[Figure]:
    def p50(what: str, seconds: list[float], aim: str = "") -> Figure:
        return Figure(f"{kind.told}: p50 {what}", 1000 * percentile(seconds, 0.5), "ms", len(seconds), aim)

    return [
        p50("added by the router itself", [r.seconds - r.screen_s - d.seconds for d, _, r in rounds], aim=kind.aim),
        p50("added by a bare forwarder", [f.seconds - d.seconds for d, f, _ in rounds]),
        p50("added by the router, screening included", [r.seconds - d.seconds for d, _, r in rounds]),
        p50("of the stream with nothing between", [d.seconds for d, _, _ in rounds]),
    ]


async def _stream(stub: "ImageServiceAsyncStub", kind: Kind) -> Stream:
    prompt = "a red house by the sea"
    request = image_service_pb2.GenerateRequest(prompt=prompt, model="ready", steps=kind.events, seed=kind.every_ms)
    began = time.perf_counter()
    events = [event async for event in stub.Generate(request, timeout=_TIMEOUT_S)]
    seconds = time.perf_counter() - began
    wanted = next(event.image.sha256 for event in events if event.HasField("image"))
    picture = b"".join(event.chunk.data for event in events)
    whole = events[-1].HasField("summary") and hashlib.sha256(picture).hexdigest() == wanted
    screen_s = sum(stage.seconds for stage in events[-1].summary.stages if stage.stage == "screen")
    return Stream(seconds, screen_s, whole)
