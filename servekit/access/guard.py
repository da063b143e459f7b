"""Stands at the door: who calls, may he, may he now, and who was turned away."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import replace

from prometheus_client import CollectorRegistry

from servekit.access.audit import AuditLog
from servekit.access.authenticate import Authenticate, ByCallersFile, ByCertificate, Identity, anybody
from servekit.access.credentials import Credentials
from servekit.access.domain import PRIORITIES, Caller
from servekit.access.limits import Limiter
from servekit.access.refusals import Cause, forbidden
from servekit.access.roles import required_role
from servekit.clock import Clock
from servekit.context import RequestContext, activate, current
from servekit.errors import PermissionDenied, QuotaExceeded, RateLimited, ServingError, Unauthenticated
from servekit.metrics import AccessMetrics
from servekit.settings import ServerSettings, blaming

_CAUSES = (*Cause, *(each.reason.lower() for each in (RateLimited, QuotaExceeded)))
"""Values of the label of `servekit_refused_total`."""


class Guard:
    """Admits calls. `audit` is told of those that were refused, and of those that ask for more than a user's role.

    `watch` follows for ever what `authenticate` goes by, if that may change.
    """

    def __init__(
        self,
        authenticate: Authenticate,
        limiter: Limiter,
        metrics: AccessMetrics,
        audit: AuditLog | None,
        watch: Callable[[], Coroutine[None, None, None]] | None = None,
    ) -> None:
        self._authenticate = authenticate
        self._limiter = limiter
        self._metrics = metrics
        self._audit = audit
        self._watch = watch

    async def admit(self, method: str, shown: Credentials) -> AbstractContextManager[None]:
        """Make the caller part of the current `RequestContext`; return what to hold as long as the call lasts.

        Raises `Unauthenticated` and `PermissionDenied`; what is returned raises `RateLimited` and `QuotaExceeded`.
        """
        identity = await self._authenticate(shown)
        activate(_known(identity, shown))
        _check(identity.caller, method, shown)
        return self._limiter.one(identity.caller)

    def ended(self, code: str, failure: BaseException | None, peer: str) -> None:
        """Record how a call ended that was admitted or refused here."""
        refused = isinstance(failure, Unauthenticated | PermissionDenied | RateLimited | QuotaExceeded)
        if isinstance(failure, ServingError) and refused:
            self._metrics.refused.labels(failure.metadata().get("cause", failure.reason.lower())).inc()
        if self._audit is not None:
            self._audit.record(code, failure, peer, refused=refused)

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Follow the callers file inside the block, whether anybody calls or not."""
        watch = None if self._watch is None else asyncio.create_task(self._watch(), name="watch-callers-file")
        try:
            yield
        finally:
            if watch is not None:
                watch.cancel()
                await asyncio.wait([watch])

    def close(self) -> None:
        """Close the audit log, after the last call."""
        if self._audit is not None:
            self._audit.close()


def _known(identity: Identity, shown: Credentials) -> RequestContext:
    """Return the call being served, with its caller: of a service that speaks for others, whom it speaks for."""
    caller, credential = identity.caller, identity.credential
    ceiling = caller.limits.priority or ""
    if not (caller.speaks_for_others and shown.told_caller):
        return replace(current(), caller=caller.name, credential=credential, priority_ceiling=ceiling)
    if shown.told_priority in PRIORITIES:
        ceiling = shown.told_priority
    return replace(
        current(), caller=shown.told_caller, via=caller.name, credential=credential, priority_ceiling=ceiling
    )


def _check(caller: Caller, method: str, shown: Credentials) -> None:
    if shown.told_caller and not caller.speaks_for_others:
        raise forbidden(f"{caller.name} may not speak for {shown.told_caller}", Cause.SPEAKS_FOR_OTHERS)
    role = required_role(method)
    if role not in caller.roles:
        raise forbidden(f"{caller.name} lacks the role {role.value}", Cause.ROLE, role=role.value)


def guard_of(settings: ServerSettings, registry: CollectorRegistry, clock: Clock, *, edge: bool) -> Guard:
    """Return the guard that `settings` describe; raises `WrongSettings` if a file of theirs is wrong.

    At the `edge` a certificate is not enough to speak for others.
    """
    metrics = AccessMetrics(registry)
    metrics.expect(_CAUSES)
    limiter = Limiter(clock)
    if settings.callers_file is not None:
        with blaming(settings, "callers_file"):
            known = ByCallersFile(settings.callers_file, clock)
        metrics.stale.set_function(lambda: known.watched.stale)
        return Guard(known, limiter, metrics, _audit_log(settings), known.watched.watch)
    if settings.tls_client_ca_file is not None:
        return Guard(ByCertificate(speaks_for_others=not edge), limiter, metrics, _audit_log(settings))
    return Guard(anybody, limiter, metrics, None)


def _audit_log(settings: ServerSettings) -> AuditLog:
    with blaming(settings, "audit_file"):
        return AuditLog(settings.audit, settings.audit_file)
