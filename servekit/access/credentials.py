"""What a caller shows: a certificate, a key or a token, and the name of somebody he calls for."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self, TypeAlias
from urllib.parse import unquote

import grpc
from cryptography import x509
from cryptography.x509.oid import ExtensionOID, NameOID

from servekit.context import CALLER_KEY, PRIORITY_KEY

_MAX_NAME = 512
"""Characters of the longest name that a service may tell; what is longer, or cannot be printed, is no name."""
_PEM = "x509_pem_cert"

ServicerContext: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


@dataclass(frozen=True, slots=True)
class Certificate:
    """A client certificate that TLS has verified."""

    names: tuple[str, ...]
    """Alternative names (URI such as a SPIFFE id, then DNS), then the common name."""
    serial: int
    expires_at: float = math.inf
    """Unix time. TLS looks at it when a connection opens, and connections last."""

    def __str__(self) -> str:
        """Return what logs call it: its serial number as `openssl x509 -serial` prints it, in whole bytes."""
        digits = f"{self.serial:X}"
        return f"certificate {digits.zfill(len(digits) + len(digits) % 2)}"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Everything about one call that may tell who makes it."""

    authorization: str = ""
    """The metadata of that name, empty if there is none."""
    certificate: Certificate | None = None
    told_caller: str = ""
    """Who the call is for, as the service that makes it says."""
    told_priority: str = ""
    """The highest priority it may have, likewise."""

    @classmethod
    def of(cls, context: ServicerContext) -> Self:
        """Return what the call in `context` shows."""
        shown = {"authorization": "", CALLER_KEY: "", PRIORITY_KEY: ""}
        for key, value in context.invocation_metadata() or ():
            if key in shown:
                shown[key] = str(value)
        pem = next(iter(context.auth_context().get(_PEM, ())), None)
        return cls(
            shown["authorization"],
            _certificate(pem) if pem else None,
            _name(unquote(shown[CALLER_KEY])),
            shown[PRIORITY_KEY],
        )


def _name(text: str) -> str:
    return text if len(text) <= _MAX_NAME and text.isprintable() else ""


@lru_cache(maxsize=1024)
def _certificate(pem: bytes) -> Certificate:
    parsed = x509.load_pem_x509_certificate(pem)
    common = [str(each.value) for each in parsed.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    names = (*_alternatives(parsed), *common)
    return Certificate(names, parsed.serial_number, parsed.not_valid_after_utc.timestamp())


def _alternatives(parsed: x509.Certificate) -> list[str]:
    try:
        extension = parsed.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME)
    except x509.ExtensionNotFound:
        return []
    names = extension.value
    assert isinstance(names, x509.SubjectAlternativeName)
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    return [*uris, *names.get_values_for_type(x509.DNSName)]
