"""How many pictures imagegen makes of what the machine can, and what continuous batching saves who comes in between.

The ceiling is full batches one after the other with no server, in this process: by diffusers' own pipeline, which is
what anybody has, and by the engine that imagegen has around it. By turns with them, 16 clients ask
imagegen again as soon as they have their picture; and likewise the least gRPC server that can be written around the
same engine (`bench._least`), to tell the price of gRPC from that of the rest.
Then pictures are asked for at random moments (Poisson) at 70 % of the measured rate, by turns of the server as it is
and of the same server batching whole pictures: all equal, and with few to many steps, since a batch of whole pictures
has one number of steps. Beside each, what it would be with no server: simulated for the same moments, from what the
engine was measured to take. All of it for three kinds of picture. What joining between steps can save at best depends
on what full batches gain, which on a CPU is little; `batching_sim` tells how much for devices that are not here.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from itertools import chain, count, islice
from pathlib import Path
from random import Random
from statistics import mean, median
from tempfile import TemporaryDirectory
from unittest.mock import patch

import uvloop

from atelier.imagegen.v1 import image_service_pb2_grpc
from bench._batches import WIDTH, Asked, Device, arrivals, join_between_steps, whole_pictures
from bench._figures import Figure, percentile
from bench._imagegen import CLIENTS, SAMPLES, Direct, Kind, Stub, patient, picture, serving
from bench._timing import rounds_for, seconds_of

_SMALL, _LARGE = Kind(steps=14, side=64, guidance=0.0), Kind(steps=8, side=96)
"""Of the bundled model, with every core: a step of eight small ones costs half of eight steps. Large ones are bound by
arithmetic: eight cost nearly eight times as much, so batching, of whatever sort, saves little."""
_NARROW = _SMALL
"""Of the narrow transformer. Bound by calls of operators, which one thread makes: a step of eight costs twice that of
one, and the server has a core for itself, both as on a GPU."""
_SPREAD = (4, 8, 14, 28)
"""Steps of pictures that are not all equal: those that the tiers of the catalog's models have."""
_WARM_UP_S = 1.0
_TURNS = 2
"""Turns of arrivals in a round: the machine's own pace changes within seconds."""
_LOOPS = 4
"""Turns of closed loops in a round, each of half its seconds."""
_LOAD = 0.7
_ARRIVING = 2.0
"""A turn of arrivals takes so many times the seconds of a round: p95 wants samples."""


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
    costs = rig.direct.costs(rig.seeds, kind)
    turns = _TURNS * rounds
    rates = await _full_batches(rig, kind, seconds / 2, _LOOPS * rounds)
    figures = [
        Figure(f"{name}: one after the other with no server", costs.single(kind.steps), "pictures/s", SAMPLES),
        *_shares(name, rates),
    ]
    for what, steps in {"equal": (kind.steps,), f"{_SPREAD[0]} to {_SPREAD[-1]} steps": _SPREAD}.items():
        rate = _LOAD * median(rates["served"]) * kind.steps / mean(steps)
        moments = [arrivals(rate, steps, Random(seed), until=_ARRIVING * seconds) for seed in range(turns)]
        figures += await _arriving(rig, f"{name}, {what}", kind, moments, costs)
    return figures


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
    rig: _Rig, name: str, kind: Kind, moments: Sequence[Sequence[Asked]], costs: Device
) -> list[Figure]:
    stubs = {"continuous batching": rig.stub, "whole pictures": rig.whole}
    seconds: dict[str, list[float]] = {how: [] for how in stubs}
    for turn, pictures in enumerate(moments):
        for how in list(stubs)[:: -1 if turn % 2 else 1]:
            seconds[how] += await _asked_for(rig, stubs[how], kind, pictures)
    for how, simulate in {"joined": join_between_steps, "waited": whole_pictures}.items():
        seconds[how] = list(chain(*(simulate(pictures, costs) for pictures in moments)))
    p50, p95 = ({how: percentile(each, share) for how, each in seconds.items()} for share in (0.5, 0.95))
    samples, one, other = sum(map(len, moments)), *stubs
    return [
        *[Figure(f"{name}: Poisson arrivals, {how}: p95", p95[how], "s", samples) for how in stubs],
        Figure(f"{name}: p95 beside whole pictures", p95[one] / p95[other], "x", samples, "<= 0.6"),
        Figure(f"{name}: the same with no server", p95["joined"] / p95["waited"], "x", samples),
        Figure(f"{name}: p95 beside that with no server", p95[one] / p95["joined"], "x", samples),
        Figure(f"{name}: p50 beside whole pictures", p50[one] / p50[other], "x", samples),
    ]


async def _one_after_the_other(
    rig: _Rig, make: Callable[[list[int], Kind], object], kind: Kind, seconds: float
) -> float:
    """Return the pictures per second of full batches with no server."""
    batches = [seconds_of(lambda: make(list(islice(rig.seeds, WIDTH)), kind)) for _ in rounds_for(seconds)]
    return WIDTH * len(batches) / sum(batches)


async def _closed_loop(rig: _Rig, stub: Stub, kind: Kind, seconds: float) -> float:
    """Return the pictures per second that clients get who ask again at once, for about `seconds`.

    Counted from the moment when each may have had its first, until all still ask: batches are full at both ends. Those
    of a batch come together, so what counts is every eighth: whichever of its batch it is, so is the last that counts.
    """
    done: list[float] = []

    def over() -> bool:
        counted = done[CLIENTS::WIDTH]
        return bool(counted) and counted[-1] >= counted[0] + seconds

    async def client() -> None:
        while not over():
            await picture(stub, next(rig.seeds), kind)
            done.append(time.perf_counter())

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    counted = done[CLIENTS::WIDTH]
    batches = next(count for count, at in enumerate(counted) if at >= counted[0] + seconds)
    return batches * WIDTH / (counted[batches] - counted[0])


async def _asked_for(rig: _Rig, stub: Stub, kind: Kind, pictures: Sequence[Asked]) -> list[float]:
    """Return the seconds of each picture from the moment it was to be asked for."""
    began = time.perf_counter()

    async def ask(asked: Asked) -> float:
        due = began + asked.at
        await asyncio.sleep(due - time.perf_counter())
        await picture(stub, next(rig.seeds), replace(kind, steps=asked.steps))
        return time.perf_counter() - due

    return await asyncio.gather(*map(ask, pictures))
