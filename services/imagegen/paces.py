"""What a pass takes, by its width, on a machine whose own pace changes. Pure."""

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from statistics import linear_regression

ENOUGH = 4
"""Passes of a width before its pace is believed."""
_AFRESH = 2
"""The pass of a width that the mean begins with: in the first one much is done for the first time."""
_ODD = 1.5
"""A pass that takes so many times what was to be expected, or so much less, counts as no more than that."""
_LEAST_S = 1e-9
_SMOOTHING = 0.1
_DRIFTING = 0.3
_MAX_KINDS = 64


@dataclass(slots=True)
class Paces:
    """Of one kind of passes: how many there were, and mean seconds for each of its width.

    A machine is slower for some seconds and quicker for others, by more than widths differ. Since all widths are
    alike in that, what the last passes have in common is taken out of each before it counts for its own width.
    """

    passes: int = 0
    drift: float = 1.0
    """Pace of the last few passes beside what their widths usually take."""
    count: dict[int, int] = field(default_factory=dict)
    mean: dict[int, float] = field(default_factory=dict)
    widest: int | None = None
    """The widest pass that there is memory for; None as long as there was for all."""

    def record(self, width: int, seconds: float) -> None:
        """Note how long a pass took."""
        self.passes += 1
        count = self.count[width] = self.count.get(width, 0) + 1
        share = max(seconds, _LEAST_S) / width
        known = self.mean.get(width)
        if known is None or count == _AFRESH:
            self.mean[width] = share / self.drift
        else:
            self.drift += _DRIFTING * (_near(share / known, self.drift) - self.drift)
            self.mean[width] += max(_SMOOTHING, 1 / count) * (_near(share / self.drift, known) - known)

    def forget(self, width: int) -> None:
        """Measure a width anew."""
        del self.count[width], self.mean[width]

    @property
    def believed(self) -> list[int]:
        """Widths whose mean is to be trusted, smallest first."""
        return sorted(width for width, count in self.count.items() if count >= ENOUGH)

    def seconds(self, width: int) -> float | None:
        """Return what a pass of a width takes at the present pace, None if that is not known."""
        return self.mean[width] * width * self.drift if self.count.get(width, 0) >= ENOUGH else None

    def shared(self) -> float:
        """Return the seconds of a pass that do not depend on its width, 0 until two widths are known."""
        widths = self.believed
        return self.drift * in_common(widths, [self.mean[width] * width for width in widths])


class PacesByKind:
    """The paces of the kinds that were asked for last."""

    def __init__(self) -> None:
        self._kinds: OrderedDict[Hashable, Paces] = OrderedDict()

    def __getitem__(self, kind: Hashable) -> Paces:
        """Return what is known of a kind, to be added to."""
        paces = self._kinds.setdefault(kind, Paces())
        self._kinds.move_to_end(kind)
        if len(self._kinds) > _MAX_KINDS:
            self._kinds.popitem(last=False)
        return paces


def in_common(widths: Sequence[int], seconds: Sequence[float]) -> float:
    """Return what does not depend on the width of passes that take so many seconds, narrowest first.

    By least squares, between 0 and all that the narrowest takes; 0 if there are less than two.
    """
    if len(widths) < 2:
        return 0.0
    return min(max(0.0, linear_regression(widths, seconds).intercept), seconds[0])


def _near(value: float, expected: float) -> float:
    return min(max(value, expected / _ODD), expected * _ODD)
