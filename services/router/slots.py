"""How many calls the router carries at once."""

from collections.abc import Iterator
from contextlib import contextmanager

from servekit.errors import Overloaded

_RETRY_AFTER_S = 1.0


class Slots:
    """A limit without a queue: a router that is full says so at once, so that its caller can go elsewhere."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.taken = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """Hold a slot inside the block; raises `Overloaded` if all are taken."""
        if self.taken >= self._limit:
            raise Overloaded(f"the router carries {self._limit} calls already", retry_after_s=_RETRY_AFTER_S)
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1
