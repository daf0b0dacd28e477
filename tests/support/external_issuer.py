"""An OpenID provider of somebody else's, on a real socket: its discovery document, its keys, and any ID token.

`/.well-known/openid-configuration` and `/keys` are what the gateway reads. `/authorize` signs everybody in at once, as
whom a test says, and leads back with a code; `/token` gives an ID token for it, to who asked for it and once.
"""

import asyncio
import base64
import functools
import hashlib
import json
import secrets
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl, urlencode

from joserfc import jwt
from joserfc.jwk import ECKey, KeyParameters, KeySet, OKPKey, RSAKey

from services.runtime.clock import Clock, SystemClock
from services.runtime.signed_claims import PublicKey
from tests.support.http_upstream import HttpUpstream, Received, answering, serving_upstream

CLIENT_ID = "tradeflow-console"
"""What the gateway is called there."""

LIFETIME_SECONDS = 300
"""Of its ID tokens, as Keycloak has it."""


@functools.cache
def external_key(key_id: str, algorithm: str = "RS256") -> PublicKey:
    """Make a private key once a run, name and algorithm."""
    parameters: KeyParameters = {"kid": key_id, "use": "sig", "alg": algorithm}
    if algorithm.startswith("ES"):
        return ECKey.generate_key({"ES256": "P-256", "ES384": "P-384"}[algorithm], parameters, private=True)
    if algorithm.startswith("Ed"):
        return OKPKey.generate_key("Ed25519", parameters, private=True)
    return RSAKey.generate_key(2048, parameters, private=True)


class OpenIdProvider:
    """Signs whatever a test asks for."""

    def __init__(self, upstream: HttpUpstream, clock: Clock) -> None:
        """Serve over `upstream`."""
        self._upstream = upstream
        self._clock = clock
        upstream.answer = self._answer
        self.url = upstream.url
        self.says_it_is = upstream.url
        """The `issuer` of its discovery document."""
        self.keys = [external_key("first")]
        self.is_away = False
        self.who = "ann"
        """Who signs in at its page."""
        self.client_secret = ""
        """What the client has to show at `/token`; nothing, when it is empty."""
        self.answers_nonce = True
        self.asked: dict[str, dict[str, str]] = {}
        """What was asked for, by the codes that were given for it."""

    @property
    def looks_at_keys(self) -> int:
        """Count how often its keys were asked for."""
        return sum(request.target == "/keys" for request in self._upstream.received)

    def setting(self, **changes: Any) -> dict[str, Any]:
        """Say what the gateway is told of it."""
        return {"name": "staff", "issuer": self.url, "audience": CLIENT_ID, **changes}

    def claims(self, subject: str = "ann", **changed: Any) -> dict[str, Any]:
        """Say what a good ID token says; None takes a claim away."""
        now = int(self._clock.now().timestamp())
        good = {
            "iss": self.url,
            "sub": subject,
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + LIFETIME_SECONDS,
            "email": f"{subject}@example.org",
            "email_verified": True,
        }
        return {name: value for name, value in (good | changed).items() if value is not None}

    def id_token(self, subject: str = "ann", *, key: PublicKey | None = None, **changed: Any) -> str:
        """Sign with the newest key, or another one."""
        return id_token_of(self.claims(subject, **changed), key or self.keys[-1])

    async def _answer(self, received: Received, writer: asyncio.StreamWriter) -> None:
        if self.is_away:
            return  # the connection closes without a word
        path, _, query = received.target.partition("?")
        if path == "/authorize":
            headers = (("Location", self._leading_back(dict(parse_qsl(query)))),)
            await answering(303, b"", headers=headers)(received, writer)
            return
        if path == "/token":
            token = self._token(dict(parse_qsl(received.body.decode())), received.header("authorization"))
            body = {"error": "invalid_grant"} if token is None else {"token_type": "Bearer", "id_token": token}
            await answering(400 if token is None else 200, json.dumps(body).encode())(received, writer)
            return
        documents: dict[str, Any] = {
            "/.well-known/openid-configuration": {
                "issuer": self.says_it_is,
                "jwks_uri": f"{self.url}/keys",
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
            },
            "/keys": KeySet(list(self.keys)).as_dict(private=False),
        }
        document = documents.get(path)
        await answering(404 if document is None else 200, json.dumps(document).encode())(received, writer)

    def _leading_back(self, asked: dict[str, str]) -> str:
        code = secrets.token_urlsafe()
        self.asked[code] = asked
        back = {"code": code, "state": asked["state"], "iss": self.url}
        return f"{asked['redirect_uri']}?{urlencode(back)}"

    def _token(self, form: dict[str, str], authorization: str | None) -> str | None:
        asked = self.asked.pop(form.get("code", ""), None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        credentials = base64.b64encode(f"{CLIENT_ID}:{self.client_secret}".encode()).decode()
        good = (
            asked is not None
            and (asked["code_challenge"], asked["code_challenge_method"]) == (challenge, "S256")
            and asked["redirect_uri"] == form.get("redirect_uri")
            and form.get("grant_type") == "authorization_code"
            and (not self.client_secret or authorization == f"Basic {credentials}")
        )
        if asked is None or not good:
            return None
        return self.id_token(self.who, nonce=asked["nonce"] if self.answers_nonce else "another")


def id_token_of(claims: dict[str, Any], key: PublicKey, **header: Any) -> str:
    """Sign any claims with any key; `header` replaces, and None takes a member away."""
    algorithm = str(key.get("alg"))
    fields = {"alg": algorithm, "typ": "JWT", "kid": key.kid, **header}
    known = {name: value for name, value in fields.items() if value is not None}
    return jwt.encode(known, claims, key, algorithms=[algorithm])


def unsigned_parts(header: dict[str, Any], claims: dict[str, Any]) -> str:
    """Write the first two parts of a token, for a test to put a signature of its own behind them."""
    return f"{_part(header)}.{_part(claims)}"


def _part(content: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


@asynccontextmanager
async def serving_openid_provider(
    clock: Clock | None = None, *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[OpenIdProvider]:
    """Serve one on a free port of this machine."""
    async with serving_upstream(tls) as upstream:
        yield OpenIdProvider(upstream, clock or SystemClock())
