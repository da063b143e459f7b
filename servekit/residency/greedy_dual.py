"""Which item to give up first: GreedyDual-Size."""

from collections.abc import Collection


class GreedyDual:
    """Priorities by reload cost per byte, aged by a clock that jumps to the priority of each victim.

    GreedyDual-Size (Cao and Irani, "Cost-Aware WWW Proxy Caching Algorithms", USENIX 1997): on use
    H(p) = L + cost(p) / size(p); the victim has the smallest H, and L becomes that H. Equal H: least recently used.
    What is cheap to bring back per byte goes first, and nothing stays merely because it was dear long ago.
    """

    def __init__(self) -> None:
        self._clock = 0.0
        self._uses = 0
        self._rank: dict[str, tuple[float, int]] = {}

    def touch(self, key: str, *, cost: float, size: int) -> None:
        """Note a use. `cost` in seconds to bring it back, `size` in bytes."""
        self._uses += 1
        self._rank[key] = (self._clock + cost / max(1, size), self._uses)

    def forget(self, key: str, *, victim: bool) -> None:
        """Take an item out; if it is a victim of this policy, the clock moves on to its priority."""
        rank = self._rank.pop(key, None)
        if victim and rank is not None:
            self._clock = max(self._clock, rank[0])

    def order(self, keys: Collection[str]) -> list[str]:
        """Return the keys with the first to give up in front."""
        return sorted(keys, key=lambda key: self._rank.get(key, (0.0, 0)))

    def outranks(self, cost: float, size: int, other: str) -> bool:
        """Return whether an item used now would be worth more than `other`."""
        return self._clock + cost / max(1, size) > self._rank.get(other, (0.0, 0))[0]
