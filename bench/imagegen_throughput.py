"""How many pictures imagegen makes of what the machine can, and what continuous batching saves who comes in between.

The ceiling is the engine in a process of its own, making full batches one after the other, with no server: measured
before and after each round of the server, with 16 clients that ask again as soon as they have their picture. Then
pictures are asked for at random moments (Poisson) at 70 % of the measured rate, by turns of the server as it is and of
the same server batching whole pictures: all equal, and with few to many steps, since a batch of whole pictures has one
number of steps. All of it for three kinds of picture. What that can save at best, `batching_sim` tells: it depends on
what full batches gain, which on a CPU is little.
"""

import asyncio
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from itertools import count, islice
from pathlib import Path
from random import Random
from statistics import mean, median
from tempfile import TemporaryDirectory
from unittest.mock import patch

import uvloop

from atelier.imagegen.v1 import image_service_pb2_grpc
from bench._figures import Figure, percentile
from bench._imagegen import CLIENTS, WIDTH, Direct, Kind, Stub, patient, picture, serving
from bench._timing import rounds_for, seconds_of

_SMALL, _LARGE = Kind(steps=14, side=64, guidance=0.0), Kind(steps=8, side=96)
"""Of the bundled model, with every core: a step of eight small ones costs half of eight steps. Large ones are bound by
arithmetic: eight cost nearly eight times as much, so batching, of whatever sort, saves little."""
_NARROW = _SMALL
"""Of the narrow transformer. Bound by calls of operators, which one thread makes: a step of eight costs twice that of
one, and the server has a core for itself, both as on a GPU."""
_SPREAD = (4, 8, 14, 28)
"""Steps of pictures that are not all equal: those that the tiers of the catalog's models have."""
_ALONE = 8
_WARM_UP_S = 1.0
_LOAD = 0.7
_ARRIVING = 2.0
"""Arrivals come for so many times as long as a closed loop is meant to take: p95 wants samples."""


def run(seconds: float = 8.0, rounds: int = 3) -> list[Figure]:
    """Start the servers, measure `rounds` times, about `seconds` each, and stop them."""
    patient()
    return uvloop.run(_measure(seconds, rounds))


async def _measure(seconds: float, rounds: int) -> list[Figure]:
    cores = os.cpu_count() or 1
    figures = await _with_model(cores, {"small": _SMALL, "large": _LARGE}, seconds, rounds)
    with TemporaryDirectory() as folder, _with_narrow_weights(Path(folder)):
        return figures + await _with_model(1, {"narrow": _NARROW}, seconds, rounds)


def _with_narrow_weights(folder: Path) -> AbstractContextManager[object]:
    """Have this process and those it starts use the narrow transformer."""
    from bench import _narrow

    return patch.dict(os.environ, ATELIER_IMAGEGEN_CATALOG_FILE=str(_narrow.save(folder)))


async def _with_model(threads: int, kinds: dict[str, Kind], seconds: float, rounds: int) -> list[Figure]:
    direct = Direct(threads)
    async with serving("_imagegen", str(threads)) as one, serving("_imagegen", str(threads), "whole") as other:
        stubs = [image_service_pb2_grpc.ImageServiceStub(each) for each in (one, other)]
        rig = _Rig(direct, stubs[0], stubs[1])
        return [figure for name, kind in kinds.items() for figure in await _compare(rig, name, kind, seconds, rounds)]


@dataclass(frozen=True, slots=True)
class _Rig:
    """What is compared."""

    direct: Direct
    stub: Stub
    """The server as it is."""
    whole: Stub
    """The same server, batching whole pictures."""
    seeds: Iterator[int] = field(default_factory=count)
    """No picture is made twice."""


async def _compare(rig: _Rig, name: str, kind: Kind, seconds: float, rounds: int) -> list[Figure]:
    for each in (rig.stub, rig.whole):
        await _closed_loop(rig, each, kind, _WARM_UP_S)
    alone = 1 / min(seconds_of(lambda: rig.direct.pictures([next(rig.seeds)], kind)) for _ in range(_ALONE))
    ceilings, rates = [_ceiling(rig, kind, seconds)], []
    for _ in range(rounds):
        rates.append(await _closed_loop(rig, rig.stub, kind, seconds))
        ceilings.append(_ceiling(rig, kind, seconds))
    shares = [2 * rate / (before + after) for before, rate, after in zip(ceilings, rates, ceilings[1:], strict=False)]
    rate, mixed = _LOAD * median(rates), [replace(kind, steps=steps) for steps in _SPREAD]
    few_to_many = f"{name}, {mixed[0].steps} to {mixed[-1].steps} steps"
    return [
        Figure(f"{name}: one after the other with no server", alone, "pictures/s", _ALONE),
        Figure(f"{name}: ceiling, batches of {WIDTH} with no server", median(ceilings), "pictures/s", len(ceilings)),
        Figure(f"{name}: {CLIENTS} clients in a closed loop", median(rates), "pictures/s", rounds),
        Figure(f"{name}: share of the ceiling around each round", median(shares), "x", rounds, ">= 0.98"),
        *await _arriving(rig, f"{name}, equal", [kind], rate, _ARRIVING * seconds, rounds),
        *await _arriving(rig, few_to_many, mixed, rate * kind.steps / mean(_SPREAD), _ARRIVING * seconds, rounds),
    ]


async def _arriving(
    rig: _Rig, name: str, kinds: Sequence[Kind], rate: float, seconds: float, rounds: int
) -> list[Figure]:
    joined, waited = [], []
    for seed in range(rounds):
        joined += await _poisson(rig, rig.stub, kinds, rate, seconds, seed)
        waited += await _poisson(rig, rig.whole, kinds, rate, seconds, seed)
    p95, whole_p95 = percentile(joined, 0.95), percentile(waited, 0.95)
    return [
        Figure(f"{name}: Poisson arrivals, continuous batching: p95", p95, "s", len(joined)),
        Figure(f"{name}: Poisson arrivals, whole pictures: p95", whole_p95, "s", len(waited)),
        Figure(f"{name}: p95 beside whole pictures", p95 / whole_p95, "x", len(joined), "<= 0.6"),
        Figure(f"{name}: p50 beside whole pictures", median(joined) / median(waited), "x", len(joined)),
    ]


def _ceiling(rig: _Rig, kind: Kind, seconds: float) -> float:
    """Return the pictures per second of full batches, one after the other."""
    batches = [
        seconds_of(lambda: rig.direct.pictures(list(islice(rig.seeds, WIDTH)), kind)) for _ in rounds_for(seconds)
    ]
    return WIDTH * len(batches) / sum(batches)


async def _closed_loop(rig: _Rig, stub: Stub, kind: Kind, seconds: float) -> float:
    """Return the pictures per second that clients get who ask again at once, for about `seconds`.

    Counted from the moment when each may have had its first, until all still ask: batches are full at both ends.
    """
    done: list[float] = []

    async def client() -> None:
        while len(done) <= CLIENTS or done[-1] < done[CLIENTS] + seconds:
            await picture(stub, next(rig.seeds), kind)
            done.append(time.perf_counter())

    clients = [asyncio.create_task(client()) for _ in range(CLIENTS)]
    await asyncio.wait(clients, return_when=asyncio.FIRST_COMPLETED)
    rate = (len(done) - 1 - CLIENTS) / (done[-1] - done[CLIENTS])
    await asyncio.gather(*clients)
    return rate


async def _poisson(rig: _Rig, stub: Stub, kinds: Sequence[Kind], rate: float, seconds: float, seed: int) -> list[float]:
    """Return the seconds of each picture from the moment it was to be asked for."""
    random, moments = Random(seed), [0.0]
    while moments[-1] < seconds:
        moments.append(moments[-1] + random.expovariate(rate))
    began = time.perf_counter()

    async def ask(due: float, kind: Kind) -> float:
        await asyncio.sleep(began + due - time.perf_counter())
        await picture(stub, next(rig.seeds), kind)
        return time.perf_counter() - began - due

    return await asyncio.gather(*(ask(due, random.choice(kinds)) for due in moments))
