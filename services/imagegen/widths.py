"""How many pictures may share a step: more only as long as none gets slower for it. Pure."""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field

TOLERANCE = 1.15
"""A wider batch may cost this much more per picture before it counts as slower; noise is below it."""
ENOUGH = 4
"""Steps of a width before its pace is believed."""
FORGET_AFTER = 512
"""Steps after which everything is measured anew, because machines and neighbours change."""
_SMOOTHING = 0.2
_MAX_KEYS = 64


@dataclass(slots=True)
class _Paces:
    """What is known of one kind of picture: steps and mean seconds per picture, by width."""

    steps: int = 0
    count: dict[int, int] = field(default_factory=dict)
    mean: dict[int, float] = field(default_factory=dict)

    def record(self, width: int, seconds: float) -> None:
        share = seconds / width
        self.steps += 1
        self.count[width] = self.count.get(width, 0) + 1
        self.mean[width] = (
            share if self.count[width] == 1 else self.mean[width] + _SMOOTHING * (share - self.mean[width])
        )

    def limit(self, most: int) -> int:
        believed = sorted(width for width, count in self.count.items() if count >= ENOUGH)
        best = 0
        for width in believed:
            if best and self.mean[width] > TOLERANCE * self.mean[best]:
                return min(most, max(best, width // 2))
            if not best or self.mean[width] < self.mean[best]:
                best = width
        return most


class Widths:
    """The widest batch worth making, by kind of picture, at most `most`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._paces: OrderedDict[Hashable, _Paces] = OrderedDict()

    def limit(self, key: Hashable) -> int:
        """Return the widest batch for pictures of this kind."""
        paces = self._paces.get(key)
        return self._most if paces is None else paces.limit(self._most)

    def record(self, key: Hashable, width: int, seconds: float) -> None:
        """Note how long a step of `width` pictures took."""
        paces = self._paces.setdefault(key, _Paces())
        self._paces.move_to_end(key)
        if paces.steps >= FORGET_AFTER:
            paces = self._paces[key] = _Paces()
        paces.record(width, seconds)
        if len(self._paces) > _MAX_KEYS:
            self._paces.popitem(last=False)

    def does_not_fit(self, width: int) -> None:
        """Note that the device has no memory for `width` pictures."""
        self._most = max(1, width // 2)
