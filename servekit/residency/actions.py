"""What the ledger is asked for and what it asks to be done."""

from dataclasses import dataclass, field
from enum import Enum

from servekit.residency.models import EvictReason


class RequestState(Enum):
    """Where a request for a lease stands."""

    WAITING = "waiting"
    GRANTED = "granted"
    FAILED = "failed"
    ENDED = "ended"


@dataclass(eq=False, slots=True)
class Request:
    """One request for a lease on one model."""

    model_id: str
    arrival: int
    state: RequestState = RequestState.WAITING
    error: BaseException | None = None
    bypassed: int = 0
    """Later requests that were granted a model which must leave for this one."""


@dataclass(frozen=True, slots=True)
class Load:
    """Bring a model to the device, from its copy in host memory if `from_host`."""

    model_id: str
    from_host: bool


@dataclass(frozen=True, slots=True)
class Evict:
    """Take a model off the device; keep its weights in host memory if `park`."""

    model_id: str
    reason: EvictReason
    park: bool
    wanted_by: str = field(default="", compare=False)
    """The model that needs the room, to tell people; empty for any other reason."""


@dataclass(frozen=True, slots=True)
class Drop:
    """Give up a model's copy in host memory."""

    model_id: str


Action = Load | Evict | Drop


@dataclass(frozen=True, slots=True)
class Advance:
    """Requests that were granted or failed, and the one thing to do now, if any."""

    settled: tuple[Request, ...]
    action: Action | None
