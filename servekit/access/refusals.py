"""Why a call is refused at the door."""

from enum import StrEnum

from servekit.errors import PermissionDenied, Unauthenticated


class Cause(StrEnum):
    """What is wrong; travels as the metadata `cause` and labels the metric of refusals."""

    MISSING = "missing"
    KEY = "key"
    TOKEN = "token"
    CERTIFICATE = "certificate"
    EXPIRED = "expired"
    REVOKED = "revoked"
    ROLE = "role"
    SPEAKS_FOR_OTHERS = "speaks_for_others"


def unknown(message: str, cause: Cause) -> Unauthenticated:
    """Return the error for a caller who did not prove who he is."""
    return Unauthenticated(message, metadata={"cause": cause.value})


def forbidden(message: str, cause: Cause, **facts: str) -> PermissionDenied:
    """Return the error for a caller who may not do this."""
    return PermissionDenied(message, metadata={"cause": cause.value, **facts})
