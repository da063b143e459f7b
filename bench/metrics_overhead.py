"""What the metrics of one request cost, in all services together.

The four services run in this process, with the settings and models they ship with. Every `labels`, `inc`, `dec`, `set`
and `observe` of prometheus_client is timed by the processor time of its thread, less what the timing itself costs: the
sum over a request is all that metrics cost it, whichever service or thread they are in. Of the rounds, the best tenth
counts.
"""

import asyncio
import time
import timeit
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

from prometheus_client import Counter, Gauge, Histogram

from atelier_client import AsyncClient
from bench._figures import Figure, percentile
from servekit import tracing
from servekit.testing import local
from services.imagegen import bootstrap as imagegen
from services.imagegen.settings import ImagegenSettings
from services.rewrite_llm import bootstrap as rewrite_llm
from services.rewrite_llm.settings import RewriteSettings
from services.router import bootstrap as router
from services.router.settings import RouterSettings
from services.voice import bootstrap as voice
from services.voice.settings import VoiceSettings

_ROUNDS = 12
_REQUESTS = 3
_METHODS = [
    (kind, name)
    for kind, names in (
        (Counter, ("labels", "inc")),
        (Gauge, ("labels", "inc", "dec", "set")),
        (Histogram, ("labels", "observe")),
    )
    for name in names
]
_BEST = 0.1
"""The share of rounds that went better still: whatever else the machine does can only add."""
_STEPS = 4
_CALLS = 2000

Request = Callable[[], Awaitable[object]]


@dataclass(slots=True)
class Spent:
    """Nanoseconds in metrics, and how many calls of them."""

    ns: int = 0
    calls: int = 0


def run() -> list[Figure]:
    """Start the services, measure, stop them."""
    return asyncio.run(_measure())


async def _measure() -> list[Figure]:
    figures = []
    async with _studio() as address, AsyncClient(address) as client:
        requests: dict[str, tuple[Request, int]] = {
            "a list of voices": (lambda: client.voices(language="xx"), 2),
            "a sentence of speech": (lambda: client.say("Good evening."), 2),
            f"a picture of {_STEPS} steps": (lambda: client.image("a lake at sunset", steps=_STEPS), 4),
        }
        for name, (request, served) in requests.items():
            await request()  # loads what has to be loaded
            figures += await _figures(name, request, served)
    return [*figures, _without_tracing()]


async def _figures(name: str, request: Request, served: int) -> list[Figure]:
    """Measure a request that `served` calls to servers are made for, the one to the router included."""
    costs, calls, timed = [], 0, list[float]()
    for _ in range(_ROUNDS):
        with _metered() as spent:
            for _ in range(_REQUESTS):
                began = time.perf_counter()
                await request()
                timed.append(time.perf_counter() - began)
        costs.append(spent.ns / _REQUESTS / 1000)
        calls = round(spent.calls / _REQUESTS)
    whole_us = 1e6 * percentile(timed, 0.5)
    cost_us = percentile(costs, _BEST)
    samples = _ROUNDS * _REQUESTS
    return [
        Figure(f"metrics of a call served, for {name} ({served} of them)", cost_us / served, "us", samples, "<= 50"),
        Figure(f"metrics of {name} in all ({calls} measurements)", cost_us, "us", samples),
        Figure(f"share of {name} that is metrics", 100 * cost_us / whole_us, "%", samples),
    ]


def _without_tracing() -> Figure:
    """Measure what a call asks of tracing where it is off: a span onward, seven stages, nine exemplars."""

    def ask() -> None:
        with tracing.onward("/a.B/C", ()):
            pass
        for _ in range(7):
            tracing.record("stage", 0.0, 1.0, model="sketch")
        for _ in range(9):
            tracing.exemplar()

    seconds = min(timeit.repeat(ask, number=_CALLS, repeat=_ROUNDS)) / _CALLS
    return Figure("tracing of a call, where it is off", 1e6 * seconds, "us", _CALLS * _ROUNDS, "<= 5")


@contextmanager
def _metered() -> Iterator[Spent]:
    """Time every call of a metric inside the block."""
    spent, own_ns = Spent(), _cost_of_timing_ns()
    with ExitStack() as patches:
        for kind, name in _METHODS:
            timed = _timed(getattr(kind, name), spent, own_ns)
            patches.enter_context(mock.patch.object(kind, name, timed))
        yield spent


def _timed(method: Callable[..., Any], spent: Spent, own_ns: int) -> Callable[..., Any]:
    def timed(*arguments: Any, **options: Any) -> Any:
        began = time.thread_time_ns()
        try:
            return method(*arguments, **options)
        finally:
            spent.ns += max(0, time.thread_time_ns() - began - own_ns)
            spent.calls += 1

    return timed


def _cost_of_timing_ns() -> int:
    pairs = []
    for _ in range(1000):
        began = time.thread_time_ns()
        pairs.append(time.thread_time_ns() - began)
    return int(percentile(pairs, 0.5))


@asynccontextmanager
async def _studio() -> AsyncIterator[str]:
    """Serve all four in this process; yields the router's address."""
    async with AsyncExitStack() as stack:

        async def serve(app: Any) -> str:
            address: str = await stack.enter_async_context(app.serving())
            return address

        judge = await serve(rewrite_llm.build(local(RewriteSettings)))
        images = await serve(imagegen.build(local(ImagegenSettings, rewrite_address=judge)))
        speech = await serve(voice.build(local(VoiceSettings)))
        targets = {"imagegen_targets": images, "voice_targets": speech, "rewrite_target": judge}
        yield await serve(router.build(local(RouterSettings, **targets)))
