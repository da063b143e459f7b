"""The callers file: who may call with which credentials, in which roles, how much.

[[caller]]
name = "web"
keys = ["3f2a9c1b:sha256:…"]            # as `atelier key new web` prints it
identities = ["spiffe://example/web"]   # a name in a client certificate
subjects = ["auth0|7"]                  # `sub` of a token
roles = ["user", "cloner"]              # user, cloner, operator; default user
requests_per_second = 5                 # `inf` for no limit where [defaults] has one
burst = 10
concurrent_calls = 4
priority = "normal"                     # the highest his requests get
speaks_for_others = false               # true for the router: who it calls for is believed

[defaults]                              # limits of callers that set none
[tokens]                                # see `TokenRules`
[revoked]                               # identities, and serial numbers of certificates
"""

import math
import tomllib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from servekit.access.domain import Caller, Limits, Priority, Role
from servekit.access.tokens import TokenRules
from servekit.keys import StoredKey


class CallersError(ValueError):
    """A callers file is wrong; the message has a line for each mistake."""


def _key(value: Any) -> StoredKey:
    return StoredKey.parse(str(value))


def _serial(value: Any) -> int:
    digits = value.replace(":", "") if isinstance(value, str) else ""
    try:
        return int(digits, 16)
    except ValueError:
        raise ValueError("a serial number is written in hexadecimal, as `openssl x509 -serial` prints it") from None


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class _Limits(_Strict):
    requests_per_second: float | None = Field(default=None, gt=0)
    burst: int | None = Field(default=None, ge=1)
    concurrent_calls: int | None = Field(default=None, ge=1)
    priority: Priority | None = None

    def or_else(self, defaults: "_Limits") -> Limits:
        rate = self.requests_per_second or defaults.requests_per_second
        one_second = math.ceil(rate) if rate and math.isfinite(rate) else 1
        return Limits(
            rate,
            self.burst or defaults.burst or one_second,
            self.concurrent_calls or defaults.concurrent_calls,
            self.priority or defaults.priority,
        )


class _Row(_Limits):
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    keys: tuple[Annotated[StoredKey, BeforeValidator(_key)], ...] = ()
    identities: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    roles: frozenset[Role] = frozenset({Role.USER})
    speaks_for_others: bool = False

    def caller(self, defaults: _Limits) -> Caller:
        return Caller(self.name, self.roles, self.or_else(defaults), self.speaks_for_others)


class _Revoked(_Strict):
    identities: frozenset[str] = frozenset()
    certificates: frozenset[Annotated[int, BeforeValidator(_serial)]] = frozenset()


class _File(_Strict):
    caller: tuple[_Row, ...] = ()
    defaults: _Limits = _Limits()
    tokens: TokenRules | None = None
    revoked: _Revoked = _Revoked()


class Callers:
    """The callers of a file, by what they show."""

    def __init__(self, rows: Iterable[_Row], defaults: _Limits, tokens: TokenRules | None, revoked: _Revoked) -> None:
        self.tokens = tokens
        self.defaults = _Limits().or_else(defaults)
        self._revoked = revoked
        self._by_key: dict[str, tuple[StoredKey, Caller]] = {}
        self._by_identity: dict[str, Caller] = {}
        self._by_subject: dict[str, Caller] = {}
        for row in rows:
            caller = row.caller(defaults)
            self._by_key |= {key.id: (key, caller) for key in row.keys}
            self._by_identity |= dict.fromkeys(row.identities, caller)
            self._by_subject |= dict.fromkeys(row.subjects, caller)

    @classmethod
    def load(cls, file: Path) -> Self:
        """Read a callers file; raises `OSError` and `CallersError`."""
        try:
            parsed = _File.model_validate(tomllib.loads(file.read_text()))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise CallersError(f"{file}: {error}") from None
        except ValidationError as error:
            raise CallersError("\n".join(_told(file, each) for each in error.errors())) from None
        if repeated := _repeated(parsed.caller):
            raise CallersError("\n".join(f"{file}: {each}" for each in repeated))
        return cls(parsed.caller, parsed.defaults, parsed.tokens, parsed.revoked)

    def with_key(self, key_id: str, secret: str) -> Caller | None:
        """Return the caller who holds this key."""
        stored, caller = self._by_key.get(key_id, (_NO_KEY, None))
        return caller if stored.matches(secret) else None

    def with_identity(self, names: Iterable[str]) -> Caller | None:
        """Return the caller whose certificate has one of these names."""
        return next((self._by_identity[name] for name in names if name in self._by_identity), None)

    def with_subject(self, subject: str) -> Caller | None:
        """Return the caller whose tokens have this subject."""
        return self._by_subject.get(subject)

    def revoked(self, names: Iterable[str], serial: int) -> bool:
        """Tell whether a certificate with these names and this serial number is no longer good."""
        return serial in self._revoked.certificates or not self._revoked.identities.isdisjoint(names)


_NO_KEY = StoredKey("", "0" * 64)
"""Compared with where no key has the id, so that this takes as long."""


def _told(file: Path, error: Any) -> str:
    """Return the line for a mistake, without what is written there: it may be a key."""
    where = ".".join(map(str, error["loc"]))
    return f"{file}: {where}: {str(error['msg']).removeprefix('Value error, ')}"


def _repeated(rows: Iterable[_Row]) -> list[str]:
    seen = Counter(
        each
        for row in rows
        for each in (
            f"the name {row.name}",
            *(f"the key {key.id}" for key in row.keys),
            *(f"the identity {identity}" for identity in row.identities),
            *(f"the subject {subject}" for subject in row.subjects),
        )
    )
    return [f"{each} is there {count} times, must be once" for each, count in seen.items() if count > 1]
