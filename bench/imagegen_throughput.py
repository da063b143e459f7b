"""How many pictures imagegen makes of what the machine can, and what continuous batching saves who comes in between.

The ceiling is the engine in a process of its own, making full batches one after the other, with no server: measured
before and after each round of the server, with 16 clients that ask again as soon as they have their picture. Then
pictures are asked for at random moments (Poisson) at 70 % of the measured rate, by turns of the server as it is and of
the same server batching whole pictures.
"""

import asyncio
import os
import time
from random import Random
from statistics import median

import uvloop

from atelier.imagegen.v1 import image_service_pb2_grpc
from bench._figures import Figure, percentile
from bench._imagegen import CLIENTS, WIDTH, Direct, Stub, patient, picture, serving
from bench._timing import rounds_for, seconds_of, seconds_until

_STEPS = 8
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
        stub, whole = image_service_pb2_grpc.ImageServiceStub(one), image_service_pb2_grpc.ImageServiceStub(other)
        for each in (stub, whole):
            await _closed_loop(each, 1)
        ceilings, rates = [_ceiling(direct, seconds)], []
        for _ in range(rounds):
            rates.append(await _closed_loop(stub, max(1, round(seconds * ceilings[0] / CLIENTS))))
            ceilings.append(_ceiling(direct, seconds))
        joined, waited = [], []
        for seed in range(rounds):
            joined += await _poisson(stub, _LOAD * median(rates), _ARRIVING * seconds, seed)
            waited += await _poisson(whole, _LOAD * median(rates), _ARRIVING * seconds, seed)
    shares = [2 * rate / (before + after) for before, rate, after in zip(ceilings, rates, ceilings[1:], strict=False)]
    p95, whole_p95 = percentile(joined, 0.95), percentile(waited, 0.95)
    return [
        Figure(f"ceiling: batches of {WIDTH} with no server", median(ceilings), "pictures/s", len(ceilings)),
        Figure(f"{CLIENTS} clients in a closed loop", median(rates), "pictures/s", rounds),
        Figure("share of the ceiling around each round", median(shares), "x", rounds, ">= 0.98"),
        Figure("Poisson arrivals, continuous batching: p95", p95, "s", len(joined)),
        Figure("Poisson arrivals, whole pictures: p95", whole_p95, "s", len(waited)),
        Figure("p95 beside whole pictures", p95 / whole_p95, "x", len(joined), "<= 0.6"),
        Figure("p50 beside whole pictures", median(joined) / median(waited), "x", len(joined)),
    ]


def _ceiling(direct: Direct, seconds: float) -> float:
    """Return the pictures per second of full batches, one after the other."""
    batches = [seconds_of(lambda: direct.pictures(list(range(WIDTH)), _STEPS)) for _ in rounds_for(seconds)]
    return WIDTH * len(batches) / sum(batches)


async def _closed_loop(stub: Stub, each: int) -> float:
    """Return the pictures per second of clients that make `each` pictures, one after the other."""

    async def client(number: int) -> None:
        for index in range(each):
            await picture(stub, number * each + index, _STEPS)

    return CLIENTS * each / await seconds_until(asyncio.gather(*map(client, range(CLIENTS))))


async def _poisson(stub: Stub, rate: float, seconds: float, seed: int) -> list[float]:
    """Return the seconds of each picture from the moment it was to be asked for."""
    random, moments = Random(seed), [0.0]
    while moments[-1] < seconds:
        moments.append(moments[-1] + random.expovariate(rate))
    began = time.perf_counter()

    async def ask(index: int, due: float) -> float:
        await asyncio.sleep(began + due - time.perf_counter())
        await picture(stub, index, _STEPS)
        return time.perf_counter() - began - due

    return await asyncio.gather(*(ask(index, due) for index, due in enumerate(moments)))
