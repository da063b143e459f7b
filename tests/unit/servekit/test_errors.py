import pytest

from servekit import errors


def test_an_invalid_request_names_every_violation() -> None:
    error = errors.InvalidRequest(
        [errors.Violation("width", "from 64 to 2048"), errors.Violation("steps", "at least 1")]
    )
    assert str(error) == "width: from 64 to 2048; steps: at least 1"
    assert [violation.field for violation in error.violations] == ["width", "steps"]


def test_an_invalid_request_without_violations_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="at least one"):
        errors.InvalidRequest([])


def test_not_found_suggests_the_nearest_names() -> None:
    error = errors.NotFound("model", "fluxx", ["flux", "flux_dev"])
    assert str(error) == "no model named 'fluxx'; did you mean flux, flux_dev?"
    assert error.metadata() == {"nearest": "flux,flux_dev"}


def test_not_found_without_a_near_name_suggests_nothing() -> None:
    error = errors.NotFound("model", "x")
    assert str(error) == "no model named 'x'"
    assert error.metadata() == {}


def test_rejected_output_lists_each_attempt_in_order() -> None:
    metadata = errors.OutputRejected(["black", "not finite"]).metadata()
    assert metadata == {"attempts": "2", "attempt_1": "black", "attempt_2": "not finite"}


def test_metadata_of_an_error_cannot_be_changed_from_outside() -> None:
    error = errors.DeviceOutOfMemory(wanted_bytes=10, free_bytes=3)
    error.metadata().clear()
    assert error.metadata() == {"wanted_bytes": "10", "free_bytes": "3"}
