"""Turns gRPC errors into one exception that says what was wrong and what would be accepted."""

from dataclasses import dataclass, field
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2

from atelier_client._credentials import ANONYMOUS, Credentials
from atelier_client._hints import hint

_STATUS_KEY = "grpc-status-details-bin"


@dataclass(frozen=True)
class FieldViolation:
    """One invalid field of a request."""

    field: str
    description: str


@dataclass(eq=False)  # like other exceptions, so that they can be told apart and put in sets
class AtelierError(Exception):
    """A failed call.

    `reason` is a name of `atelier.common.v1.ErrorReason` without its prefix, or empty if the server never answered.
    `retry_after_seconds` is None when a retry is pointless.
    """

    code: str
    message: str
    reason: str = ""
    violations: tuple[FieldViolation, ...] = ()
    metadata: dict[str, str] = field(default_factory=dict)
    retry_after_seconds: float | None = None
    request_id: str = ""

    def __reduce__(self) -> tuple[Any, ...]:
        """Keep every field on the way to another process, however the error was made."""
        return type(self).__new__, (type(self),), self.__dict__

    def __str__(self) -> str:
        lines = [f"{self.code}{f' ({self.reason})' if self.reason else ''}: {self.message}"]
        lines += [f"  {each.field}: {each.description}" for each in self.violations]
        if nearest := self.metadata.get("nearest"):
            lines.append(f"  did you mean: {nearest}")
        if self.retry_after_seconds is not None:
            lines.append(f"  try again in {self.retry_after_seconds:.1f} s")
        if self.request_id:
            lines.append(f"  request id: {self.request_id}")
        return "\n".join(lines)


def from_rpc_error(error: grpc.RpcError, target: str, credentials: Credentials = ANONYMOUS) -> AtelierError:
    """Return the error of a failed call to `target`, with everything its `google.rpc.Status` details say."""
    code = error.code().name if isinstance(error, grpc.Call | grpc.aio.AioRpcError) else "UNKNOWN"
    message = error.details() if isinstance(error, grpc.Call | grpc.aio.AioRpcError) else str(error)
    result = AtelierError(code=code, message=message or "")
    details = _details(error)
    for detail in details:
        _apply(result, detail)
    if not details and (meaning := hint(code, result.message, target, credentials)):
        result.message = f"{meaning} ({result.message})"
    return result


def closed(code: str = "FAILED_PRECONDITION") -> AtelierError:
    """Return the error of a call through a client that was closed, before the call or (`CANCELLED`) during it."""
    return AtelierError(code=code, message="the client is closed; make a new one")


def _details(error: grpc.RpcError) -> list[object]:
    trailers = error.trailing_metadata() if isinstance(error, grpc.Call | grpc.aio.AioRpcError) else None
    raw = next((value for key, value in trailers or () if key == _STATUS_KEY), None)
    if not isinstance(raw, bytes):
        return []
    found: list[object] = []
    for packed in status_pb2.Status.FromString(raw).details:
        for kind in (
            error_details_pb2.ErrorInfo,
            error_details_pb2.BadRequest,
            error_details_pb2.RetryInfo,
            error_details_pb2.RequestInfo,
        ):
            if packed.Is(kind.DESCRIPTOR):
                detail = kind()
                packed.Unpack(detail)
                found.append(detail)
    return found


def _apply(result: AtelierError, detail: object) -> None:
    match detail:
        case error_details_pb2.ErrorInfo():
            result.reason = detail.reason
            result.metadata = dict(detail.metadata)
        case error_details_pb2.BadRequest():
            result.violations = tuple(FieldViolation(v.field, v.description) for v in detail.field_violations)
        case error_details_pb2.RetryInfo():
            result.retry_after_seconds = detail.retry_delay.ToTimedelta().total_seconds()
        case error_details_pb2.RequestInfo():
            result.request_id = detail.request_id
