"""How many pictures may share a step: more only as long as none gets slower for it. Pure.

Widths are counted in rows of the forward pass: a picture that is guided by a second pass takes two.
"""

from collections.abc import Hashable

from services.imagegen.paces import PacesByKind

TOLERANCE = 1.15
"""A wider batch may cost this much more per row before it counts as slower."""
LOOK_AGAIN_AFTER = 512
"""Steps after which widths that were found slower are tried anew, because machines and neighbours change."""


class Widths:
    """The widest batch worth making, by kind of picture, at most `most` rows."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._paces = PacesByKind()

    def limit(self, kind: Hashable) -> int:
        """Return the widest batch that is as quick per row as any, or halfway to the next that is not."""
        paces = self._paces[kind]
        most = self._most if paces.widest is None else paces.widest
        believed = paces.believed
        quickest = min((paces.mean[width] for width in believed), default=0.0)
        good = max((width for width in believed if paces.mean[width] <= TOLERANCE * quickest), default=most)
        slower = min((width for width in believed if width > good), default=None)
        return most if slower is None else min(most, max(good, slower // 2))

    def record(self, kind: Hashable, width: int, seconds: float) -> None:
        """Note how long a step of `width` rows took."""
        paces = self._paces[kind]
        paces.record(width, seconds)
        if paces.passes % LOOK_AGAIN_AFTER == 0:
            limit = self.limit(kind)
            for slower in [each for each in paces.count if each > limit]:
                paces.forget(slower)

    def seconds(self, kind: Hashable, width: int) -> float | None:
        """Return what a step of `width` rows takes, None if that is not known."""
        return self._paces[kind].seconds(width)

    def does_not_fit(self, kind: Hashable, width: int) -> None:
        """Note that the device has no memory for `width` rows of this kind: of smaller pictures it may have."""
        self._paces[kind].widest = max(1, width // 2)
