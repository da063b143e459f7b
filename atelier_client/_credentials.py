"""Who the client is, and which servers it believes."""

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

import grpc

Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Credentials:
    """What is shown to the server, and how it has to prove itself. The default is plaintext, showing nothing.

    Raises `OSError` if a file cannot be read, `ValueError` if the key cannot be one or parts do not fit together.
    """

    api_key: str = field(default="", repr=False)
    """A key of `atelier key new`, or a token of the OpenID provider that the server trusts."""
    tls: bool = False
    """Whether to speak TLS and believe the machine's own authorities; implied by the files below."""
    ca_file: Path | None = None
    """PEM authorities to believe instead."""
    cert_file: Path | None = None
    """PEM certificate of the client."""
    key_file: Path | None = None
    """PEM private key of the certificate."""

    def __post_init__(self) -> None:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("a certificate and its private key (--cert, --key) are given together or not at all")
        if not (self.api_key.isascii() and self.api_key.isprintable()):
            raise ValueError("a key or token has printable ASCII characters only; is there a line break in it?")

    @property
    def secure(self) -> bool:
        """Whether TLS is spoken."""
        return self.tls or self.ca_file is not None or self.cert_file is not None

    def channel(self, target: str) -> grpc.ChannelCredentials | None:
        """Return how to secure a channel to `target`, None for plaintext."""
        if not self.secure:
            if self.api_key and not is_loopback(target):
                raise ValueError(f"a key is sent to another machine over TLS only; use TLS to reach {target}")
            return None
        ca, key, cert = (file.read_bytes() if file else None for file in (self.ca_file, self.key_file, self.cert_file))
        return grpc.ssl_channel_credentials(ca, key, cert)

    def metadata(self) -> Metadata:
        """Return what every call carries."""
        return (("authorization", f"Bearer {self.api_key}"),) if self.api_key else ()


ANONYMOUS = Credentials()


def is_loopback(target: str) -> bool:
    """Tell whether a gRPC target is of this machine."""
    address = target.rpartition("/")[2]
    if target.startswith("unix:"):
        return True
    host = address.rpartition(":")[0].strip("[]") if ":" in address else address
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
