"""What the metrics of one request cost, in all services together.

The four services run in this process, with the settings and models they ship with. Every `labels`, `inc`, `dec`, `set`
and `observe` of prometheus_client is timed by the processor time of its thread, less what the timing itself costs: the
sum over a request is all that metrics cost it, whichever service or thread they are in.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

from prometheus_client import Counter, Gauge, Histogram

from atelier_client import AsyncClient
from bench._figures import Figure, percentile
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
_STEPS = 4

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
        requests: dict[str, Request] = {
            "looking up a voice": lambda: client.voices(language="xx"),
            "a sentence of speech": lambda: client.say("Good evening."),
            f"a picture of {_STEPS} steps": lambda: client.image("a lake at sunset", steps=_STEPS),
        }
        for name, request in requests.items():
            await request()  # loads what has to be loaded
            figures += await _figures(name, request)
    return figures


async def _figures(name: str, request: Request) -> list[Figure]:
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
    cost_us = percentile(costs, 0.5)
    return [
        Figure(f"metrics of {name}, all services ({calls} calls)", cost_us, "us", _ROUNDS * _REQUESTS, "<= 50"),
        Figure(f"share of {name} that is metrics", 100 * cost_us / whole_us, "%", _ROUNDS * _REQUESTS),
    ]


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
