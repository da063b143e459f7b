import grpc
import pytest
from grpc.aio import AioRpcError, Metadata
from grpc_status import rpc_status

from servekit import errors
from servekit.status import to_status
from services.router.backends.failures import translate
from services.router.domain import ReplicaLost


def from_transport(code: grpc.StatusCode) -> AioRpcError:
    return AioRpcError(code, Metadata(), Metadata(), "socket closed")


def from_server(error: errors.ServingError) -> AioRpcError:
    status = rpc_status.to_status(to_status(error, "id"))
    return AioRpcError(status.code, Metadata(), Metadata(*status.trailing_metadata), status.details)


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.INTERNAL])
def test_an_error_of_the_transport_is_a_lost_server(code: grpc.StatusCode) -> None:
    error = translate(from_transport(code), "imagegen-0")

    assert isinstance(error, ReplicaLost)
    assert "imagegen-0" in error.message
    assert "socket" not in error.message


def test_a_server_that_drains_is_lost() -> None:
    assert isinstance(translate(from_server(errors.Draining("bye", retry_after_s=1)), "imagegen-0"), ReplicaLost)


def test_credentials_that_a_server_refuses_are_the_routers() -> None:
    error = translate(from_server(errors.Unauthenticated("no key")), "imagegen-0")

    assert isinstance(error, errors.BackendUnavailable)
    assert "the router's credentials" in error.message


@pytest.mark.parametrize(
    "error", [errors.ModelLoading("soon", retry_after_s=1), errors.Cancelled(), errors.EngineFailure("x")]
)
def test_an_error_of_the_server_stays_what_it_is(error: errors.ServingError) -> None:
    original = from_server(error)

    assert translate(original, "imagegen-0") is original


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.DEADLINE_EXCEEDED, errors.DeadlineExceeded),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, errors.Overloaded),
        (grpc.StatusCode.UNIMPLEMENTED, AioRpcError),
    ],
)
def test_other_transport_errors_keep_their_meaning(code: grpc.StatusCode, kind: type[Exception]) -> None:
    assert type(translate(from_transport(code), "imagegen-0")) is kind
