"""What time went where in one request."""

from collections.abc import Iterator
from contextlib import contextmanager

from servekit.clock import Clock


class Stopwatch:
    """Measures work: time since the start, less the time spent waiting for others."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began = clock.monotonic()
        self._paused_s = 0.0
        self._text_s = 0.0

    @property
    def total_s(self) -> float:
        """Seconds since the start."""
        return self._clock.monotonic() - self._began

    @property
    def work_s(self) -> float:
        """Seconds of work."""
        return self.total_s - self._paused_s

    @property
    def text_s(self) -> float:
        """Seconds spent waiting for text."""
        return self._text_s

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Do not count the block as work: it waits for others, such as a slow reader."""
        began = self._clock.monotonic()
        try:
            yield
        finally:
            self._paused_s += self._clock.monotonic() - began

    @contextmanager
    def awaiting_text(self) -> Iterator[None]:
        """Do not count the block as work, but in `text_s`: it waits for what the caller has yet to write."""
        began = self.total_s
        try:
            with self.paused():
                yield
        finally:
            self._text_s += self.total_s - began


class Playback:
    """A listener who starts at the first audio and plays without a pause: does he ever run dry?"""

    def __init__(self) -> None:
        self._starts_s: float | None = None
        self._made_s = 0.0
        self.underruns = 0

    def made(self, at_s: float, audio_s: float) -> None:
        """Take note of `audio_s` seconds of audio that were ready at `at_s` on the watch of work."""
        if self._starts_s is None:
            self._starts_s = at_s
        late_s = at_s - (self._starts_s + self._made_s)
        if late_s > 0 and self._made_s > 0:
            self.underruns += 1
            self._starts_s += late_s
        self._made_s += audio_s
