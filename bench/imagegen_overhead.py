"""What a request through imagegen takes longer than the same pipeline called directly; and how soon a cancel stops it.

One client, the bundled model, continuous batching as it ships. The servers are processes of their own. In this one the
pipeline is loaded by the same code and makes the same picture twice: called as diffusers has it, and by the engine that
imagegen has around it. Both encode the prompt (a new one each turn), denoise, decode and write the PNG (as Pillow does
unless told otherwise; the server has zlib try less hard).
Beside imagegen stands the least that a gRPC server can do with that engine. All four take turns of some pictures, and
what counts is the median of the differences between their second, third… pictures: the first finds the caches full of
what the others left, which no client sees who asks one after the other. The model has one thread everywhere, so that
the servers' own work has a core, as it has where the model runs on a GPU.

A picture is cancelled at a random moment of a step; it has stopped when the server says that nobody uses the model.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from random import Random
from statistics import median
from typing import Any

import grpc
import uvloop

from atelier.imagegen.v1 import image_service_pb2_grpc
from atelier.models.v1 import model_service_pb2, model_service_pb2_grpc
from bench._figures import Figure, percentile
from bench._imagegen import MODEL, Direct, Kind, patient, picture, request, serving
from bench._timing import rounds_for, seconds_until

_THREADS = 1
_WARM_UP = 20
_RUN = 4
"""Pictures in a turn; the first is not counted."""
_TIMED = Kind(steps=2, side=64)
_CANCELS = 40
_CANCELLED = Kind(steps=50, side=192)
_TOLD_BEFORE = 3


@dataclass(slots=True)
class Way:
    """One way to a picture, and the seconds it took."""

    make: Callable[[int], Coroutine[Any, Any, object]]
    seconds: list[float] = field(default_factory=list)

    def p50_ms(self) -> float:
        """Return the median in milliseconds."""
        return 1000 * median(self.seconds)

    def added_ms(self, alone: "Way", share: float = 0.5) -> float:
        """Return a percentile of what this took longer than `alone`, turn by turn, in milliseconds."""
        return 1000 * percentile([here - there for here, there in zip(self.seconds, alone.seconds, strict=True)], share)


def run(seconds: float = 120.0, rounds: int = _CANCELS) -> list[Figure]:
    """Start the servers, take turns for `seconds`, cancel `rounds` pictures, stop them."""
    patient()
    return uvloop.run(_measure(seconds, rounds))


async def _measure(seconds: float, cancels: int) -> list[Figure]:
    direct = Direct(_THREADS)
    async with serving("_imagegen", str(_THREADS)) as channel, serving("_least", str(_THREADS)) as bare:
        served, least = _through(channel), _through(bare)
        alone = _here(lambda seed: direct.pictures([seed], _TIMED))
        library = _here(lambda seed: direct.by_the_library([seed], _TIMED))
        await _take_turns([served, least, alone, library], seconds)
        random = Random(0)
        stops = [await _cancel(channel, random.random()) for _ in range(cancels)]
    turns, steps = len(alone.seconds), [stop / step for stop, step in stops]
    return [
        Figure(
            "added by imagegen to the pipeline, p50 of paired differences",
            served.added_ms(library),
            "ms",
            turns,
            "<= 1",
        ),
        Figure("added by imagegen to its engine alone, p50 of paired differences", served.added_ms(alone), "ms", turns),
        Figure("the same, p99", served.added_ms(alone, 0.99), "ms", turns),
        Figure(
            "added by the least gRPC server to that engine, p50 of paired differences",
            least.added_ms(alone),
            "ms",
            turns,
        ),
        Figure("added by imagegen to that server, p50 of paired differences", served.added_ms(least), "ms", turns),
        Figure("the picture by the pipeline, p50", library.p50_ms(), "ms", turns),
        Figure("the picture by the engine alone, p50", alone.p50_ms(), "ms", turns),
        Figure("the picture through imagegen, p50", served.p50_ms(), "ms", turns),
        Figure("one step of the picture that is cancelled", 1000 * median(step for _, step in stops), "ms", cancels),
        Figure("from cancel until it has stopped, p50", 1000 * median(stop for stop, _ in stops), "ms", cancels),
        Figure("the same in steps, p50", median(steps), "steps", cancels, "< 1"),
        Figure("the same in steps, p95", percentile(steps, 0.95), "steps", cancels, "< 1"),
    ]


def _through(channel: grpc.aio.Channel) -> Way:
    stub = image_service_pb2_grpc.ImageServiceStub(channel)
    return Way(lambda seed: picture(stub, seed, _TIMED))


def _here(make: Callable[[int], object]) -> Way:
    async def without_server(seed: int) -> object:
        return make(seed)

    return Way(without_server)


async def _take_turns(ways: list[Way], seconds: float) -> None:
    """Time all ways, turn by turn; each turn begins with another one."""
    for seed in range(_WARM_UP):
        for way in ways:
            await way.make(seed)
    for turn in rounds_for(seconds):
        first = turn % len(ways)
        for way in ways[first:] + ways[:first]:
            taken = [await seconds_until(way.make(_WARM_UP + _RUN * turn + number)) for number in range(_RUN)]
            way.seconds += taken[1:]


async def _cancel(channel: grpc.aio.Channel, moment: float) -> tuple[float, float]:
    """Cancel a picture at `moment` (0 to 1) of a step; return the seconds until it has stopped, and those of a step."""
    images = image_service_pb2_grpc.ImageServiceStub(channel)
    models = model_service_pb2_grpc.ModelServiceStub(channel)
    call, told = images.Generate(request(1, _CANCELLED)), []
    async for event in call:
        if event.HasField("progress"):
            told.append((event.progress.step, time.perf_counter()))
            if len(told) == _TOLD_BEFORE:
                break
    (first, began), (last, ended) = told[0], told[-1]
    step = (ended - began) / (last - first)
    await asyncio.sleep(moment * step)
    call.cancel()
    return await seconds_until(_left(models)), step


async def _left(models: Any) -> None:
    """Return when nobody uses the model. Watched, because each look at a status would take time from what is timed."""
    watch = models.WatchModels(model_service_pb2.WatchModelsRequest())
    async for news in watch:
        if news.model.id == MODEL and not news.model.residency.leases:
            break
    watch.cancel()
