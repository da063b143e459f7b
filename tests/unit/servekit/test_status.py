from collections.abc import Iterator
from typing import Any, NamedTuple

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2 as details_pb2
from google.rpc.status_pb2 import Status
from hypothesis import given
from hypothesis import strategies as st

from servekit import errors, status

_DETAILS: list[type[Message]] = [
    details_pb2.ErrorInfo,
    details_pb2.RequestInfo,
    details_pb2.RetryInfo,
    details_pb2.BadRequest,
    details_pb2.ResourceInfo,
]


class Case(NamedTuple):
    error: errors.ServingError
    code: grpc.StatusCode
    details: set[str]


_ALWAYS = {"ErrorInfo", "RequestInfo"}
CASES = [
    Case(
        errors.InvalidRequest([errors.Violation("a", "b")]),
        grpc.StatusCode.INVALID_ARGUMENT,
        _ALWAYS | {"BadRequest"},
    ),
    Case(errors.PolicyBlocked("no", rule_id="r", category="c"), grpc.StatusCode.INVALID_ARGUMENT, _ALWAYS),
    Case(errors.NotFound("model", "x"), grpc.StatusCode.NOT_FOUND, _ALWAYS | {"ResourceInfo"}),
    Case(errors.AlreadyExists("voice", "x"), grpc.StatusCode.ALREADY_EXISTS, _ALWAYS | {"ResourceInfo"}),
    Case(errors.Unauthenticated("who?"), grpc.StatusCode.UNAUTHENTICATED, _ALWAYS),
    Case(errors.PermissionDenied("not you"), grpc.StatusCode.PERMISSION_DENIED, _ALWAYS),
    Case(errors.Overloaded("full", retry_after_s=2.5), grpc.StatusCode.RESOURCE_EXHAUSTED, _ALWAYS | {"RetryInfo"}),
    Case(errors.RateLimited("full", retry_after_s=2.5), grpc.StatusCode.RESOURCE_EXHAUSTED, _ALWAYS | {"RetryInfo"}),
    Case(errors.QuotaExceeded("full", retry_after_s=2.5), grpc.StatusCode.RESOURCE_EXHAUSTED, _ALWAYS | {"RetryInfo"}),
    Case(errors.DeviceOutOfMemory(wanted_bytes=2, free_bytes=1), grpc.StatusCode.RESOURCE_EXHAUSTED, _ALWAYS),
    Case(errors.Unavailable("later", retry_after_s=1), grpc.StatusCode.UNAVAILABLE, _ALWAYS | {"RetryInfo"}),
    Case(errors.ModelLoading("loading", retry_after_s=1), grpc.StatusCode.UNAVAILABLE, _ALWAYS | {"RetryInfo"}),
    Case(errors.Draining("bye", retry_after_s=1), grpc.StatusCode.UNAVAILABLE, _ALWAYS | {"RetryInfo"}),
    Case(errors.BackendUnavailable("gone", retry_after_s=1), grpc.StatusCode.UNAVAILABLE, _ALWAYS | {"RetryInfo"}),
    Case(errors.DeadlineExceeded("late"), grpc.StatusCode.DEADLINE_EXCEEDED, _ALWAYS),
    Case(errors.DeadlineTooShort(estimate_s=9, remaining_s=1), grpc.StatusCode.DEADLINE_EXCEEDED, _ALWAYS),
    Case(errors.OutputRejected(["black"]), grpc.StatusCode.FAILED_PRECONDITION, _ALWAYS),
    Case(errors.PreconditionFailed("in use"), grpc.StatusCode.FAILED_PRECONDITION, _ALWAYS),
    Case(errors.ModelUnavailable("gated"), grpc.StatusCode.FAILED_PRECONDITION, _ALWAYS),
    Case(errors.Cancelled(), grpc.StatusCode.CANCELLED, _ALWAYS),
    Case(errors.EngineFailure("CUDA error at 0x1f"), grpc.StatusCode.INTERNAL, _ALWAYS),
]


def _unpack(message: Status) -> dict[str, Any]:
    return {detail.DESCRIPTOR.name: detail for detail in _unpacked(message)}


def _unpacked(message: Status) -> Iterator[Message]:
    for packed in message.details:
        yield next(detail for kind in _DETAILS if packed.Unpack(detail := kind()))


def _descendants(kind: type[errors.ServingError]) -> set[type[errors.ServingError]]:
    return {kind}.union(*(_descendants(child) for child in kind.__subclasses__()))


@pytest.mark.parametrize("case", CASES, ids=lambda case: type(case.error).__name__)
def test_each_error_has_its_code_and_details(case: Case) -> None:
    message = status.to_status(case.error, "id-1")
    details = _unpack(message)
    assert message.code == case.code.value[0]
    assert status.code_of(case.error) is case.code
    assert set(details) == case.details
    assert details["ErrorInfo"].reason == case.error.reason
    assert details["ErrorInfo"].domain == "atelier"
    assert details["RequestInfo"].request_id == "id-1"


def test_the_table_above_has_every_error() -> None:
    ours = {kind for kind in _descendants(errors.ServingError) if kind.__module__ == errors.__name__}
    assert ours - {type(case.error) for case in CASES} == {errors.ServingError}


def test_metadata_reaches_the_caller() -> None:
    details = _unpack(status.to_status(errors.DeadlineTooShort(estimate_s=9, remaining_s=1.25), "id"))
    assert dict(details["ErrorInfo"].metadata) == {"estimate_seconds": "9.000", "remaining_seconds": "1.250"}


def test_every_violation_reaches_the_caller() -> None:
    violations = [errors.Violation(f"field_{number}", "wrong") for number in range(30)]
    details = _unpack(status.to_status(errors.InvalidRequest(violations), "id"))
    sent = [(each.field, each.description) for each in details["BadRequest"].field_violations]
    assert sent == [(each.field, each.description) for each in violations]


def test_retry_delay_keeps_fractions() -> None:
    details = _unpack(status.to_status(errors.Overloaded("full", retry_after_s=2.5), "id"))
    assert details["RetryInfo"].retry_delay.ToTimedelta().total_seconds() == 2.5


def test_a_subclass_of_a_service_inherits_the_code() -> None:
    class UnknownModel(errors.NotFound):
        reason = "UNKNOWN_MODEL"

    message = status.to_status(UnknownModel("model", "x"), "id")
    assert message.code == grpc.StatusCode.NOT_FOUND.value[0]
    assert _unpack(message)["ErrorInfo"].reason == "UNKNOWN_MODEL"


@pytest.mark.parametrize("error", [ValueError("secret"), errors.EngineFailure("secret"), KeyError("secret")])
def test_an_internal_error_tells_nothing_but_the_request_id(error: Exception) -> None:
    message = status.to_status(error, "id-7")
    assert message.message == "internal error; request id id-7"
    assert b"secret" not in message.SerializeToString()


@given(st.lists(st.tuples(st.text(max_size=2000), st.text(max_size=2000)), min_size=1, max_size=200))
def test_a_status_always_fits_into_headers(texts: list[tuple[str, str]]) -> None:
    error = errors.InvalidRequest([errors.Violation(*pair) for pair in texts])
    message = status.to_status(error, "id")
    escaped = 3 * len(message.message.encode())  # grpc-message is percent-encoded
    assert message.ByteSize() + escaped < 8000


def test_violations_that_do_not_fit_are_counted() -> None:
    error = errors.InvalidRequest([errors.Violation(f"field {number}", "x" * 300) for number in range(100)])
    sent = _unpack(status.to_status(error, "id"))["BadRequest"].field_violations
    assert sent[-1].field == "*"
    assert sent[-1].description == f"and {100 - (len(sent) - 1)} more violations"


def test_clipped_text_says_so() -> None:
    message = status.to_status(errors.PreconditionFailed("ä" * 1000), "id").message
    assert message.endswith("ä…")
    assert len(message.encode()) <= 303


def _downstream(message: Status) -> grpc.aio.AioRpcError:
    code = next(each for each in grpc.StatusCode if each.value[0] == message.code)
    trailing = grpc.aio.Metadata(("grpc-status-details-bin", message.SerializeToString()))
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailing, details=message.message)


def test_the_status_of_a_service_of_ours_is_passed_on() -> None:
    original = status.to_status(errors.NotFound("voice", "bob", ["rob"]), "id")
    assert status.to_status(_downstream(original), "id") == original
    assert status.code_of(_downstream(original)) is grpc.StatusCode.NOT_FOUND


def test_the_status_of_a_stranger_is_an_internal_error() -> None:
    error = grpc.aio.AioRpcError(grpc.StatusCode.NOT_FOUND, grpc.aio.Metadata(), grpc.aio.Metadata(), details="secret")
    assert status.to_status(error, "id").message == "internal error; request id id"
    assert status.code_of(error) is grpc.StatusCode.INTERNAL


def test_details_of_another_domain_are_not_passed_on() -> None:
    foreign = Status(code=grpc.StatusCode.NOT_FOUND.value[0], message="secret")
    foreign.details.add().Pack(details_pb2.ErrorInfo(reason="X", domain="elsewhere"))
    assert status.code_of(_downstream(foreign)) is grpc.StatusCode.INTERNAL
