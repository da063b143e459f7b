"""What a model is worth where it is: the seconds that giving it up would cost, per byte it takes."""

from collections import deque
from typing import Protocol

REMEMBERED_USES = 4
"""Uses of a model that its pace is judged by."""


class Ranking(Protocol):
    """Decides which models go first: those of least worth."""

    def touch(self, key: str) -> None:
        """Note that a use begins."""
        ...

    def worth(self, key: str, *, cost_s: float, size: int) -> float:
        """Return the worth of `size` bytes that would take `cost_s` seconds to bring back."""
        ...


class ReuseRate:
    """Cost per byte times the rate of use, time being counted in uses of any model.

    That is LNC-R (Scheuermann, Shim and Vingralek, "WATCHMAN", VLDB 1996) with the interval between uses taken as in
    LIRS (Jiang and Zhang, SIGMETRICS 2002): the mean of the last few, or the time since the last use if that is longer.
    So what is no longer used loses its worth, what was used once in all that time has little, and where models are used
    in turn, each is worth its cost alone: some stay, while by age alone each would leave just before its next use.
    """

    def __init__(self) -> None:
        self._uses = 0
        self._last: dict[str, deque[int]] = {}

    def touch(self, key: str) -> None:
        """Note that a use begins."""
        self._uses += 1
        self._last.setdefault(key, deque(maxlen=REMEMBERED_USES)).append(self._uses)

    def worth(self, key: str, *, cost_s: float, size: int) -> float:
        """Return expected seconds of reloading per use of any model and byte; 0 for what was never used."""
        last = self._last.get(key)
        if not last:
            return 0.0
        age = self._uses - last[-1] + 1
        interval = (last[-1] - last[0]) / (len(last) - 1) if len(last) > 1 else self._uses
        return cost_s / max(1, size) / max(age, interval)
