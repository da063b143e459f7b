"""How many pictures may share a step: more only as long as none gets slower for it. Pure.

Widths are counted in rows of the forward pass: a picture that is guided by a second pass takes two.
"""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field

TOLERANCE = 1.15
"""A wider batch may cost this much more per row before it counts as slower."""
ENOUGH = 4
"""Steps of a width before its pace is believed."""
LOOK_AGAIN_AFTER = 512
"""Steps after which widths that were found slower are tried anew, because machines and neighbours change."""
_ODD = 1.5
"""A step that takes so many times what was to be expected, or so much less, counts as no more than that."""
_LEAST_S = 1e-9
_SMOOTHING = 0.1
_DRIFTING = 0.3
_MAX_KEYS = 64


@dataclass(slots=True)
class _Paces:
    """What is known of one kind of picture: steps, and mean seconds per row by width.

    A machine is slower for some seconds and quicker for others, by more than widths differ. Since all widths are
    alike in that, what the last steps have in common is taken out of each before it counts for its own width.
    """

    steps: int = 0
    drift: float = 1.0
    """Pace of the last few steps beside what their widths usually take."""
    count: dict[int, int] = field(default_factory=dict)
    mean: dict[int, float] = field(default_factory=dict)

    def record(self, width: int, seconds: float, most: int) -> None:
        self.steps += 1
        count = self.count[width] = self.count.get(width, 0) + 1
        share = max(seconds, _LEAST_S) / width
        known = self.mean.get(width)
        if known is None:
            self.mean[width] = share / self.drift
        else:
            self.drift += _DRIFTING * (_near(share / known, self.drift) - self.drift)
            self.mean[width] += max(_SMOOTHING, 1 / count) * (_near(share / self.drift, known) - known)
        if self.steps % LOOK_AGAIN_AFTER == 0:
            self._look_again(self.limit(most))

    def limit(self, most: int) -> int:
        """Return the widest batch that is as quick per row as any, or halfway to the next that is not."""
        believed = [width for width, count in self.count.items() if count >= ENOUGH]
        quickest = min((self.mean[width] for width in believed), default=0.0)
        good = max((width for width in believed if self.mean[width] <= TOLERANCE * quickest), default=most)
        slower = min((width for width in believed if width > good), default=None)
        return most if slower is None else min(most, max(good, slower // 2))

    def _look_again(self, limit: int) -> None:
        for width in [each for each in self.count if each > limit]:
            del self.count[width], self.mean[width]


def _near(value: float, expected: float) -> float:
    return min(max(value, expected / _ODD), expected * _ODD)


class Widths:
    """The widest batch worth making, by kind of picture, at most `most` rows."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._paces: OrderedDict[Hashable, _Paces] = OrderedDict()

    def limit(self, key: Hashable) -> int:
        """Return the most rows for pictures of this kind."""
        paces = self._paces.get(key)
        return self._most if paces is None else paces.limit(self._most)

    def record(self, key: Hashable, width: int, seconds: float) -> None:
        """Note how long a step of `width` rows took."""
        paces = self._paces.setdefault(key, _Paces())
        self._paces.move_to_end(key)
        paces.record(width, seconds, self._most)
        if len(self._paces) > _MAX_KEYS:
            self._paces.popitem(last=False)

    def does_not_fit(self, width: int) -> None:
        """Note that the device has no memory for `width` rows."""
        self._most = max(1, width // 2)
