"""How long things take."""

import time
from collections.abc import Awaitable, Callable, Iterator
from itertools import count


def seconds_of(work: Callable[[], object]) -> float:
    """Do `work` and return its seconds."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


async def seconds_until(done: Awaitable[object]) -> float:
    """Wait for `done` and return the seconds."""
    began = time.perf_counter()
    await done
    return time.perf_counter() - began


def rounds_for(seconds: float) -> Iterator[int]:
    """Yield 0, 1, 2, … and begin no round later than `seconds` from now; one at least."""
    end = time.perf_counter() + seconds
    for number in count():
        if number and time.perf_counter() >= end:
            return
        yield number
