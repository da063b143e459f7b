"""Keys that prove who calls: `atelier_<id>_<secret>`. Only a digest of the secret is ever stored.

The secret has 256 random bits, so a plain SHA-256 keeps it: slow hashes (argon2, scrypt) protect what people choose,
and would cost every call what they cost a guesser.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from typing import Self

_PREFIX = "atelier"
_KEY = re.compile(rf"{_PREFIX}_([0-9a-f]{{8}})_([A-Za-z0-9_-]{{43}})")
_STORED = re.compile(r"([0-9a-f]{8}):sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class StoredKey:
    """What a server keeps of a key. `text` is how it is written in a callers file."""

    id: str
    """Names the key in logs; no secret."""
    digest: str
    """SHA-256 of the secret, in hexadecimal."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a line of `atelier key new`; raises `ValueError`."""
        found = _STORED.fullmatch(text)
        if found is None:
            raise ValueError("a key is written <id>:sha256:<digest>, as `atelier key new` prints it")
        return cls(found[1], found[2])

    @property
    def text(self) -> str:
        """The line for a callers file."""
        return f"{self.id}:sha256:{self.digest}"

    def matches(self, secret: str) -> bool:
        """Tell whether `secret` is this key's, in the same time whatever it is."""
        return hmac.compare_digest(self.digest, _digest(secret))


def new_key() -> tuple[str, StoredKey]:
    """Return a new key for its holder, and what a server keeps of it."""
    key_id, secret = secrets.token_hex(4), secrets.token_urlsafe(32)
    return f"{_PREFIX}_{key_id}_{secret}", StoredKey(key_id, _digest(secret))


def split(text: str) -> tuple[str, str] | None:
    """Return id and secret of a key, or None if `text` is none."""
    found = _KEY.fullmatch(text)
    return (found[1], found[2]) if found else None


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
