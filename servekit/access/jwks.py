"""The public keys of a token issuer (JSON Web Key Set), from a file or over HTTP."""

import asyncio
import json
import logging
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeAlias
from urllib.parse import urlsplit

import jwt

from servekit.access.watched import Watched
from servekit.clock import Clock
from servekit.errors import BackendUnavailable

logger = logging.getLogger(__name__)

KeySet: TypeAlias = Mapping[str, jwt.PyJWK]
"""Keys by id (`kid`)."""
Fetch: TypeAlias = Callable[[], KeySet]
"""Gets the keys, blocking; raises `OSError` or `ValueError`."""

_FRESH_S = 300.0
"""Seconds after which the keys are fetched again: how long one lives that the issuer has withdrawn."""
_PAUSE_S = 10.0
"""Seconds between two fetches at least, whatever tokens come."""
_TIMEOUT_S = 5.0
_MAX_BYTES = 1024 * 1024
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Keys(Protocol):
    """Where keys are found."""

    async def find(self, key_id: str) -> jwt.PyJWK | None:
        """Return the key with this id, or None; raises `BackendUnavailable` while there are no keys at all."""
        ...


def key_source(keys: str, issuer: str, clock: Clock) -> Keys:
    """Return the keys that `keys` names: a file, a URL, or nothing for the OpenID configuration of `issuer`.

    Raises `OSError` and `ValueError` if a file is wrong; of a URL one learns when the first token comes.
    """
    if not keys:
        return FetchedKeys(lambda: _fetch(_discover(issuer)), clock)
    source = as_source(keys)
    return FileKeys(source, clock) if isinstance(source, Path) else FetchedKeys(lambda: _fetch(source), clock)


def as_source(text: str) -> Path | str:
    """Return `text` as the file or the URL that it is; raises `ValueError` for a URL that can be listened in on."""
    if "://" not in text:
        return Path(text)
    parts = urlsplit(text)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        return text
    raise ValueError(f"{text} must begin with https:// (or http:// on loopback)")


class FileKeys:
    """The keys of a file, read again when it changes."""

    def __init__(self, file: Path, clock: Clock) -> None:
        self._watched = Watched(file, lambda each: _parsed(each.read_bytes()), clock)

    async def find(self, key_id: str) -> jwt.PyJWK | None:
        """Return the key with this id, or None."""
        return self._watched.get().get(key_id)


class FetchedKeys:
    """The keys of a URL: fetched when first asked for, when they are old, and when a token names one that is new.

    If the issuer does not answer, the keys that are there stay good.
    """

    def __init__(self, fetch: Fetch, clock: Clock) -> None:
        self._fetch = fetch
        self._clock = clock
        self._keys: KeySet = {}
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._one_at_a_time = asyncio.Lock()

    async def find(self, key_id: str) -> jwt.PyJWK | None:
        """Return the key with this id, or None; raises `BackendUnavailable` while there are no keys at all."""
        if self._wanting(key_id):
            async with self._one_at_a_time:
                if self._wanting(key_id):
                    await self._refresh()
        if not self._keys:
            raise BackendUnavailable("the keys of the token issuer cannot be had", retry_after_s=_PAUSE_S)
        return self._keys.get(key_id)

    def _wanting(self, key_id: str) -> bool:
        """Tell whether the keys should be fetched, and may be."""
        now = self._clock.monotonic()
        old = self._fetched_at is None or now - self._fetched_at >= _FRESH_S
        rested = self._tried_at is None or now - self._tried_at >= _PAUSE_S
        return rested and (old or key_id not in self._keys)

    async def _refresh(self) -> None:
        try:
            self._keys = await asyncio.to_thread(self._fetch)
            self._fetched_at = self._clock.monotonic()
        except (OSError, ValueError) as error:
            logger.error("the keys of the token issuer cannot be fetched: %s", error)
        self._tried_at = self._clock.monotonic()


def _discover(issuer: str) -> str:
    url = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
    told = _json(_get(url))
    if told.get("issuer") != issuer:
        raise ValueError(f"{url} is about {told.get('issuer')!r} and not about {issuer!r}")
    return str(told.get("jwks_uri", ""))


def _fetch(url: str) -> KeySet:
    return _parsed(_get(url))


def _get(url: str) -> bytes:
    if not isinstance(as_source(url), str):
        raise ValueError(f"{url!r} is no URL")
    with _opener().open(url, timeout=_TIMEOUT_S) as answer:
        content: bytes = answer.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise ValueError(f"{url} answers with more than {_MAX_BYTES} bytes")
    return content


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Follow nobody: a redirect could lead to where one can be listened in on."""


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_NoRedirects)


def _parsed(content: bytes) -> KeySet:
    """Return the usable keys of a JWKS; raises `ValueError`."""
    try:
        keys = jwt.PyJWKSet.from_dict(_json(content)).keys
    except jwt.PyJWTError as error:
        raise ValueError(f"no usable keys: {error}") from None
    return {key.key_id or "": key for key in keys if key.public_key_use in (None, "sig")}


def _json(content: bytes) -> dict[str, Any]:
    parsed = json.loads(content)
    if not isinstance(parsed, dict):
        raise ValueError("not a JSON object")
    return parsed
