"""How many pictures imagegen makes of what the machine can, and what continuous batching saves who comes in between.

The ceiling is the engine in a process of its own, making full batches one after the other, with no server: measured
before and after each round of the server, with 16 clients that ask again as soon as they have their picture. Then
pictures are asked for at random moments (Poisson) at 70 % of the measured rate, by turns of the server as it is and of
the same server batching whole pictures. All of it for two kinds of picture. What that can save at best, `batching_sim`
tells: it depends on what full batches gain, which on a CPU is little.
"""

import asyncio
import os
import time
from dataclasses import dataclass
from random import Random
from statistics import median

import uvloop

from atelier.imagegen.v1 import image_service_pb2_grpc
from bench._figures import Figure, percentile
from bench._imagegen import CLIENTS, WIDTH, Direct, Kind, Stub, patient, picture, serving
from bench._timing import rounds_for, seconds_of, seconds_until

_KINDS = {"small": Kind(steps=14, side=64, guidance=0.0), "large": Kind(steps=8, side=96)}
"""Small pictures are bound by calls of operators: a step of eight costs little more than one of one, as on a GPU. Large
ones are bound by arithmetic: eight cost nearly eight times as much, so batching, of whatever sort, saves little."""
_ALONE = 8
_LOAD = 0.7
_ARRIVING = 2.0
"""Arrivals come for so many times as long as a closed loop is meant to take: p95 wants samples."""


def run(seconds: float = 8.0, rounds: int = 3) -> list[Figure]:
    """Start the servers, measure `rounds` times, about `seconds` each, and stop them."""
    patient()
    return uvloop.run(_measure(seconds, rounds))


async def _measure(seconds: float, rounds: int) -> list[Figure]:
    threads = os.cpu_count() or 1
    direct = Direct(threads)
    async with serving("_imagegen", str(threads)) as one, serving("_imagegen", str(threads), "whole") as other:
        rig = _Rig(direct, *map(image_service_pb2_grpc.ImageServiceStub, (one, other)))
        return [figure for name, kind in _KINDS.items() for figure in await _compare(rig, name, kind, seconds, rounds)]


async def _compare(rig: "_Rig", name: str, kind: Kind, seconds: float, rounds: int) -> list[Figure]:
    for each in (rig.stub, rig.whole):
        await _closed_loop(each, kind, 1)
    alone = 1 / min(seconds_of(lambda: rig.direct.pictures([1], kind)) for _ in range(_ALONE))
    ceilings, rates = [_ceiling(rig.direct, kind, seconds)], []
    for _ in range(rounds):
        rates.append(await _closed_loop(rig.stub, kind, max(1, round(seconds * ceilings[0] / CLIENTS))))
        ceilings.append(_ceiling(rig.direct, kind, seconds))
    rate = _LOAD * median(rates)
    joined, waited = [], []
    for seed in range(rounds):
        joined += await _poisson(rig.stub, kind, rate, _ARRIVING * seconds, seed)
        waited += await _poisson(rig.whole, kind, rate, _ARRIVING * seconds, seed)
    shares = [2 * rate / (before + after) for before, rate, after in zip(ceilings, rates, ceilings[1:], strict=False)]
    p95, whole_p95 = percentile(joined, 0.95), percentile(waited, 0.95)
    return [
        Figure(f"{name}: one after the other with no server", alone, "pictures/s", _ALONE),
        Figure(f"{name}: ceiling, batches of {WIDTH} with no server", median(ceilings), "pictures/s", len(ceilings)),
        Figure(f"{name}: {CLIENTS} clients in a closed loop", median(rates), "pictures/s", rounds),
        Figure(f"{name}: share of the ceiling around each round", median(shares), "x", rounds, ">= 0.98"),
        Figure(f"{name}: Poisson arrivals, continuous batching: p95", p95, "s", len(joined)),
        Figure(f"{name}: Poisson arrivals, whole pictures: p95", whole_p95, "s", len(waited)),
        Figure(f"{name}: p95 beside whole pictures", p95 / whole_p95, "x", len(joined), "<= 0.6"),
        Figure(f"{name}: p50 beside whole pictures", median(joined) / median(waited), "x", len(joined)),
    ]


@dataclass(frozen=True, slots=True)
class _Rig:
    """What is compared."""

    direct: Direct
    stub: Stub
    """The server as it is."""
    whole: Stub
    """The same server, batching whole pictures."""


def _ceiling(direct: Direct, kind: Kind, seconds: float) -> float:
    """Return the pictures per second of full batches, one after the other."""
    batches = [seconds_of(lambda: direct.pictures(list(range(WIDTH)), kind)) for _ in rounds_for(seconds)]
    return WIDTH * len(batches) / sum(batches)


async def _closed_loop(stub: Stub, kind: Kind, each: int) -> float:
    """Return the pictures per second of clients that make `each` pictures, one after the other."""

    async def client(number: int) -> None:
        for index in range(each):
            await picture(stub, number * each + index, kind)

    return CLIENTS * each / await seconds_until(asyncio.gather(*map(client, range(CLIENTS))))


async def _poisson(stub: Stub, kind: Kind, rate: float, seconds: float, seed: int) -> list[float]:
    """Return the seconds of each picture from the moment it was to be asked for."""
    random, moments = Random(seed), [0.0]
    while moments[-1] < seconds:
        moments.append(moments[-1] + random.expovariate(rate))
    began = time.perf_counter()

    async def ask(index: int, due: float) -> float:
        await asyncio.sleep(began + due - time.perf_counter())
        await picture(stub, index, kind)
        return time.perf_counter() - began - due

    return await asyncio.gather(*(ask(index, due) for index, due in enumerate(moments)))
