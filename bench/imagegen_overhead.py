"""What a request through imagegen takes longer than the same engine called directly; and how soon a cancel takes hold.

One client, the bundled model, continuous batching as it ships. The server is a process of its own; the engine in this
one is loaded by the same code and makes the same picture: encode the prompt, denoise, decode, write the PNG. Each pair
is one of both, by turns; what counts is the median of the differences within pairs. A cancelled picture has stopped
when the server's status says that nothing runs any more.
"""

import time
from statistics import median

import grpc
import uvloop

from atelier.imagegen.v1 import image_service_pb2_grpc
from atelier.models.v1 import model_service_pb2, model_service_pb2_grpc
from bench._figures import Figure, percentile
from bench._imagegen import Direct, Stub, patient, picture, request
from bench._parts import helper

_PAIRS = 400
_WARM_UP = 20
_STEPS = 2
_SIDE = 64
_CANCELS = 30
_CANCELLED_STEPS = 50
_CANCELLED_SIDE = 192
_STEPS_BEFORE = 6


def run() -> list[Figure]:
    """Start the server, measure, stop it."""
    patient()
    with helper("_imagegen") as address:
        return uvloop.run(_measure(address))


async def _measure(address: str) -> list[Figure]:
    direct = Direct()
    async with grpc.aio.insecure_channel(address) as channel:
        stub = image_service_pb2_grpc.ImageServiceStub(channel)
        pairs = [await _pair(stub, direct, seed) for seed in range(_WARM_UP + _PAIRS)][_WARM_UP:]
        stops = [await _cancel(channel) for _ in range(_CANCELS)]
    added = [served - alone for served, alone in pairs]
    return [
        Figure("added by the server, p50 of paired differences", 1000 * median(added), "ms", _PAIRS, "<= 1"),
        Figure("added by the server, p25 of paired differences", 1000 * percentile(added, 0.25), "ms", _PAIRS),
        Figure("the picture through the server, p50", 1000 * median(each[0] for each in pairs), "ms", _PAIRS),
        Figure("the picture by the engine alone, p50", 1000 * median(each[1] for each in pairs), "ms", _PAIRS),
        Figure("one step of the picture that is cancelled", 1000 * median(step for _, step in stops), "ms", _CANCELS),
        Figure("from cancel until nothing runs, p50", 1000 * median(stop for stop, _ in stops), "ms", _CANCELS),
        Figure(
            "the same in steps, pair by pair", median(stop / step for stop, step in stops), "steps", _CANCELS, "<= 1"
        ),
    ]


async def _pair(stub: Stub, direct: Direct, seed: int) -> tuple[float, float]:
    """Return the seconds through the server and without it; which goes first alternates."""

    async def served() -> float:
        began = time.perf_counter()
        await picture(stub, seed, _STEPS, _SIDE)
        return time.perf_counter() - began

    def alone() -> float:
        began = time.perf_counter()
        direct.pictures([seed], _STEPS, _SIDE)
        return time.perf_counter() - began

    if seed % 2:
        first = await served()
        return first, alone()
    second = alone()
    return await served(), second


async def _cancel(channel: grpc.aio.Channel) -> tuple[float, float]:
    """Cancel a picture after some steps; return the seconds until nothing runs, and those of one of its steps."""
    images = image_service_pb2_grpc.ImageServiceStub(channel)
    models = model_service_pb2_grpc.ModelServiceStub(channel)
    call, moments = images.Generate(request(1, _CANCELLED_STEPS, _CANCELLED_SIDE)), []
    async for event in call:
        if event.HasField("progress"):
            moments.append(time.perf_counter())
            if len(moments) == _STEPS_BEFORE:
                break
    began = time.perf_counter()
    call.cancel()
    running = 1
    while running:
        running = (await models.GetStatus(model_service_pb2.GetStatusRequest())).running
    stopped = time.perf_counter() - began
    return stopped, (moments[-1] - moments[0]) / (_STEPS_BEFORE - 1)
