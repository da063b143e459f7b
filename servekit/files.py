"""What the file or folder that a setting names must be good for: an annotation of its field.

`servekit.settings.check_files` asks before a server starts. The settings themselves look at no disk.
"""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated


@dataclass(frozen=True, slots=True)
class Use:
    """`attempt` raises `OSError` or `ValueError` if a path is not good for it."""

    attempt: Callable[[Path], object]

    def trouble(self, path: Path) -> str:
        """Return what is wrong with `path`, empty if nothing is."""
        try:
            self.attempt(path)
        except OSError as error:
            return error.strerror or str(error)
        except ValueError as error:
            return str(error)
        return ""


def _read(file: Path) -> None:
    file.open("rb").close()


def _certificates(file: Path) -> None:
    _read(file)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
    except ssl.SSLError:
        raise ValueError("holds no certificate in PEM") from None


def check_key(key_file: Path, cert_file: Path) -> None:
    """Raise `ValueError` unless `key_file` has the private key of the certificate in `cert_file`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")  # whether a key is too short is for gRPC to say
    try:
        context.load_cert_chain(cert_file, key_file, password="")
    except ssl.SSLError:
        raise ValueError(
            f"holds no private key, in PEM and without a password, of the certificate in {cert_file}"
        ) from None


File = Annotated[Path | None, Use(_read)]
"""A file that can be read, or none."""
Certificates = Annotated[Path | None, Use(_certificates)]
"""A file of certificates in PEM, or none."""
Folder = Annotated[Path, Use(lambda folder: next(folder.iterdir(), None))]
"""A folder that can be listed."""
