"""What goes along with a call to the next server: who asked, and how long there is."""

import time
from collections.abc import Iterable
from dataclasses import dataclass

from servekit.context import current
from servekit.errors import DeadlineTooShort

_HANDED_ON = frozenset({"authorization", "baggage", "traceparent", "tracestate"})
"""Metadata of the caller that is meant for every server on the way, besides the request id."""


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
    """Return the hop for the call being served, keeping `margin_s` seconds for the way back.

    Raises `DeadlineTooShort` if no time is left beyond the margin.
    """
    call = current()
    remaining_s = call.remaining_s()
    if remaining_s is not None and remaining_s <= margin_s:
        raise DeadlineTooShort(estimate_s=margin_s, remaining_s=remaining_s)
    handed_on = ((key, str(value)) for key, value in caller_metadata or () if key in _HANDED_ON)
    deadline = None if call.deadline is None else call.deadline - margin_s
    return Hop((*call.outgoing_metadata(), *handed_on), deadline)
