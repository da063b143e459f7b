"""What goes wrong one day: each function makes it happen under load and returns what that did."""

import asyncio
import platform
import resource
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.request import urlopen

import grpc
import psutil

from atelier.voice.v1 import voice_service_pb2
from atelier.voice.v1.voice_service_pb2_grpc import VoiceServiceStub
from bench._figures import Figure, percentile
from bench._soak.cloning import Cloning
from bench._soak.fleet import REPLICATED, Fleet
from bench._soak.load import KINDS, Load, Outcome
from bench._soak.memory import resident
from deploy.local.studio import SERVICES

_NEEDED_BY = {
    "router": tuple(KINDS),
    "imagegen": ("picture", "decision"),
    "voice": ("sentence",),
    "rewrite_llm": ("picture", "decision"),
}
_LOOK_S = 5.0
"""Seconds that a state is watched."""
_IDLE = 1000
_LONG_TEXT = "This sentence is here to make the audio long. " * 400
FAKETIME = Path("/usr/lib", f"{platform.machine()}-linux-gnu", "faketime", "libfaketime.so.1")
_MINUTE, _DAY = 60, 86_400
_FULL = "FAILED_PRECONDITION"


def failed(outcomes: Sequence[Outcome]) -> int:
    """Return how many requests got no answer."""
    return sum(bool(each.error) for each in outcomes)


def wrong(outcomes: Sequence[Outcome]) -> int:
    """Return how many answers were not right."""
    return sum(each.wrong for each in outcomes)


def _p50_ms(outcomes: Sequence[Outcome], kind: str) -> float:
    seconds = [each.seconds for each in outcomes if each.kind == kind and not each.error]
    return 1000 * percentile(seconds, 0.5) if seconds else float("nan")


async def killed(fleet: Fleet, load: Load) -> list[Figure]:
    """SIGKILL one service after the other."""
    return [figure for name in SERVICES for figure in await _killed(fleet, load, name)]


async def _killed(fleet: Fleet, load: Load, name: str) -> list[Figure]:
    """SIGKILL a service, which starts again at once, and wait until everything that needs it has been answered."""
    began = time.monotonic()
    await fleet.kill(name)
    await load.answered(_NEEDED_BY[name], time.monotonic())
    recovered_s = time.monotonic() - began
    during = load.since(began)
    return [
        Figure(f"{name} killed: started again and answering after", recovered_s, "s", 1, "<= 60"),
        Figure(f"{name} killed: requests that got an error", failed(during), "requests", len(during)),
        Figure(f"{name} killed: wrong answers", wrong(during), "answers", len(during), "0"),
    ]


async def rolling_restart(fleet: Fleet, load: Load) -> list[Figure]:
    """SIGTERM one replica after the other; each comes back before the next goes."""
    await fleet.replicate()
    await load.answered(tuple(KINDS), time.monotonic())
    began = time.monotonic()
    for service in REPLICATED:
        for name in (service, f"{service}-1"):
            await fleet.restart(name)
            await asyncio.sleep(_LOOK_S)  # the router looks every two seconds
    during = load.since(began)
    return [
        Figure("rolling restart: requests that got an error", failed(during), "requests", len(during), "0"),
        Figure("rolling restart: wrong answers", wrong(during), "answers", len(during), "0"),
    ]


async def slow_client(fleet: Fleet, load: Load) -> list[Figure]:
    """Begin to read minutes of audio, stop reading for a while, then read on."""
    before = load.since(time.monotonic() - _LOOK_S)
    pids = {name: fleet.pids()[name] for name in ("router", "voice")}
    held = sum(map(resident, pids.values()))
    request = voice_service_pb2.SynthesizeRequest(text=_LONG_TEXT)
    async with grpc.aio.insecure_channel(fleet.studio.address) as channel:
        call = VoiceServiceStub(channel).Synthesize(request, timeout=120)
        events: list[voice_service_pb2.SynthesizeResponse] = [await anext(stream := aiter(call)), await anext(stream)]
        stopped = time.monotonic()
        await asyncio.sleep(_LOOK_S)
        grown, during = sum(map(resident, pids.values())) - held, load.since(stopped)
        events += [event async for event in stream]
    received = sum(len(event.chunk.data) for event in events)
    whole = events[-1].HasField("summary") and received > 0
    return [
        Figure("slow client: its audio arrived whole", whole, "of 1", 1, "1"),
        Figure("slow client: memory it costs while it does not read", grown / 1e6, "MB", 1, f"<= {received / 1e6:.0f}"),
        Figure("slow client: errors of the others meanwhile", failed(during), "requests", len(during), "0"),
        Figure("slow client: p50 of others' decisions meanwhile", _p50_ms(during, "decision"), "ms", len(during)),
        Figure("slow client: p50 of others' decisions before", _p50_ms(before, "decision"), "ms", len(before)),
    ]


async def idle_connections(fleet: Fleet, load: Load) -> list[Figure]:
    """Open connections that ask for nothing, each on a socket of its own."""
    pid = fleet.pids()["router"]
    held = resident(pid)
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with AsyncExitStack() as stack:
        channels = [
            await stack.enter_async_context(grpc.aio.insecure_channel(fleet.studio.address, options))
            for _ in range(_IDLE)
        ]
        async with asyncio.timeout(120):
            await asyncio.gather(*(channel.channel_ready() for channel in channels))
        opened, grown = time.monotonic(), resident(pid) - held
        sockets = sum(each.status == psutil.CONN_ESTABLISHED for each in psutil.Process(pid).net_connections("tcp"))
        await asyncio.sleep(_LOOK_S)
        during = load.since(opened)
    return [
        Figure(f"{_IDLE} idle connections: memory of the router for each", grown / _IDLE / 1e3, "kB", _IDLE, "<= 200"),
        Figure(f"{_IDLE} idle connections: sockets of the router", sockets, "sockets", 1, f">= {_IDLE}"),
        Figure(f"{_IDLE} idle connections: errors of the others", failed(during), "requests", len(during), "0"),
        Figure(f"{_IDLE} idle connections: p50 of decisions", _p50_ms(during, "decision"), "ms", len(during)),
    ]


async def full_disk(fleet: Fleet, load: Load, folder: Path) -> list[Figure]:
    """Let no service make any file longer, its log included, as on a full disk; meanwhile, somebody makes a voice."""
    cloning = await Cloning.begin(fleet, folder / "cloning")
    await load.answered(tuple(KINDS), time.monotonic())
    began, kept = time.monotonic(), cloning.files()
    _let_files_grow(fleet, 1)
    refused = await cloning.make("after")
    await asyncio.sleep(_LOOK_S)
    left = cloning.files() - kept
    _let_files_grow(fleet, resource.RLIM_INFINITY)
    made = not await cloning.make("after")
    during = load.since(began)
    return [
        Figure("full disk: requests that got an error", failed(during), "requests", len(during), "0"),
        Figure("full disk: wrong answers", wrong(during), "answers", len(during), "0"),
        Figure("full disk: a new voice is refused, FAILED_PRECONDITION", refused == _FULL, "of 1", 1, "1"),
        Figure("full disk: files that are left of it", left, "files", 1, "0"),
        Figure("full disk: it can be made and heard when there is room", made, "of 1", 1, "1"),
    ]


def _let_files_grow(fleet: Fleet, most_bytes: int) -> None:
    for pid in fleet.pids().values():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (most_bytes, resource.RLIM_INFINITY))


async def clock_jump(fleet: Fleet, load: Load, folder: Path) -> list[Figure]:
    """Let the wall clock of every service jump a day ahead and a day back.

    The offset is read once a second: reading it at each of the many looks at the clock would slow imagegen down.
    """
    offset = folder / "clock"
    offset.write_text("+0\n")
    fake = {"LD_PRELOAD": str(FAKETIME), "FAKETIME_TIMESTAMP_FILE": str(offset.resolve())}
    fake |= {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_CACHE_DURATION": "1"}
    await asyncio.gather(*(fleet.restart(name, fake) for name in SERVICES))
    await load.answered(tuple(KINDS), time.monotonic())
    began, jumps = time.monotonic(), 0
    for jump in (_DAY, -_DAY):
        offset.write_text(f"{jump:+d}\n")
        await asyncio.sleep(_LOOK_S)
        offsets = await asyncio.gather(*(asyncio.to_thread(_clock_s, fleet, name) for name in SERVICES))
        jumps += sum(abs(each - time.time() - jump) < _MINUTE for each in offsets)
    during = load.since(began)
    await asyncio.gather(*(fleet.restart(name, {"LD_PRELOAD": ""}) for name in SERVICES))
    await load.answered(tuple(KINDS), time.monotonic())
    return [
        Figure("clock jump: jumps that services saw", jumps, "jumps", 1, str(2 * len(SERVICES))),
        Figure("clock jump: requests that got an error", failed(during), "requests", len(during), "0"),
        Figure("clock jump: wrong answers", wrong(during), "answers", len(during), "0"),
    ]


def _clock_s(fleet: Fleet, name: str) -> float:
    """Return the wall clock of a service, seconds since 1970: its metrics are sent with their date. Blocks."""
    with urlopen(f"http://127.0.0.1:{fleet.studio.services[name].metrics_port}/metrics", timeout=10) as answer:
        return parsedate_to_datetime(answer.headers["Date"]).timestamp()
