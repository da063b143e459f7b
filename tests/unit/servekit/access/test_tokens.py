import base64
import hmac
import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest

from servekit.access.domain import Role
from servekit.access.tokens import TokenRules, TokenVerifier
from servekit.errors import Unauthenticated
from servekit.testing import ManualClock
from tests.tokens import AUDIENCE, ISSUER, Issuer


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


def _verifier(issuer: Issuer, tmp_path: Path, *, with_algorithm: bool = True, **rules: Any) -> TokenVerifier:
    file = tmp_path / "jwks.json"
    file.write_text(issuer.jwks(with_algorithm=with_algorithm))
    return TokenVerifier(TokenRules(issuer=ISSUER, audience=AUDIENCE, keys=str(file), **rules), ManualClock())


@pytest.mark.parametrize("algorithm", ["ES256", "RS256"])
async def test_a_good_token_is_believed(issuer: Issuer, tmp_path: Path, algorithm: str) -> None:
    token = await _verifier(issuer, tmp_path).verify(issuer.token(algorithm))
    assert (token.subject, token.key_id, token.roles) == ("ann", f"{algorithm}-one", frozenset({Role.USER}))


@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "RS512", "PS256"])
async def test_a_key_of_no_algorithm_in_particular_signs_by_all_of_its_kind(
    issuer: Issuer, tmp_path: Path, algorithm: str
) -> None:
    allowed = ("ES256", "RS256", "RS512", "PS256")
    verifier = _verifier(issuer, tmp_path, with_algorithm=False, algorithms=allowed)
    assert (await verifier.verify(issuer.token(algorithm))).subject == "ann"
    with pytest.raises(Unauthenticated, match="alg"):
        await verifier.verify(issuer.token("PS384"))


async def test_a_key_of_one_algorithm_signs_by_no_other(issuer: Issuer, tmp_path: Path) -> None:
    with pytest.raises(Unauthenticated, match="algorithm that is not its key's") as caught:
        await _verifier(issuer, tmp_path, algorithms=("RS256", "PS256")).verify(issuer.token("PS256"))
    assert caught.value.metadata()["cause"] == "token"


@pytest.mark.parametrize("with_algorithm", [True, False])
@pytest.mark.parametrize("algorithm", ["ES256", "HS256", "none", "", None, 5, ["RS256"], {"a": 1}])
async def test_a_token_that_claims_an_algorithm_its_key_has_not_is_not_believed(
    issuer: Issuer, tmp_path: Path, algorithm: Any, with_algorithm: bool
) -> None:
    _, body, signature = issuer.token("RS256").split(".")
    head = _base64(json.dumps({"alg": algorithm, "kid": "RS256-one"}).encode())
    with pytest.raises(Unauthenticated) as caught:
        await _verifier(issuer, tmp_path, with_algorithm=with_algorithm).verify(f"{head}.{body}.{signature}")
    assert caught.value.metadata()["cause"] == "token"


@pytest.mark.parametrize(
    ("claims", "cause", "told"),
    [
        ({"exp": time.time() - 60}, "expired", "has expired"),
        ({"exp": None}, "token", "exp"),
        ({"nbf": time.time() + 600}, "token", "not yet valid"),
        ({"aud": "another"}, "token", "[Aa]udience"),
        ({"aud": None}, "token", "aud"),
        ({"iss": "https://evil.example/"}, "token", "[Ii]ssuer"),
        ({"iss": None}, "token", "iss"),
        ({"sub": None}, "token", "sub"),
        ({"sub": "x" * 256}, "token", "at most 255"),
        ({"sub": "ann\nbob"}, "token", "printable"),
    ],
)
async def test_a_token_with_a_wrong_claim_is_not(
    issuer: Issuer, tmp_path: Path, claims: dict[str, Any], cause: str, told: str
) -> None:
    with pytest.raises(Unauthenticated, match=told) as caught:
        await _verifier(issuer, tmp_path).verify(issuer.token(**claims))
    assert caught.value.metadata()["cause"] == cause


async def test_the_issuers_clock_may_differ_a_little(issuer: Issuer, tmp_path: Path) -> None:
    token = issuer.token(exp=time.time() - 10)
    assert (await _verifier(issuer, tmp_path).verify(token)).subject == "ann"
    with pytest.raises(Unauthenticated, match="expired"):
        await _verifier(issuer, tmp_path, leeway_s=0.0).verify(token)


async def test_a_token_of_another_signer_with_the_same_key_id_is_not_believed(issuer: Issuer, tmp_path: Path) -> None:
    with pytest.raises(Unauthenticated, match=r"[Ss]ignature"):
        await _verifier(issuer, tmp_path).verify(Issuer().token())


async def test_a_token_of_an_unknown_key_is_not_believed(issuer: Issuer, tmp_path: Path) -> None:
    with pytest.raises(Unauthenticated, match="unknown key"):
        await _verifier(issuer, tmp_path).verify(Issuer("two").token())


async def test_an_algorithm_that_is_not_allowed_is_not_believed(issuer: Issuer, tmp_path: Path) -> None:
    with pytest.raises(Unauthenticated, match="alg"):
        await _verifier(issuer, tmp_path, algorithms=("ES256",)).verify(issuer.token("RS256"))


async def test_a_token_that_is_signed_with_the_public_key_as_a_secret_is_not_believed(
    issuer: Issuer, tmp_path: Path
) -> None:
    head, body, _ = issuer.token().split(".")
    head = _base64(json.dumps({"alg": "HS256", "kid": "ES256-one"}).encode())
    mac = hmac.digest(issuer.jwks().encode(), f"{head}.{body}".encode(), "sha256")
    forged = f"{head}.{body}.{_base64(mac)}"
    with pytest.raises(Unauthenticated, match="alg"):
        await _verifier(issuer, tmp_path).verify(forged)


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


async def test_an_unsigned_token_is_not_believed(issuer: Issuer, tmp_path: Path) -> None:
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "exp": time.time() + 600}
    with pytest.raises(Unauthenticated):
        await _verifier(issuer, tmp_path).verify(jwt.encode(claims, "", "none", {"kid": "ES256-one"}))


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "é", "..", "eyJhbGciOiJFUzI1NiJ9.."])
async def test_rubbish_is_no_token(issuer: Issuer, tmp_path: Path, text: str) -> None:
    with pytest.raises(Unauthenticated) as caught:
        await _verifier(issuer, tmp_path).verify(text)
    assert caught.value.metadata()["cause"] == "token"


@pytest.mark.parametrize(
    ("claim", "roles"),
    [
        (["user", "operator", "king"], {Role.USER, Role.OPERATOR}),
        ("user cloner", {Role.USER, Role.CLONER}),
        ([], set()),
        (None, set()),
        (7, set()),
        ([["user"]], set()),
    ],
)
async def test_roles_come_from_a_claim(issuer: Issuer, tmp_path: Path, claim: Any, roles: set[Role]) -> None:
    token = await _verifier(issuer, tmp_path, roles_claim="atelier").verify(issuer.token(atelier=claim))
    assert token.roles == roles


async def test_some_roles_may_be_everybodys(issuer: Issuer, tmp_path: Path) -> None:
    verifier = _verifier(issuer, tmp_path, roles={Role.USER})
    assert (await verifier.verify(issuer.token(roles=["operator"]))).roles == {Role.USER, Role.OPERATOR}
