"""TLS of a server, from files that may be renewed while it runs."""

from collections.abc import Callable
from typing import Any

import grpc

from servekit.settings import ServerSettings


def server_credentials(settings: ServerSettings) -> grpc.ServerCredentials | None:
    """Return the credentials that `settings` name, or None for plaintext; raises `OSError` if a file is missing."""
    cert_file, key_file, ca_file = settings.tls_cert_file, settings.tls_key_file, settings.tls_client_ca_file
    if cert_file is None or key_file is None:
        return None

    def load() -> grpc.ServerCertificateConfiguration:
        pair = (key_file.read_bytes(), cert_file.read_bytes())
        return grpc.ssl_server_certificate_configuration([pair], ca_file.read_bytes() if ca_file else None)

    renew: Any = _keeping_last(load)
    return grpc.dynamic_ssl_server_credentials(load(), renew, require_client_authentication=ca_file is not None)


def _keeping_last(
    load: Callable[[], grpc.ServerCertificateConfiguration],
) -> Callable[[], grpc.ServerCertificateConfiguration | None]:
    """Answer None, which keeps the certificates in use, while the files cannot be read."""

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        try:
            return load()
        except OSError:
            return None

    return fetch
