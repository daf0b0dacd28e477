"""Tokens that look like the gateway's and are not good, for a platform whose keys lie in a test's folder."""

import base64
import hmac
import json
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

from joserfc import jwt
from joserfc.jwk import RSAKey

from services.embedded.service_settings import ISSUER
from tests.support.issuer import signing_key

LIFETIME_SECONDS = 600
"""As the gateway's."""


class TokenForge:
    """Makes tokens for one user, with the platform's own key and with others."""

    def __init__(self, keys_folder: Path, user_id: str) -> None:
        """Read the signing key."""
        (file,) = keys_folder.glob("*.json")
        (jwk,) = json.loads(file.read_text())["keys"]
        self._key = RSAKey.import_key({name: value for name, value in jwk.items() if name not in {"iat", "status"}})
        self._key_id = str(jwk["kid"])
        self._user_id = user_id

    def claims(self, **changed: Any) -> dict[str, Any]:
        """Say what a good token says; None takes a claim away."""
        now = int(time.time())
        good = {
            "iss": ISSUER,
            "sub": self._user_id,
            "aud": "tradeflow",
            "iat": now,
            "nbf": now,
            "exp": now + LIFETIME_SECONDS,
            "jti": str(uuid4()),
            "roles": ["buyer"],
        }
        return {name: value for name, value in (good | changed).items() if value is not None}

    def signed(self, **changed: Any) -> str:
        """Sign with the platform's own key: only the claims can be wrong."""
        return self._signed_with(self._key, **changed)

    def expired(self) -> str:
        """Make a token that was good an hour ago."""
        an_hour_ago = int(time.time()) - 3_600
        return self.signed(iat=an_hour_ago, nbf=an_hour_ago, exp=an_hour_ago + LIFETIME_SECONDS)

    def of_another_key(self) -> str:
        """Sign with a key of one's own, and name the platform's."""
        return self._signed_with(signing_key())

    def of_unknown_key(self) -> str:
        """Sign with a key of one's own, and name it."""
        return self._signed_with(signing_key(), kid="somebody-elses")

    def unsigned(self) -> str:
        """Say `alg: none`."""
        return f"{_part({'alg': 'none', 'typ': 'at+jwt', 'kid': self._key_id})}.{_part(self.claims())}."

    def keyed_with_the_public_key(self) -> str:
        """Sign with HS256, with the public key's text as the secret."""
        header = {"alg": "HS256", "typ": "at+jwt", "kid": self._key_id}
        signed = f"{_part(header)}.{_part(self.claims())}"
        digest = hmac.digest(self._key.as_pem(private=False), signed.encode(), "sha256")
        return f"{signed}.{_text(digest)}"

    def changed(self) -> str:
        """Take a good token and write the operator's role into it."""
        header, _, signature = self.signed().split(".")
        return f"{header}.{_part(self.claims(roles=['operator', 'treasury']))}.{signature}"

    def _signed_with(self, key: RSAKey, kid: str | None = None, **changed: Any) -> str:
        header = {"alg": "RS256", "typ": "at+jwt", "kid": kid or self._key_id}
        return jwt.encode(header, self.claims(**changed), key)


def _part(content: dict[str, Any]) -> str:
    return _text(json.dumps(content).encode())


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
