"""How far a request is. Pure."""

from services.imagegen.events import Progress


class Steps:
    """Denoising steps of all pictures of a request, which take `planned` steps each.

    The steps of a failed attempt stay counted and those of the next one are added to the total, so that neither number
    ever goes back. `now` is when the request came, in seconds.

    Not every step is told: each event takes some tenths of a millisecond from what is computed, whatever it says.
    """

    def __init__(self, pictures: int, planned: int, now: float) -> None:
        self._done = [0] * pictures
        self._total = [planned] * pictures
        self._before = [0] * pictures
        """Steps of earlier attempts."""
        self._began: float | None = None
        self._told = now

    def took(self, index: int, done: int, total: int, now: float, pause_s: float = 0.0) -> Progress | None:
        """Note that picture `index` has `done` of `total` steps in its current attempt; `now` is in seconds.

        Returns what to tell of it; nothing within `pause_s` seconds after the last time, or after the request came.
        """
        if self._before[index] + done <= self._done[index]:
            self._before[index] = self._done[index]
        self._done[index] = self._before[index] + done
        self._total[index] = max(self._total[index], self._before[index] + total)
        self._began = now if self._began is None else self._began
        if now - self._told < pause_s:
            return None
        self._told = now
        return self._progress(now - self._began)

    def _progress(self, passed: float) -> Progress:
        done, total = sum(self._done), sum(self._total)
        return Progress(done, total, passed / (done - 1) * (total - done) if done > 1 else 0.0)
