"""What goes along with a call to the next server: who asked, and how long there is."""

import time
from collections.abc import Iterable
from dataclasses import dataclass

from servekit.context import current

_HANDED_ON = frozenset({"baggage", "traceparent", "tracestate"})
"""Metadata of the caller that is meant for every server on the way, besides his name and the request id.

His credentials are not: the router has checked them, and proves itself to the next server with its own.
"""


@dataclass(frozen=True, slots=True)
class Hop:
    """Metadata of a call to the next server, and when its answer is due (`time.monotonic`, None for never)."""

    metadata: tuple[tuple[str, str], ...] = ()
    deadline: float | None = None

    @property
    def timeout_s(self) -> float | None:
        """Seconds that are left, 0 if none are; None without a deadline."""
        return None if self.deadline is None else max(self.deadline - time.monotonic(), 0.0)


def onward(caller_metadata: Iterable[tuple[str, str | bytes]] | None, margin_s: float) -> Hop:
    """Return the hop for the call being served, keeping time for the way back.

    That is `margin_s` seconds, but no more than a tenth of what is left. gRPC rounds the deadlines it sends up, by a
    hundredth or so: a margin much smaller than that would let the next server outlast the caller.
    """
    call = current()
    handed_on = ((key, str(value)) for key, value in caller_metadata or () if key in _HANDED_ON)
    return Hop((*call.outgoing_metadata(), *handed_on), _earlier(call.deadline, call.remaining_s(), margin_s))


def _earlier(deadline: float | None, remaining_s: float | None, margin_s: float) -> float | None:
    if deadline is None or remaining_s is None:
        return None
    return deadline - min(margin_s, max(remaining_s, 0.0) / 10)
