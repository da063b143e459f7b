"""How much memory each service holds, over time."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import psutil

_EVERY_S = 1.0
_WARM_UP = 0.25
"""Share of the time that is left out of the slope: caches fill, pools grow."""

Pids = Callable[[], Mapping[str, int]]


@dataclass
class Memory:
    """Samples of each service: seconds since the start, and bytes."""

    samples: dict[str, list[tuple[float, int]]] = field(default_factory=dict)

    def slopes(self) -> dict[str, float]:
        """Return the bytes per second by which each service grows."""
        return {name: slope(each) for name, each in self.samples.items()}


def resident(pid: int) -> int:
    """Return the bytes that a process and its children hold."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        return sum(each.memory_info().rss for each in (process, *process.children(recursive=True)))
    return 0


@asynccontextmanager
async def watched(pids: Pids) -> AsyncIterator[Memory]:
    """Sample the processes inside the block."""
    memory = Memory()
    task = asyncio.create_task(_sample(pids, memory))
    try:
        yield memory
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _sample(pids: Pids, memory: Memory) -> None:
    began = time.monotonic()
    while True:
        for name, pid in pids().items():
            memory.samples.setdefault(name, []).append((time.monotonic() - began, resident(pid)))
        await asyncio.sleep(_EVERY_S)


def slope(samples: Sequence[tuple[float, int]]) -> float:
    """Return bytes per second by least squares, without the warm-up; 0 for fewer than two samples."""
    last = samples[-1][0] if samples else 0.0
    kept = [(at, held) for at, held in samples if at >= _WARM_UP * last]
    if len(kept) < 2:
        return 0.0
    mean_at, mean_held = (sum(each) / len(kept) for each in zip(*kept, strict=True))
    spread = sum((at - mean_at) ** 2 for at, _ in kept)
    together = sum((at - mean_at) * (held - mean_held) for at, held in kept)
    return float(together / spread)
