from atelier.common.v1.errors_pb2 import ErrorReason
from servekit import errors


def _descendants(kind: type[errors.ServingError]) -> set[type[errors.ServingError]]:
    return {kind}.union(*(_descendants(child) for child in kind.__subclasses__()))


def test_every_reason_is_in_the_contract() -> None:
    reasons = {kind.reason for kind in _descendants(errors.ServingError)}
    assert {f"ERROR_REASON_{reason}" for reason in reasons} <= set(ErrorReason.keys())
