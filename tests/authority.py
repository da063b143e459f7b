"""A certificate authority in a folder, for tests of TLS."""

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_DAY = timedelta(days=1)


class Pair(NamedTuple):
    """Files of a certificate and its private key."""

    cert: Path
    key: Path

    @property
    def serial(self) -> str:
        """Serial number as `openssl x509 -serial` writes it: whole bytes in hexadecimal."""
        serial = x509.load_pem_x509_certificate(self.cert.read_bytes()).serial_number
        return serial.to_bytes((serial.bit_length() + 7) // 8).hex().upper()


class Authority:
    """Signs what it is asked to; `file` is its own certificate."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("authority")
        basic = x509.BasicConstraints(ca=True, path_length=None)
        ca = _builder(self._name, self._key, datetime.now(UTC) - _DAY, 2 * _DAY).issuer_name(self._name)
        signed = ca.add_extension(basic, critical=True).sign(self._key, hashes.SHA256())
        self.file = folder / "ca.pem"
        self.file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))

    def issue(
        self,
        name: str,
        *alternatives: str,
        begin: datetime | None = None,
        life: timedelta = 2 * _DAY,
        serial: int | None = None,
    ) -> Pair:
        """Return a certificate for `name`; `alternatives` are written like openssl's: `DNS:x`, `IP:x`, `URI:x`."""
        key = ec.generate_private_key(ec.SECP256R1())
        cert = _builder(_name(name), key, begin or datetime.now(UTC) - _DAY, life, serial).issuer_name(self._name)
        if alternatives:
            names = x509.SubjectAlternativeName([_general(each) for each in alternatives])
            cert = cert.add_extension(names, critical=False)
        pair = Pair(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        pair.cert.write_bytes(cert.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        pair.key.write_bytes(key.private_bytes(*form))
        return pair


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _builder(
    name: x509.Name, key: ec.EllipticCurvePrivateKey, begin: datetime, life: timedelta, serial: int | None = None
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(name).public_key(key.public_key())
    builder = builder.serial_number(serial or x509.random_serial_number())
    return builder.not_valid_before(begin).not_valid_after(begin + life)


def _general(text: str) -> x509.GeneralName:
    kind, _, value = text.partition(":")
    if kind == "IP":
        return x509.IPAddress(ipaddress.ip_address(value))
    return {"DNS": x509.DNSName, "URI": x509.UniformResourceIdentifier}[kind](value)
