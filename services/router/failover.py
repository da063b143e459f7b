"""A stream that outlives the server it began on."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import TypeVar

from services.router.domain import ReplicaLost

E = TypeVar("E")


async def with_failover(
    first: str,
    *,
    begin: Callable[[str], AsyncGenerator[E, None]],
    successor: Callable[[Sequence[str]], str | None],
    is_output: Callable[[E], bool],
    announce: Callable[[str, str, int], E],
    settled: Callable[[], None] = lambda: None,
) -> AsyncGenerator[E, None]:
    """Stream from replica `first`, and from another one if it is lost before any output was sent.

    `begin` opens the stream on a replica; `successor` names one that is not among the lost; `announce` makes the event
    that tells of the change, from the lost replica, the next one, and the number of the failed attempt. `settled` is
    called before the first output: from then on nothing is begun anew.
    Raises `ReplicaLost` once output was sent, or when no replica is left.
    """
    lost: list[str] = []
    replica, delivered = first, False
    while True:
        try:
            async with aclosing(begin(replica)) as events:
                async for event in events:
                    if not delivered and is_output(event):
                        delivered = True
                        settled()
                    yield event
            return
        except ReplicaLost:
            lost.append(replica)
            following = None if delivered else successor(lost)
            if following is None:
                raise
            yield announce(replica, following, len(lost))
            replica = following
