"""How far a request is. Pure."""

from services.imagegen.domain import Progress


class Steps:
    """Denoising steps of all pictures of a request, which take `planned` steps each.

    The steps of a failed attempt stay counted and those of the next one are added to the total, so that neither number
    ever goes back.
    """

    def __init__(self, pictures: int, planned: int) -> None:
        self._done = [0] * pictures
        self._total = [planned] * pictures
        self._before = [0] * pictures
        """Steps of earlier attempts."""
        self._began: float | None = None

    def took(self, index: int, done: int, total: int, now: float) -> Progress:
        """Note that picture `index` has `done` of `total` steps in its current attempt; `now` is in seconds."""
        if self._before[index] + done <= self._done[index]:
            self._before[index] = self._done[index]
        self._done[index] = self._before[index] + done
        self._total[index] = max(self._total[index], self._before[index] + total)
        self._began = now if self._began is None else self._began
        return self._progress(now - self._began)

    def _progress(self, passed: float) -> Progress:
        done, total = sum(self._done), sum(self._total)
        return Progress(done, total, passed / (done - 1) * (total - done) if done > 1 else 0.0)
