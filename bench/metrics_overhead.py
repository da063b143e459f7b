"""What the metrics of one request cost, in all services together.

The four services run in this process, with the settings and models they ship with. While a request is served, every
`labels`, `inc`, `dec`, `set` and `observe` is written down, whichever service or thread it is in; then the same calls
are made again by themselves, many times, and timed. Of the repetitions the fastest counts: whatever else the machine
does can only add. (To time each call where it happens costs more than the call.)
"""

import asyncio
import time
import timeit
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from functools import partial
from typing import Any
from unittest import mock

from prometheus_client import Counter, Gauge, Histogram

from atelier_client import AsyncClient
from bench._figures import Figure
from servekit import tracing
from servekit.metrics import Labelled
from servekit.testing import local
from services.imagegen import bootstrap as imagegen
from services.imagegen.settings import ImagegenSettings
from services.rewrite_llm import bootstrap as rewrite_llm
from services.rewrite_llm.settings import RewriteSettings
from services.router import bootstrap as router
from services.router.settings import RouterSettings
from services.voice import bootstrap as voice
from services.voice.settings import VoiceSettings

_ROUNDS = 20
_METHODS = [
    (kind, name)
    for kind, names in (
        (Labelled, ("labels",)),
        (Counter, ("inc",)),
        (Gauge, ("inc", "dec", "set")),
        (Histogram, ("observe",)),
    )
    for name in names
]
_STEPS = 4
_CALLS = 500
_SAMPLES = _CALLS * _ROUNDS

Request = Callable[[], Awaitable[object]]
Method = Callable[..., Any]
Call = tuple[Method, tuple[Any, ...]]


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
    began = time.perf_counter()
    with _written_down() as calls:
        await request()
    whole_us = 1e6 * (time.perf_counter() - began)
    cost_us = 1e6 * _seconds(partial(_repeat, calls))
    return [
        Figure(f"metrics of a call served, for {name} ({served} of them)", cost_us / served, "us", _SAMPLES, "<= 50"),
        Figure(f"metrics of {name} in all ({len(calls)} calls of them)", cost_us, "us", _SAMPLES),
        Figure(f"share of {name} that is metrics", 100 * cost_us / whole_us, "%", 1),
    ]


def _seconds(work: Callable[[], None]) -> float:
    return min(timeit.repeat(work, number=_CALLS, repeat=_ROUNDS)) / _CALLS


def _repeat(calls: Sequence[Call]) -> None:
    for method, arguments in calls:
        method(*arguments)


def _without_tracing() -> Figure:
    """Measure what a call asks of tracing where it is off: a span onward, seven stages, nine exemplars."""

    def ask() -> None:
        with tracing.onward("/a.B/C", ()):
            pass
        for _ in range(7):
            tracing.record("stage", 0.0, 1.0, model="sketch")
        for _ in range(9):
            tracing.exemplar()

    return Figure("tracing of a call, where it is off", 1e6 * _seconds(ask), "us", _SAMPLES, "<= 5")


@contextmanager
def _written_down() -> Iterator[list[Call]]:
    """Write down every call of a metric inside the block."""
    calls: list[Call] = []
    with ExitStack() as patches:
        for kind, name in _METHODS:
            method = getattr(kind, name)
            patches.enter_context(mock.patch.object(kind, name, _noting(method, calls)))
        yield calls


def _noting(method: Method, calls: list[Call]) -> Method:
    def noting(*arguments: Any) -> Any:
        calls.append((method, arguments))
        return method(*arguments)

    return noting


@asynccontextmanager
async def _studio() -> AsyncIterator[str]:
    """Serve all four in this process; yields the router's address."""
    async with AsyncExitStack() as stack:

        async def serve(app: Any) -> str:
            address: str = await stack.enter_async_context(app.serving())
            return address

        judge = await serve(rewrite_llm.build(local(RewriteSettings, port=0)))
        images = await serve(imagegen.build(local(ImagegenSettings, port=0, rewrite_address=judge)))
        speech = await serve(voice.build(local(VoiceSettings, port=0)))
        targets = {"imagegen_targets": images, "voice_targets": speech, "rewrite_target": judge}
        yield await serve(router.build(local(RouterSettings, port=0, **targets)))
