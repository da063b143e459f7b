"""A token issuer for tests: keys, their JWKS, and tokens signed with them."""

import json
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

ISSUER, AUDIENCE = "https://id.example/", "atelier"


class Issuer:
    """Has one key of each kind; `kid` is its algorithm and the issuer's `name`."""

    def __init__(self, name: str = "one") -> None:
        self._name = name
        self._keys: dict[str, Any] = {
            "ES256": ec.generate_private_key(ec.SECP256R1()),
            "RS256": rsa.generate_private_key(65537, 2048),
        }

    def jwks(self, *, with_algorithm: bool = True) -> str:
        """Return the public keys. The algorithm of a key is optional there."""
        shapes = {
            "ES256": ECAlgorithm.to_jwk(self._keys["ES256"].public_key(), as_dict=True),
            "RS256": RSAAlgorithm.to_jwk(self._keys["RS256"].public_key(), as_dict=True),
        }
        keys = [{**shape, "kid": f"{kind}-{self._name}", "use": "sig", "alg": kind} for kind, shape in shapes.items()]
        for key in () if with_algorithm else keys:
            del key["alg"]
        return json.dumps({"keys": keys})

    def token(self, algorithm: str = "ES256", **claims: Any) -> str:
        """Return a good token for `ann`, but for what `claims` changes; None leaves a claim out.

        RSA signs by any `algorithm` of RSA.
        """
        kind = "ES256" if algorithm == "ES256" else "RS256"
        usual = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "exp": time.time() + 600, "roles": ["user"]}
        body = {name: value for name, value in {**usual, **claims}.items() if value is not None}
        return jwt.encode(body, self._keys[kind], algorithm, {"kid": f"{kind}-{self._name}"})
