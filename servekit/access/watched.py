"""What a file says, read again when it changes."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from servekit.clock import Clock

T = TypeVar("T")

logger = logging.getLogger(__name__)

_LOOK_EVERY_S = 1.0


class Watched(Generic[T]):
    """The parsed content of `file`. Raises what `parse` raises, at first; later a wrong file leaves the last good one.

    The file is looked at once a second while `watch` runs, and when it is asked for.
    """

    def __init__(self, file: Path, parse: Callable[[Path], T], clock: Clock) -> None:
        self._file = file
        self._parse = parse
        self._clock = clock
        self._looked = clock.monotonic()
        self._seen = self._stamp()
        self._value = parse(file)
        self.stale = False
        """Whether the file is wrong, so that this is what it said before."""

    async def watch(self) -> None:
        """Go on looking for ever, so that a change counts and is told although nobody asks."""
        while True:
            await self._clock.sleep(_LOOK_EVERY_S)
            self._look()

    def get(self) -> T:
        """Return what the file says, or said a second ago."""
        if self._clock.monotonic() - self._looked >= _LOOK_EVERY_S:
            self._look()
        return self._value

    def _look(self) -> None:
        self._looked = self._clock.monotonic()
        stamp = self._stamp()
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            self._value = self._parse(self._file)
        except (OSError, ValueError) as error:
            self.stale = True
            logger.error("%s is wrong, what it said before stays in force: %s", self._file, error)
        else:
            self.stale = False
            logger.info("%s was read again", self._file)

    def _stamp(self) -> tuple[int, int, int]:
        """Return what changes with the file; a file that is missing has a stamp of its own."""
        try:
            facts = self._file.stat()
        except OSError:
            return (0, 0, 0)
        return facts.st_mtime_ns, facts.st_size, facts.st_ino
