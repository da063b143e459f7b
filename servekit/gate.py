"""Whether calls may enter the server, and which are inside."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager, nullcontext
from typing import TypeVar

from servekit.errors import DeadlineExceeded, Draining, ModelLoading, Overloaded

T = TypeVar("T")

_RETRY_AFTER_S = 1.0


class Gate:
    """Closed until the server is ready, then open for good: once it drains, gRPC itself keeps newcomers out.

    `capacity` is how many calls may be inside at once. `lasting` are the full names of methods whose calls have no
    natural end (a watch): they are not among those, get no default deadline, and are ended when the server drains
    instead of holding it up. So are health checks and reflection (`/grpc.…`), which may also enter at any time.
    """

    def __init__(self, lasting: Collection[str] = (), capacity: int | None = None) -> None:
        self._lasting = frozenset(lasting)
        self._capacity = capacity
        self._taken = 0
        self._ready = False
        self._draining = False
        self._inside: dict[asyncio.Timeout, str] = {}

    def open(self) -> None:
        """Let calls in."""
        self._ready = True

    def end_lasting(self) -> None:
        """End the calls that would not end by themselves."""
        self._end(self.is_lasting)

    def end_all(self) -> None:
        """End every call that is still inside."""
        self._end(lambda _method: True)

    def is_lasting(self, method: str) -> bool:
        """Tell whether calls of `method` may go on for ever."""
        return method in self._lasting or is_infrastructure(method)

    async def admit(self, method: str, limit_s: float | None, work: Callable[[], Awaitable[T]]) -> T:
        """Do `work` inside the gate, for at most `limit_s` seconds.

        Raises `ModelLoading` before the gate is open, `Overloaded` if all places are taken, `Draining` if the call was
        ended, `DeadlineExceeded` after `limit_s`.
        """
        if not (self._ready or is_infrastructure(method)):
            raise ModelLoading("the server is starting", retry_after_s=_RETRY_AFTER_S)
        with nullcontext() if self.is_lasting(method) else self._place():
            return await self._limited(method, limit_s, work)

    @contextmanager
    def _place(self) -> Iterator[None]:
        """Take one of the places inside the block."""
        if self._capacity is not None and self._taken >= self._capacity:
            message = f"{self._taken} calls are under way, the limit of this server"
            raise Overloaded(message, retry_after_s=_RETRY_AFTER_S)
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1

    async def _limited(self, method: str, limit_s: float | None, work: Callable[[], Awaitable[T]]) -> T:
        scope = asyncio.timeout(limit_s)
        self._inside[scope] = method
        try:
            async with scope:
                return await work()
        except TimeoutError:
            if not scope.expired():
                raise
            if self._draining:
                raise Draining("the server is shutting down", retry_after_s=_RETRY_AFTER_S) from None
            raise DeadlineExceeded(f"not done within {limit_s} s") from None
        finally:
            del self._inside[scope]

    def _end(self, applies: Callable[[str], bool]) -> None:
        self._draining = True
        now = asyncio.get_running_loop().time()
        for scope, method in self._inside.items():
            if applies(method) and not scope.expired():
                scope.reschedule(now)


def is_infrastructure(method: str) -> bool:
    """Tell whether `method` belongs to gRPC itself: health checks and reflection."""
    return method.startswith("/grpc.")
