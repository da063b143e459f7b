"""What a failed call to a server behind the router means."""

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from servekit.errors import BackendUnavailable, DeadlineExceeded, InvalidRequest, Overloaded, Violation
from servekit.status import DOMAIN
from services.router.domain import ReplicaLost

_RETRY_AFTER_S = 1.0
_TRANSPORT = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.CANCELLED,  # not by us: a call that we cancel raises CancelledError
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
}

_TOO_LARGE = ("CLIENT: Sent message larger than max", "SERVER: Received message larger than max")
"""What gRPC says of a request that exceeds what we send, or what the server takes: sent again, it fits no better."""


def reason(error: grpc.aio.AioRpcError) -> str:
    """Return the reason that one of our servers gave; empty if the error came from the transport."""
    status = rpc_status.from_call(error)
    info = error_details_pb2.ErrorInfo()
    for detail in status.details if status else ():
        if detail.Unpack(info) and info.domain == DOMAIN:
            return str(info.reason)
    return ""


def translate(error: grpc.aio.AioRpcError, server: str) -> Exception:
    """Return what to raise for `error`.

    Our servers give a reason with every error, and those pass to the caller unchanged. What has none came from the
    transport: the server is not there, or died.
    """
    given = reason(error)
    return _of_the_server(given, error, server) if given else _of_the_transport(error, server)


def _of_the_server(given: str, error: grpc.aio.AioRpcError, server: str) -> Exception:
    if given == "DRAINING":
        return ReplicaLost(f"{server} is shutting down", retry_after_s=_RETRY_AFTER_S)
    if given == "UNAUTHENTICATED":  # that is about us and not about our caller
        return BackendUnavailable(f"{server} does not accept the router's credentials", retry_after_s=_RETRY_AFTER_S)
    return error


def _of_the_transport(error: grpc.aio.AioRpcError, server: str) -> Exception:
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineExceeded(f"{server} did not finish before the deadline")
    if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
        if any(refusal in (error.details() or "") for refusal in _TOO_LARGE):
            return InvalidRequest([Violation("*", f"is larger than what {server} takes at once")])
        return Overloaded(f"{server} takes no more calls", retry_after_s=_RETRY_AFTER_S)
    if error.code() in _TRANSPORT:
        return ReplicaLost(f"{server} is not reachable or was lost ({error.code().name})", retry_after_s=_RETRY_AFTER_S)
    return error
