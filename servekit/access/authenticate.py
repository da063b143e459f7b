"""From what a caller shows to who he is."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from servekit import keys
from servekit.access.callers import Callers
from servekit.access.credentials import Certificate, Credentials
from servekit.access.domain import Caller
from servekit.access.refusals import Cause, unknown
from servekit.access.tokens import TokenVerifier
from servekit.access.watched import Watched
from servekit.clock import Clock


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a caller is, and by what he proved it: a word for the log, never a secret."""

    caller: Caller
    credential: str = ""


class Authenticate(Protocol):
    """Finds out who calls."""

    async def __call__(self, shown: Credentials) -> Identity:
        """Return who calls; raises `Unauthenticated`."""
        ...


_ANYBODY = Identity(Caller("", speaks_for_others=True))


async def anybody(shown: Credentials) -> Identity:
    """Let everybody in with all rights: for servers that only trusted programs can reach."""
    return _ANYBODY


class ByCertificate:
    """Lets everybody in whose certificate TLS accepts, under the first name in it and with all rights.

    Whether that includes to speak for others is for the server to say.
    """

    def __init__(self, *, speaks_for_others: bool) -> None:
        self._speaks_for_others = speaks_for_others

    async def __call__(self, shown: Credentials) -> Identity:
        """Return who calls; raises `Unauthenticated`."""
        certificate = shown.certificate
        if certificate is None:
            raise unknown("a client certificate is needed", Cause.MISSING)
        _check_expiry(certificate, time.time())
        name = next(iter(certificate.names), "")
        return Identity(Caller(name, speaks_for_others=self._speaks_for_others), str(certificate))


class ByCallersFile:
    """Lets in whom a callers file names, by key, token or certificate.

    Who sends `authorization` is judged by that, else by his certificate; a certificate that was revoked is not good
    enough for either.
    """

    def __init__(self, file: Path, clock: Clock, now: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._now = now
        self._verifier: TokenVerifier | None = None
        self.watched = Watched(file, self._read, clock)

    async def __call__(self, shown: Credentials) -> Identity:
        """Return who calls; raises `Unauthenticated`."""
        callers = self.watched.get()
        if shown.certificate is not None:
            self._check(callers, shown.certificate)
        if shown.authorization:
            return await self._by_authorization(callers, shown.authorization)
        if shown.certificate is None:
            raise unknown("no credentials: send the metadata `authorization: Bearer <key or token>`", Cause.MISSING)
        caller = callers.with_identity(shown.certificate.names)
        if caller is None:
            raise unknown(f"no caller has a certificate for {', '.join(shown.certificate.names)}", Cause.CERTIFICATE)
        return Identity(caller, str(shown.certificate))

    def _read(self, file: Path) -> Callers:
        """Read the callers, and make a verifier if the rules for tokens are new: it remembers the issuer's keys."""
        callers = Callers.load(file)
        if callers.tokens is None:
            self._verifier = None
        elif self._verifier is None or self._verifier.rules != callers.tokens:
            self._verifier = TokenVerifier(callers.tokens, self._clock)
        return callers

    def _check(self, callers: Callers, certificate: Certificate) -> None:
        _check_expiry(certificate, self._now())
        if callers.revoked(certificate.names, certificate.serial):
            raise unknown("the certificate is revoked", Cause.REVOKED)

    async def _by_authorization(self, callers: Callers, authorization: str) -> Identity:
        scheme, _, text = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise unknown("`authorization` must be `Bearer <key or token>`", Cause.MISSING)
        key = keys.split(text.strip())
        if key is not None:
            return _by_key(callers, *key)
        if self._verifier is None:
            raise unknown("what follows `Bearer` is no key, and this server takes no tokens", Cause.KEY)
        return await _by_token(callers, self._verifier, text.strip())


def _by_key(callers: Callers, key_id: str, secret: str) -> Identity:
    caller = callers.with_key(key_id, secret)
    if caller is None:
        raise unknown("the key is not, or no longer, good", Cause.KEY)
    return Identity(caller, f"key {key_id}")


async def _by_token(callers: Callers, verifier: TokenVerifier, text: str) -> Identity:
    """Return the caller whom the file gives the token's subject, else one of the token's own with default limits."""
    token = await verifier.verify(text)
    caller = callers.with_subject(token.subject)
    if caller is None:
        caller = Caller(f"token:{token.subject}", token.roles, callers.defaults)
    else:
        caller = replace(caller, roles=caller.roles | token.roles)
    return Identity(caller, f"token {token.key_id}")


def _check_expiry(certificate: Certificate, now: float) -> None:
    if certificate.expires_at < now:
        raise unknown("the certificate has expired since the connection was opened", Cause.EXPIRED)
