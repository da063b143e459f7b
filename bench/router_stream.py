"""What the router adds to a streamed picture, and whether it keeps many streams apart.

The same small picture is asked for at imagegen itself and through the router, by turns; the model is named, so the
router screens the prompt but does not choose. The time rewrite_llm takes to screen is shown and taken off: what is left
is the router's own. Then many streams run at once, and each must bring its picture whole.
"""

import asyncio
import hashlib
import time
from dataclasses import dataclass

import grpc
import uvloop

from atelier.imagegen.v1 import image_service_pb2, image_service_pb2_grpc
from bench._figures import LOGS, Figure, percentile
from deploy.local.studio import Studio

_PAIRS = 40
_WARM_UP = 3
_STREAMS = 64
_TIMEOUT_S = 300.0

GenerateRequest = image_service_pb2.GenerateRequest


@dataclass(frozen=True, slots=True)
class Stream:
    """One generation as its caller saw it."""

    seconds: float
    screen_s: float
    model: str
    whole: bool
    """Whether every picture announced arrived with the SHA-256 announced, and the summary last."""


def run() -> list[Figure]:
    """Start the studio, measure, stop it."""
    return uvloop.run(_run())


async def _run() -> list[Figure]:
    async with (
        Studio(LOGS) as studio,
        grpc.aio.insecure_channel(studio.services["imagegen"].address) as direct_channel,
        grpc.aio.insecure_channel(studio.address) as routed_channel,
    ):
        direct = image_service_pb2_grpc.ImageServiceStub(direct_channel)
        routed = image_service_pb2_grpc.ImageServiceStub(routed_channel)
        return [*await _added(direct, routed), await _together(routed)]


async def _added(
    direct: "image_service_pb2_grpc.ImageServiceAsyncStub", routed: "image_service_pb2_grpc.ImageServiceAsyncStub"
) -> list[Figure]:
    model = (await _stream(direct, seed=0)).model
    for _ in range(_WARM_UP):
        await _stream(routed, model=model, seed=0)
    pairs = [
        (await _stream(direct, model=model, seed=seed), await _stream(routed, model=model, seed=seed))
        for seed in range(_PAIRS)
    ]
    added = [there.seconds - here.seconds for here, there in pairs]
    own = [extra - there.screen_s for extra, (_, there) in zip(added, pairs, strict=True)]
    return [
        Figure("p50 added by the router itself", 1000 * percentile(own, 0.5), "ms", _PAIRS, aim="< 3"),
        Figure("p50 added in all, screening included", 1000 * percentile(added, 0.5), "ms", _PAIRS),
        Figure(
            "p50 of a picture at imagegen", 1000 * percentile([pair[0].seconds for pair in pairs], 0.5), "ms", _PAIRS
        ),
    ]


async def _together(routed: "image_service_pb2_grpc.ImageServiceAsyncStub") -> Figure:
    streams = await asyncio.gather(*(_stream(routed, seed=seed) for seed in range(_STREAMS)))
    whole = sum(stream.whole for stream in streams)
    return Figure(f"streams of {_STREAMS} at once that arrived whole", whole, "streams", _STREAMS, aim=f"{_STREAMS}")


async def _stream(stub: "image_service_pb2_grpc.ImageServiceAsyncStub", *, seed: int, model: str = "") -> Stream:
    request = GenerateRequest(prompt="a red house by the sea", model=model, seed=seed, width=64, height=64, steps=2)
    began = time.perf_counter()
    wanted, digests, data, last = list[str](), list[str](), b"", None
    async for event in stub.Generate(request, timeout=_TIMEOUT_S):
        last = event
        if event.HasField("image"):
            wanted.append(event.image.sha256)
            data = b""
        elif event.HasField("chunk"):
            data += event.chunk.data
            digests.append(hashlib.sha256(data).hexdigest())
    seconds = time.perf_counter() - began
    assert last is not None
    summary = last.summary
    screen_s = sum(stage.seconds for stage in summary.stages if stage.stage == "screen")
    whole = last.HasField("summary") and set(wanted) <= set(digests) and len(wanted) + summary.blocked == 1
    return Stream(seconds, screen_s, summary.model, whole)
