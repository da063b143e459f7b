import copy
import pickle
from collections.abc import Callable
from dataclasses import dataclass, fields

import pytest

from atelier_client import AtelierError
from atelier_client._errors import FieldViolation


@dataclass(eq=False)
class Refused(AtelierError):
    """An error of somebody who builds on the client."""

    by: str = ""


class Wrapped(AtelierError):
    """An error that is made in another way."""

    def __init__(self, cause: Exception) -> None:
        super().__init__("INTERNAL", str(cause))


ERRORS = {
    "keywords": AtelierError(
        code="INVALID_ARGUMENT",
        message="no",
        reason="INVALID_REQUEST",
        violations=(FieldViolation("steps", "must be 1 to 200"),),
        metadata={"nearest": "portraits"},
        retry_after_seconds=1.5,
        request_id="abc",
    ),
    "positions": AtelierError("CANCELLED", "the client is closed"),
    "subclass": Refused(code="NOT_FOUND", message="no", by="me"),
    "own constructor": Wrapped(ValueError("no")),
}
COPIES: dict[str, Callable[[AtelierError], AtelierError]] = {
    **{f"pickle {protocol}": lambda error, p=protocol: pickle.loads(pickle.dumps(error, p)) for protocol in range(6)},  # type: ignore[misc]
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("name", ERRORS)
def test_an_error_loses_nothing_on_its_way_to_another_process(name: str, way: str) -> None:
    error = ERRORS[name]

    copied = COPIES[way](error)

    assert type(copied) is type(error)
    assert str(copied) == str(error)
    assert [getattr(copied, each.name) for each in fields(error)] == [
        getattr(error, each.name) for each in fields(error)
    ]


def test_errors_are_told_apart_by_identity() -> None:
    first, second = AtelierError("INTERNAL", "no"), AtelierError("INTERNAL", "no")

    assert len({first, second, first}) == 2
