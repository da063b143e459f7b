"""What is known of the call being served, wherever in the code one is."""

import time
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from servekit.tracing import CallTrace

REQUEST_ID_KEY = "x-request-id"
"""The metadata key of the request id, in and out."""
CALLER_KEY = "x-atelier-caller"
"""The metadata key under which one service tells the next for whom it calls: the caller's name, percent-encoded."""
PRIORITY_KEY = "x-atelier-priority"
"""The metadata key under which it tells the highest priority that the caller's requests may have."""


@dataclass(frozen=True, slots=True)
class RequestContext:
    """One call: who asks for what, and until when."""

    request_id: str
    caller: str
    """Who is calling, in the end and not as the last hop; empty for a caller without a name."""
    method: str
    """Full method name, `/package.Service/Method`."""
    deadline: float | None
    """When the answer is due, in `time.monotonic` seconds; None for a call that may last for ever."""
    trace: "CallTrace | None" = None
    """The span of this call; None where tracing is off."""
    via: str = ""
    """The service that calls for him; empty if he does so himself."""
    credential: str = ""
    """By what he, or that service, proved who he is, for instance `key 3f2a9c1b`; no secret."""
    priority_ceiling: str = ""
    """The highest priority his requests may have: `low`, `normal` or `high`; empty is no limit."""

    def remaining_s(self) -> float | None:
        """Return the seconds left (negative when late), or None without a deadline."""
        return None if self.deadline is None else self.deadline - time.monotonic()

    def outgoing_metadata(self) -> tuple[tuple[str, str], ...]:
        """Return the metadata that tells the next service of this request: its id, caller and highest priority."""
        caller = ((CALLER_KEY, quote(self.caller)),) if self.caller else ()
        priority = ((PRIORITY_KEY, self.priority_ceiling),) if self.priority_ceiling else ()
        return ((REQUEST_ID_KEY, self.request_id), *caller, *priority)


_current: ContextVar[RequestContext] = ContextVar("servekit_request")


def current() -> RequestContext:
    """Return the call being served; raises `LookupError` outside of one."""
    try:
        return _current.get()
    except LookupError:
        raise LookupError("no call is being served here") from None


def find() -> RequestContext | None:
    """Return the call being served, or None outside of one."""
    return _current.get(None)


def activate(context: RequestContext) -> None:
    """Make `context` the current one for the rest of this task and the tasks it starts."""
    _current.set(context)
