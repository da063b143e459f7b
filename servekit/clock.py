"""Time as something that is passed in, so that waiting can be tested without waiting."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """A monotonic clock. `servekit.testing.ManualClock` is the one for tests."""

    def monotonic(self) -> float:
        """Return seconds since an arbitrary start; never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds` of this clock's time."""
        ...


class SystemClock:
    """The machine's clock."""

    def monotonic(self) -> float:
        """Return `time.monotonic()`."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Sleep on the event loop."""
        await asyncio.sleep(seconds)


SYSTEM_CLOCK = SystemClock()
"""The clock where none is passed in."""
