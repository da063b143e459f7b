"""JSON Web Tokens of an OpenID provider, verified by PyJWT."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, Self, TypeAlias

import jwt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from servekit.access.domain import Role
from servekit.access.jwks import IssuerKey, Keys, as_source, key_source
from servekit.access.refusals import Cause, unknown
from servekit.clock import Clock

Algorithm: TypeAlias = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
"""Signatures by a private key; a shared secret (HS256) is none, since whoever checks it could also sign."""

_MAX_SUBJECT = 255
"""What OpenID Connect allows."""


class TokenRules(BaseModel):
    """Which tokens are accepted: the table `[tokens]` of a callers file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    issuer: str = Field(min_length=1)
    """`iss` that a token must have."""
    audience: str = Field(min_length=1)
    """`aud` that it must name."""
    keys: str = ""
    """A JWKS file or its URL (https, or http on loopback); empty asks the issuer's OpenID configuration for it."""
    algorithms: tuple[Algorithm, ...] = ("RS256", "ES256")
    """Signatures that are accepted."""
    roles_claim: str = "roles"
    """Claim with the caller's roles: a list, or words in a string. Others than ours are ignored."""
    roles: frozenset[Role] = frozenset()
    """Roles of every caller with a token, whatever the claim says."""
    leeway_s: float = Field(default=30.0, ge=0, le=300)
    """By how much the issuer's clock may differ."""

    @model_validator(mode="after")
    def _keys_have_a_source(self) -> Self:
        as_source(self.keys or self.issuer)
        return self


@dataclass(frozen=True, slots=True)
class Token:
    """What a verified token says."""

    subject: str
    key_id: str
    roles: frozenset[Role]


class TokenVerifier:
    """Verifies tokens by `rules`."""

    def __init__(self, rules: TokenRules, clock: Clock) -> None:
        self.rules = rules
        self._keys: Keys = key_source(rules.keys, rules.issuer, clock)
        self._decoder = jwt.PyJWT({"require": ["exp", "iss", "aud", "sub"], "enforce_minimum_key_length": True})

    async def verify(self, text: str) -> Token:
        """Return what the token says; raises `Unauthenticated`, and `BackendUnavailable` without any keys."""
        try:
            header = jwt.get_unverified_header(text)
        except jwt.InvalidTokenError:
            raise unknown("what follows `Bearer` is neither a key nor a token", Cause.TOKEN) from None
        key_id = str(header.get("kid", ""))
        key = await self._keys.find(key_id)
        if key is None:
            raise unknown("the token is signed by an unknown key", Cause.TOKEN)
        if header.get("alg") not in key.algorithms:
            raise unknown("the token is signed by an algorithm that is not its key's", Cause.TOKEN)
        claims = self._claims(text, key)
        subject = str(claims["sub"])
        if len(subject) > _MAX_SUBJECT or not subject.isprintable():
            raise unknown(f"`sub` must be printable and have at most {_MAX_SUBJECT} characters", Cause.TOKEN)
        return Token(subject, key_id, self.rules.roles | _roles(claims.get(self.rules.roles_claim)))

    def _claims(self, text: str, key: IssuerKey) -> dict[str, Any]:
        rules = self.rules
        try:
            return self._decoder.decode(
                text, key.public, rules.algorithms, audience=rules.audience, issuer=rules.issuer, leeway=rules.leeway_s
            )
        except jwt.ExpiredSignatureError:
            raise unknown("the token has expired", Cause.EXPIRED) from None
        except jwt.PyJWTError as error:
            raise unknown(f"the token is not good: {error}", Cause.TOKEN) from None


def _roles(claim: Any) -> frozenset[Role]:
    words: Iterable[Any] = claim.split() if isinstance(claim, str) else claim if isinstance(claim, list) else ()
    known = {role.value for role in Role}
    return frozenset(Role(word) for word in words if isinstance(word, str) and word in known)
