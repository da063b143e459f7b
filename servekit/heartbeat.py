"""Whether the device still answers: a small piece of work goes the way of every request, again and again."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from servekit.clock import Clock

logger = logging.getLogger(__name__)

Beat = Callable[[], Awaitable[object]]
"""Does a small piece of work on the device; raises if the device fails."""
Tell = Callable[[bool], None]
"""Hears whether the device is alive, each time that is known anew."""


class Heartbeat:
    """Does a `beat` every `every_s` seconds and tells whether it came back within `stalled_after_s`.

    A beat that is late is waited for: work on a device that hangs cannot be stopped, and if it comes back after all,
    the device is alive again.
    """

    def __init__(self, beat: Beat, *, clock: Clock, stalled_after_s: float, every_s: float = 10.0) -> None:
        self._beat = beat
        self._clock = clock
        self._stalled_after_s = stalled_after_s
        self._every_s = every_s

    async def watch(self, tell: Tell) -> None:
        """Go on for ever."""
        while True:
            await self._once(tell)
            await self._clock.sleep(self._every_s)

    async def _once(self, tell: Tell) -> None:
        beat = asyncio.ensure_future(self._beat())
        patience = asyncio.ensure_future(self._clock.sleep(self._stalled_after_s))
        try:
            await asyncio.wait({beat, patience}, return_when=asyncio.FIRST_COMPLETED)
            if not beat.done():
                logger.error("the device has not answered for %.0f s", self._stalled_after_s)
                tell(False)
                await asyncio.wait({beat})
            error = beat.exception()
            if error is not None:
                logger.error("the device failed a trivial task: %s", type(error).__name__)
            tell(error is None)
        finally:
            patience.cancel()
            beat.cancel()
