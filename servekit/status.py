"""From an exception to the `google.rpc.Status` its caller sees. The only place that aborts a call."""

from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2 as details_pb2
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from servekit import errors
from servekit.context import REQUEST_ID_KEY

DOMAIN = "atelier"
"""`ErrorInfo.domain` of every error of ours."""

_MAX_TEXT_BYTES = 300
"""UTF-8 bytes kept of any one text: a status travels in headers, which gRPC caps at 8 KiB."""
_MAX_VIOLATION_BYTES = 3000
"""Bytes of violations kept, for the same reason."""


def _clip(text: str) -> str:
    encoded = text.encode(errors="replace")
    kept = encoded[:_MAX_TEXT_BYTES].decode(errors="ignore")
    return kept if len(encoded) <= _MAX_TEXT_BYTES else f"{kept}…"


def _bad_request(error: errors.InvalidRequest) -> details_pb2.BadRequest:
    bad = details_pb2.BadRequest()
    for count, violation in enumerate(error.violations):
        if bad.ByteSize() > _MAX_VIOLATION_BYTES:
            left_out = len(error.violations) - count
            bad.field_violations.add(field="*", description=f"and {left_out} more violations")
            break
        bad.field_violations.add(field=_clip(violation.field), description=_clip(violation.description))
    return bad


def _resource_info(error: errors.NotFound | errors.AlreadyExists) -> details_pb2.ResourceInfo:
    return details_pb2.ResourceInfo(
        resource_type=error.resource_type, resource_name=_clip(error.name), description=_clip(error.message)
    )


class _Rule(NamedTuple):
    code: grpc.StatusCode
    detail: Callable[[Any], Message] | None = None


_RULES: dict[type[BaseException], _Rule] = {
    errors.InvalidRequest: _Rule(grpc.StatusCode.INVALID_ARGUMENT, _bad_request),
    errors.PolicyBlocked: _Rule(grpc.StatusCode.INVALID_ARGUMENT),
    errors.NotFound: _Rule(grpc.StatusCode.NOT_FOUND, _resource_info),
    errors.AlreadyExists: _Rule(grpc.StatusCode.ALREADY_EXISTS, _resource_info),
    errors.Unauthenticated: _Rule(grpc.StatusCode.UNAUTHENTICATED),
    errors.PermissionDenied: _Rule(grpc.StatusCode.PERMISSION_DENIED),
    errors.Overloaded: _Rule(grpc.StatusCode.RESOURCE_EXHAUSTED),
    errors.DeviceOutOfMemory: _Rule(grpc.StatusCode.RESOURCE_EXHAUSTED),
    errors.Unavailable: _Rule(grpc.StatusCode.UNAVAILABLE),
    errors.DeadlineExceeded: _Rule(grpc.StatusCode.DEADLINE_EXCEEDED),
    errors.DeadlineTooShort: _Rule(grpc.StatusCode.DEADLINE_EXCEEDED),
    errors.OutputRejected: _Rule(grpc.StatusCode.FAILED_PRECONDITION),
    errors.PreconditionFailed: _Rule(grpc.StatusCode.FAILED_PRECONDITION),
    errors.Cancelled: _Rule(grpc.StatusCode.CANCELLED),
    BaseException: _Rule(grpc.StatusCode.INTERNAL),
}


def _rule(error: BaseException) -> _Rule:
    return next(_RULES[base] for base in type(error).__mro__ if base in _RULES)


def code_of(error: BaseException) -> grpc.StatusCode:
    """Return the gRPC code `error` ends a call with."""
    if isinstance(error, grpc.aio.AioRpcError) and _relayed(error) is not None:
        return error.code()
    return _rule(error).code


def to_status(error: BaseException, request_id: str) -> Status:
    """Return what the caller is told of `error`.

    A `ServingError` keeps its message, reason and hints. An error that a service behind this one already put into
    these terms is passed on as it is. Of anything else the caller learns nothing but the request id.
    """
    relayed = _relayed(error)
    if relayed is not None:
        return relayed
    code, detail = _rule(error)
    reason, retry_after_s, metadata = "INTERNAL", None, dict[str, str]()
    message = f"internal error; request id {request_id}"
    if isinstance(error, errors.ServingError) and code is not grpc.StatusCode.INTERNAL:
        message, reason, retry_after_s = _clip(error.message), error.reason, error.retry_after_s
        metadata = {key: _clip(value) for key, value in error.metadata().items()}
    details: list[Message] = [
        details_pb2.ErrorInfo(reason=reason, domain=DOMAIN, metadata=metadata),
        details_pb2.RequestInfo(request_id=request_id),
    ]
    if retry_after_s is not None:
        delay = Duration()
        delay.FromNanoseconds(round(retry_after_s * 1e9))
        details.append(details_pb2.RetryInfo(retry_delay=delay))
    if detail is not None:
        details.append(detail(error))
    return _status(code, message, details)


async def abort(context: "grpc.aio.ServicerContext[Any, Any]", error: BaseException, request_id: str) -> NoReturn:
    """End the call with the status of `error`; always raises `grpc.aio.AbortError`."""
    status = rpc_status.to_status(to_status(error, request_id))
    metadata = (*status.trailing_metadata, (REQUEST_ID_KEY, request_id))
    await context.abort(status.code, status.details, metadata)


def _status(code: grpc.StatusCode, message: str, details: list[Message]) -> Status:
    status = Status(code=code.value[0], message=message)
    for detail in details:
        status.details.add().Pack(detail)
    return status


def _relayed(error: BaseException) -> Status | None:
    """Return the status of a failed call to one of our own services, None for any other error."""
    if not isinstance(error, grpc.aio.AioRpcError):
        return None
    status: Status | None = rpc_status.from_call(error)
    if status is None or not any(_is_ours(detail) for detail in status.details):
        return None
    return status


def _is_ours(detail: Any) -> bool:
    info = details_pb2.ErrorInfo()
    return bool(detail.Unpack(info)) and info.domain == DOMAIN
