"""The public keys of a token issuer (JSON Web Key Set), from a file or over HTTP."""

import asyncio
import json
import logging
import math
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias
from urllib.parse import urlsplit

import jwt

from servekit.access.watched import Watched
from servekit.clock import Clock
from servekit.errors import BackendUnavailable

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class IssuerKey:
    """A public key, and the names of the algorithms that it signs by."""

    public: Any
    algorithms: tuple[str, ...]


KeySet: TypeAlias = Mapping[str, IssuerKey]
"""Keys by id (`kid`)."""
Fetch: TypeAlias = Callable[[], KeySet]
"""Gets the keys, blocking; raises whatever may go wrong."""

_FRESH_S = 300.0
"""Seconds after which the keys are fetched again, beside the calls."""
_GOOD_S = 600.0
"""Seconds after which calls wait for that: how long a key lives that the issuer has withdrawn, if he answers."""
_PAUSE_S = 10.0
"""Seconds between two fetches at least, whatever tokens come."""
_TIMEOUT_S = 5.0
_MAX_BYTES = 1024 * 1024
_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
"""What an RSA key signs by that is not of one algorithm in particular; other keys have but one."""
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Keys(Protocol):
    """Where keys are found."""

    async def find(self, key_id: str) -> IssuerKey | None:
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
        self._watched = Watched(file, lambda each: parse(each.read_bytes()), clock)

    async def find(self, key_id: str) -> IssuerKey | None:
        """Return the key with this id, or None."""
        return self._watched.get().get(key_id)


class FetchedKeys:
    """The keys of a URL: fetched when first asked for, when they are old, and when a token names one that is new.

    A fetch is nobody's own: it goes on if the call is cancelled that began it, and its result is everybody's. Calls
    wait for it only where the keys that are there will not do. If the issuer does not answer, these stay good.
    """

    def __init__(self, fetch: Fetch, clock: Clock) -> None:
        self._fetch = fetch
        self._clock = clock
        self._keys: KeySet = {}
        self._fetching: asyncio.Future[KeySet] | None = None
        self._fetched_at = self._tried_at = -math.inf

    async def find(self, key_id: str) -> IssuerKey | None:
        """Return the key with this id, or None; raises `BackendUnavailable` while there are no keys at all."""
        if self._fetching is None and self._wanting(key_id):
            self._fetching = asyncio.get_running_loop().run_in_executor(None, self._fetch)
            self._fetching.add_done_callback(self._fetched)
        if self._fetching is not None and not self._good(key_id):
            await asyncio.wait([self._fetching])
        if not self._keys:
            raise BackendUnavailable("the keys of the token issuer cannot be had", retry_after_s=_PAUSE_S)
        return self._keys.get(key_id)

    def _wanting(self, key_id: str) -> bool:
        """Tell whether the keys should be fetched, and may be."""
        now = self._clock.monotonic()
        old, rested = now - self._fetched_at >= _FRESH_S, now - self._tried_at >= _PAUSE_S
        return rested and (old or key_id not in self._keys)

    def _good(self, key_id: str) -> bool:
        """Tell whether the key is there and will do. An issuer who has failed to answer is expected to do so again."""
        failed = self._tried_at > self._fetched_at
        return key_id in self._keys and (failed or self._clock.monotonic() - self._fetched_at < _GOOD_S)

    def _fetched(self, fetching: "asyncio.Future[KeySet]") -> None:
        self._fetching, self._tried_at = None, self._clock.monotonic()
        if error := fetching.exception():
            logger.error("the keys of the token issuer cannot be fetched: %s", str(error) or type(error).__name__)
        else:
            self._keys, self._fetched_at = fetching.result(), self._tried_at


def _discover(issuer: str) -> str:
    url = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
    told = _json(_get(url))
    if told.get("issuer") != issuer:
        raise ValueError(f"{url} is about {told.get('issuer')!r} and not about {issuer!r}")
    return str(told.get("jwks_uri", ""))


def _fetch(url: str) -> KeySet:
    return parse(_get(url))


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


def parse(content: bytes) -> KeySet:
    """Return the usable keys of a JWKS; raises `ValueError`."""
    listed = _json(content).get("keys")
    raw = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    keys = {str(each.get("kid") or ""): key for each in raw if (key := _key(each)) is not None}
    if not keys:
        raise ValueError("no usable keys")
    return keys


def _key(raw: dict[str, Any]) -> IssuerKey | None:
    """Return the key of a JWK, or None if it is not of a kind that we know, or not for signatures."""
    try:
        key = jwt.PyJWK(raw)
    except (jwt.PyJWTError, TypeError):
        return None
    if raw.get("use") not in (None, "sig"):
        return None
    anything_of_rsa = raw["kty"] == "RSA" and not raw.get("alg")
    return IssuerKey(key.key, _RSA if anything_of_rsa else (key.algorithm_name,))


def _json(content: bytes) -> dict[str, Any]:
    parsed = json.loads(content)
    if not isinstance(parsed, dict):
        raise ValueError("not a JSON object")
    return parsed
