"""How many pictures imagegen makes of what the machine can, and what continuous batching saves who comes in between.

The ceiling is the engine in a process of its own, making full batches one after the other, with no server: measured
before and after each round of the server, with 16 clients that ask again as soon as they have their picture. Then
pictures are asked for at random moments (Poisson) at 70 % of the measured rate, by turns of the server as it is and of
the same server batching whole pictures.
"""

import asyncio
import time
from random import Random
from statistics import median

import grpc
import uvloop

from atelier.imagegen.v1 import image_service_pb2_grpc
from bench._figures import Figure, percentile
from bench._imagegen import CLIENTS, WIDTH, Direct, Stub, patient, picture
from bench._parts import helper

_ROUNDS = 3
_BATCHES = 12
_STEPS = 8
_LOAD = 0.7
_ARRIVALS = 150


def run() -> list[Figure]:
    """Start the servers, measure, stop them."""
    patient()
    with helper("_imagegen") as continuous, helper("_imagegen", "whole") as whole:
        return uvloop.run(_measure(continuous, whole))


async def _measure(continuous: str, whole: str) -> list[Figure]:
    direct = Direct()
    async with grpc.aio.insecure_channel(continuous) as one, grpc.aio.insecure_channel(whole) as other:
        stub, whole_stub = image_service_pb2_grpc.ImageServiceStub(one), image_service_pb2_grpc.ImageServiceStub(other)
        for each in (stub, whole_stub):
            await _closed_loop(each, 1)
        ceilings, rates = [_ceiling(direct)], []
        for _ in range(_ROUNDS):
            rates.append(await _closed_loop(stub, _BATCHES * WIDTH // CLIENTS))
            ceilings.append(_ceiling(direct))
        joined, waited = [], []
        for seed in range(_ROUNDS):
            joined += await _poisson(stub, _LOAD * median(rates), seed)
            waited += await _poisson(whole_stub, _LOAD * median(rates), seed)
    shares = [2 * rate / (before + after) for before, rate, after in zip(ceilings, rates, ceilings[1:], strict=False)]
    p95, whole_p95 = percentile(joined, 0.95), percentile(waited, 0.95)
    return [
        Figure(f"ceiling: batches of {WIDTH} with no server", median(ceilings), "pictures/s", len(ceilings)),
        Figure(f"{CLIENTS} clients in a closed loop", median(rates), "pictures/s", _ROUNDS),
        Figure("share of the ceiling around each round", median(shares), "x", _ROUNDS, ">= 0.98"),
        Figure("Poisson arrivals, continuous batching: p95", p95, "s", len(joined)),
        Figure("Poisson arrivals, whole pictures: p95", whole_p95, "s", len(waited)),
        Figure("p95 beside whole pictures", p95 / whole_p95, "x", len(joined), "<= 0.6"),
        Figure("p50 beside whole pictures", median(joined) / median(waited), "x", len(joined)),
    ]


def _ceiling(direct: Direct) -> float:
    """Return the pictures per second of full batches, one after the other."""
    began = time.perf_counter()
    for batch in range(_BATCHES):
        direct.pictures([WIDTH * batch + each for each in range(WIDTH)], _STEPS)
    return _BATCHES * WIDTH / (time.perf_counter() - began)


async def _closed_loop(stub: Stub, each: int) -> float:
    """Return the pictures per second of clients that make `each` pictures, one after the other."""

    async def client(number: int) -> None:
        for index in range(each):
            await picture(stub, number * each + index, _STEPS)

    began = time.perf_counter()
    await asyncio.gather(*map(client, range(CLIENTS)))
    return CLIENTS * each / (time.perf_counter() - began)


async def _poisson(stub: Stub, rate: float, seed: int) -> list[float]:
    """Return the seconds of each picture from the moment it was to be asked for."""
    random, moment, moments = Random(seed), 0.0, []
    for _ in range(_ARRIVALS):
        moment += random.expovariate(rate)
        moments.append(moment)
    began = time.perf_counter()

    async def ask(index: int, due: float) -> float:
        await asyncio.sleep(began + due - time.perf_counter())
        await picture(stub, index, _STEPS)
        return time.perf_counter() - began - due

    return await asyncio.gather(*(ask(index, due) for index, due in enumerate(moments)))
