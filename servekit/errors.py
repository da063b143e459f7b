"""The exceptions a service may raise, each with the reason and the hints its caller will see.

    ServingError
      InvalidRequest        every violation
      PolicyBlocked         rule, category
      NotFound              the nearest names
      AlreadyExists
      Unauthenticated
      PermissionDenied
      Overloaded            when to retry
        RateLimited
        QuotaExceeded
      DeviceOutOfMemory     bytes wanted and free
      Unavailable           when to retry
        ModelLoading
        Draining
        BackendUnavailable
      DeadlineExceeded
      DeadlineTooShort      estimate and time left
      OutputRejected        the cause of each attempt
      PreconditionFailed
        ModelUnavailable
      Cancelled
      EngineFailure         nothing but the request id

Nothing here knows of gRPC: `servekit.status` turns these into a `google.rpc.Status`. A service adds its own by
subclassing the nearest class and setting `reason`; the code and details are inherited.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar


class ServingError(Exception):
    """Base of every failure whose message is meant for the caller."""

    reason: ClassVar[str] = "INTERNAL"
    """A name of `atelier.common.v1.ErrorReason` without its `ERROR_REASON_` prefix."""

    def __init__(
        self, message: str, *, retry_after_s: float | None = None, metadata: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_s = retry_after_s
        self._metadata = dict(metadata or {})

    def metadata(self) -> dict[str, str]:
        """Return the machine-readable particulars, all strings, for `ErrorInfo.metadata`."""
        return dict(self._metadata)


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing wrong with a request: the field's path, and what would be accepted."""

    field: str
    description: str


class InvalidRequest(ServingError):
    """The request is wrong in itself; carries every violation, not only the first."""

    reason = "INVALID_REQUEST"

    def __init__(self, violations: Sequence[Violation]) -> None:
        if not violations:
            raise ValueError("InvalidRequest needs at least one violation")
        super().__init__("; ".join(f"{each.field}: {each.description}" for each in violations))
        self.violations = tuple(violations)


class PolicyBlocked(ServingError):
    """A safety rule forbids the request."""

    reason = "PROMPT_BLOCKED"

    def __init__(self, message: str, *, rule_id: str, category: str) -> None:
        super().__init__(message, metadata={"rule_id": rule_id, "category": category})
        self.rule_id = rule_id
        self.category = category


class NotFound(ServingError):
    """No resource has this name; `nearest` are the closest names that exist."""

    reason = "NOT_FOUND"

    def __init__(self, resource_type: str, name: str, nearest: Sequence[str] = ()) -> None:
        hint = f"; did you mean {', '.join(nearest)}?" if nearest else ""
        super().__init__(
            f"no {resource_type} named {name!r}{hint}", metadata={"nearest": ",".join(nearest)} if nearest else None
        )
        self.resource_type = resource_type
        self.name = name
        self.nearest = tuple(nearest)


class AlreadyExists(ServingError):
    """The name for something new is taken."""

    reason = "ALREADY_EXISTS"

    def __init__(self, resource_type: str, name: str) -> None:
        super().__init__(f"there is a {resource_type} named {name!r} already")
        self.resource_type = resource_type
        self.name = name


class Unauthenticated(ServingError):
    """The caller did not prove who he is."""

    reason = "UNAUTHENTICATED"


class PermissionDenied(ServingError):
    """The caller is known and may not do this."""

    reason = "PERMISSION_DENIED"


class Overloaded(ServingError):
    """The queue, or the server, is full; try again after `retry_after_s` seconds."""

    reason = "OVERLOADED"

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message, retry_after_s=retry_after_s)


class RateLimited(Overloaded):
    """The caller calls more often than he may."""

    reason = "RATE_LIMITED"


class QuotaExceeded(Overloaded):
    """The caller has as much under way as he may."""

    reason = "QUOTA_EXCEEDED"


class DeviceOutOfMemory(ServingError):
    """The device cannot hold what the request needs, even after evicting everything idle."""

    reason = "DEVICE_OUT_OF_MEMORY"

    def __init__(self, *, wanted_bytes: int, free_bytes: int) -> None:
        super().__init__(
            f"the device needs {wanted_bytes} bytes for this request and has {free_bytes} free",
            metadata={"wanted_bytes": str(wanted_bytes), "free_bytes": str(free_bytes)},
        )
        self.wanted_bytes = wanted_bytes
        self.free_bytes = free_bytes


class Unavailable(ServingError):
    """Not now; the same request may succeed after `retry_after_s` seconds."""

    reason = "BACKEND_UNAVAILABLE"

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message, retry_after_s=retry_after_s)


class ModelLoading(Unavailable):
    """The model is being loaded."""

    reason = "MODEL_LOADING"


class Draining(Unavailable):
    """This server is shutting down and takes no new work."""

    reason = "DRAINING"


class BackendUnavailable(Unavailable):
    """A service this one depends on does not answer."""


class DeadlineExceeded(ServingError):
    """The deadline passed before the work was done."""

    reason = "DEADLINE_EXCEEDED"


class DeadlineTooShort(ServingError):
    """The work cannot finish in the time the caller gives; raised before any of it starts."""

    reason = "DEADLINE_TOO_SHORT"

    def __init__(self, *, estimate_s: float, remaining_s: float) -> None:
        super().__init__(
            f"this needs about {estimate_s:.1f} s and the deadline leaves {remaining_s:.1f} s",
            metadata={"estimate_seconds": f"{estimate_s:.3f}", "remaining_seconds": f"{remaining_s:.3f}"},
        )
        self.estimate_s = estimate_s
        self.remaining_s = remaining_s


class OutputRejected(ServingError):
    """Every attempt produced something unusable; `attempts` gives the cause of each, in order."""

    reason = "OUTPUT_REJECTED"

    def __init__(self, attempts: Sequence[str]) -> None:
        causes = {f"attempt_{number}": cause for number, cause in enumerate(attempts, start=1)}
        super().__init__(
            f"no usable output after {len(attempts)} attempts: {'; '.join(attempts)}",
            metadata={"attempts": str(len(attempts)), **causes},
        )
        self.attempts = tuple(attempts)


class PreconditionFailed(ServingError):
    """The system is not in the state this needs, and repeating the request will not change that."""

    reason = "FAILED_PRECONDITION"


class ModelUnavailable(PreconditionFailed):
    """The model's weights cannot be had; the message says how to get them."""

    reason = "MODEL_UNAVAILABLE"


class Cancelled(ServingError):
    """The work stopped because nobody waits for it any more."""

    reason = "CANCELLED"

    def __init__(self, message: str = "cancelled") -> None:
        super().__init__(message)


class EngineFailure(ServingError):
    """An engine broke. The message is for the log; the caller sees only a request id."""
