"""How many pictures imagegen makes of what the machine can, and what continuous batching saves who comes in between.

The ceiling is full batches one after the other with no server, in this process: by diffusers' own pipeline, which is
what anybody has, and by the engine that imagegen has around it. By turns with them, 16 clients ask
imagegen again as soon as they have their picture; and likewise the least gRPC server that can be written around the
same engine (`bench._least`), to tell the price of gRPC from that of the rest.
Then pictures are asked for at random moments (Poisson) at 70 % of the measured rate, by turns of the server as it is
and of the same server batching whole pictures: all equal, and with few to many steps, since a batch of whole pictures
has one number of steps. All of it for three kinds of picture. What that can save at best, `batching_sim` tells: it
depends on what full batches gain, which on a CPU is little.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
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
_TURNS = 2
"""Turns of closed loops in a round, and parts of its seconds: the machine's own pace changes within seconds."""
_LOAD = 0.7
_ARRIVING = 2.0
"""Arrivals come for so many times as long as a closed loop is meant to take: p95 wants samples."""


def run(seconds: float = 6.0, rounds: int = 2) -> list[Figure]:
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
    one, other = serving("_imagegen", str(threads)), serving("_imagegen", str(threads), "whole")
    async with one as as_it_is, other as whole, serving("_least", str(threads)) as least:
        stubs = [image_service_pb2_grpc.ImageServiceStub(each) for each in (as_it_is, whole, least)]
        rig = _Rig(direct, stubs[0], stubs[1], stubs[2])
        return [figure for name, kind in kinds.items() for figure in await _compare(rig, name, kind, seconds, rounds)]


@dataclass(frozen=True, slots=True)
class _Rig:
    """What is compared."""

    direct: Direct
    stub: Stub
    """The server as it is."""
    whole: Stub
    """The same server, batching whole pictures."""
    least: Stub
    """The least server."""
    seeds: Iterator[int] = field(default_factory=count)
    """No picture is made twice."""


async def _compare(rig: _Rig, name: str, kind: Kind, seconds: float, rounds: int) -> list[Figure]:
    for each in (rig.stub, rig.whole, rig.least):
        await _closed_loop(rig, each, kind, _WARM_UP_S)
    alone = 1 / min(seconds_of(lambda: rig.direct.pictures([next(rig.seeds)], kind)) for _ in range(_ALONE))
    rates = await _full_batches(rig, kind, seconds / _TURNS, _TURNS * rounds)
    served = rates["served"]
    rate, mixed = _LOAD * median(served), [replace(kind, steps=steps) for steps in _SPREAD]
    few_to_many = f"{name}, {mixed[0].steps} to {mixed[-1].steps} steps"
    return [
        Figure(f"{name}: one after the other with no server", alone, "pictures/s", _ALONE),
        *_shares(name, rates),
        *await _arriving(rig, f"{name}, equal", [kind], rate, _ARRIVING * seconds, rounds),
        *await _arriving(rig, few_to_many, mixed, rate * kind.steps / mean(_SPREAD), _ARRIVING * seconds, rounds),
    ]


async def _full_batches(rig: _Rig, kind: Kind, seconds: float, turns: int) -> dict[str, list[float]]:
    """Return the pictures per second of each way to make them in full batches, turn by turn."""
    ways: dict[str, Callable[[], Awaitable[float]]] = {
        "library": lambda: _one_after_the_other(rig, rig.direct.by_the_library, kind, seconds),
        "engine": lambda: _one_after_the_other(rig, rig.direct.pictures, kind, seconds),
        "served": lambda: _closed_loop(rig, rig.stub, kind, seconds),
        "least": lambda: _closed_loop(rig, rig.least, kind, seconds),
    }
    rates: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(turns):
        for way in list(ways)[:: -1 if turn % 2 else 1]:  # back and forth, so that nothing is always the first
            rates[way].append(await ways[way]())
    return rates


def _shares(name: str, rates: dict[str, list[float]]) -> list[Figure]:
    def share(here: str, there: str) -> float:
        return median(mine / theirs for mine, theirs in zip(rates[here], rates[there], strict=True))

    def rate(what: str, way: str) -> Figure:
        return Figure(f"{name}: {what}", median(rates[way]), "pictures/s", turns)

    turns = len(rates["served"])
    return [
        rate(f"ceiling, batches of {WIDTH} by diffusers' pipeline", "library"),
        rate(f"ceiling, batches of {WIDTH} by imagegen's engine", "engine"),
        rate(f"{CLIENTS} clients in a closed loop", "served"),
        rate("the same at the least server", "least"),
        Figure(f"{name}: share of the pipeline's ceiling", share("served", "library"), "x", turns, ">= 0.98"),
        Figure(f"{name}: share of the engine's ceiling", share("served", "engine"), "x", turns, ">= 0.98"),
        Figure(f"{name}: the least server's share of that", share("least", "engine"), "x", turns),
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


async def _one_after_the_other(
    rig: _Rig, make: Callable[[list[int], Kind], object], kind: Kind, seconds: float
) -> float:
    """Return the pictures per second of full batches with no server."""
    batches = [seconds_of(lambda: make(list(islice(rig.seeds, WIDTH)), kind)) for _ in rounds_for(seconds)]
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
