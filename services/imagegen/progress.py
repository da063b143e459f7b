"""How far a request is. Pure."""

from services.imagegen.events import Progress

TELL_EVERY_S = 0.25
"""Seconds between two events of progress at least: a bar that moves oftener tells a person little more, and each event
takes some 0.3 ms of server and client together from what is computed."""


class Steps:
    """Denoising steps of all pictures of a request, which take `planned` steps each.

    The steps of a failed attempt stay counted and those of the next one are added to the total, so that neither number
    ever goes back. `now` is when the request came, in seconds.
    """

    def __init__(self, pictures: int, planned: int, now: float) -> None:
        self._done = [0] * pictures
        self._total = [planned] * pictures
        self._before = [0] * pictures
        """Steps of earlier attempts."""
        self._began: float | None = None
        self._told = now

    def took(self, index: int, done: int, total: int, now: float) -> Progress | None:
        """Note that picture `index` has `done` of `total` steps in its current attempt; `now` is in seconds.

        Returns what to tell of it: nothing so soon after the last time, unless it is the last step.
        """
        if self._before[index] + done <= self._done[index]:
            self._before[index] = self._done[index]
        self._done[index] = self._before[index] + done
        self._total[index] = max(self._total[index], self._before[index] + total)
        self._began = now if self._began is None else self._began
        progress = self._progress(now - self._began)
        if now - self._told < TELL_EVERY_S and done < total:
            return None
        self._told = now
        return progress

    def _progress(self, passed: float) -> Progress:
        done, total = sum(self._done), sum(self._total)
        return Progress(done, total, passed / (done - 1) * (total - done) if done > 1 else 0.0)
