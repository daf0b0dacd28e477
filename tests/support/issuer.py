"""A tiny issuer of RS256 tokens with a JWKS endpoint over real HTTP, as the gateway is one.

It signs whatever a test asks for, so that forged, expired and foreign tokens can be made too. `GET /jwks.json` serves
the public keys, `POST /oauth/token` (form `audience`, HTTP Basic) answers a service token for whoever asks.
"""

import asyncio
import base64
import functools
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID, uuid4

from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

from services.runtime.clock import Clock, SystemClock

USER_TOKEN_SECONDS = 600
"""As the gateway's access tokens."""

SERVICE_TOKEN_SECONDS = 300
"""As the gateway's service tokens."""


@functools.cache
def signing_key(key_id: str = "test-key") -> RSAKey:
    """Make a key once a run and name: RSA keys take long to make."""
    return RSAKey.generate_key(2048, {"kid": key_id, "use": "sig", "alg": "RS256"}, private=True)


class Issuer:
    """Mints tokens and knows where its public keys are served."""

    def __init__(self, *, clock: Clock, key: RSAKey | None = None) -> None:
        """Sign with `key`, or with the run's own."""
        self._clock = clock
        self.key = key or signing_key()
        self.issuer = "https://issuer.test"
        self.base_url = ""
        self.published_keys = [self.key]
        self.requests_to_jwks = 0

    @property
    def jwks_url(self) -> str:
        """Where the public keys are."""
        return f"{self.base_url}/jwks.json"

    @property
    def token_url(self) -> str:
        """Where services get their tokens."""
        return f"{self.base_url}/oauth/token"

    def user_token(self, user_id: UUID | str, roles: Iterable[str] = ("buyer",), **claims: object) -> str:
        """Mint what a user gets at login; `claims` replace, and None takes a claim away."""
        basic = self._claims(str(user_id), "tradeflow", roles, USER_TOKEN_SECONDS)
        return self.mint({**basic, **claims})

    def service_token(self, client_id: str = "orders", audience: str = "ledger", **claims: object) -> str:
        """Mint what a service gets for its secret; `claims` replace, and None takes a claim away."""
        basic = self._claims(client_id, audience, ("service",), SERVICE_TOKEN_SECONDS)
        return self.mint({**basic, **claims})

    def mint(self, claims: Mapping[str, object], *, key: RSAKey | None = None, **header: object) -> str:
        """Sign any claims with any key and header fields."""
        signer = key or self.key
        fields: dict[str, Any] = {"alg": "RS256", "typ": "at+jwt", "kid": signer.kid, **header}
        return jwt.encode(fields, {name: value for name, value in claims.items() if value is not None}, signer)

    def jwks(self) -> dict[str, Any]:
        """Show the public keys."""
        return dict(KeySet(list(self.published_keys)).as_dict(private=False))

    def _claims(self, subject: str, audience: str, roles: Iterable[str], lifetime_seconds: int) -> dict[str, object]:
        issued_at = int(self._clock.now().timestamp())
        return {
            "iss": self.issuer,
            "sub": subject,
            "aud": audience,
            "iat": issued_at,
            "nbf": issued_at,
            "exp": issued_at + lifetime_seconds,
            "jti": str(uuid4()),
            "roles": list(roles),
        }

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one request of one connection."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            fields = _header_fields(head)
            body = (await reader.readexactly(int(fields.get("content-length", "0")))).decode()
            status, content = self._respond(head.split(" ", 2)[1], fields, body)
            payload = json.dumps(content).encode()
            writer.write(
                f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(payload)}\r\n"
                f"Connection: close\r\n\r\n".encode()
                + payload
            )
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client left
        finally:
            writer.close()

    def _respond(self, path: str, fields: Mapping[str, str], body: str) -> tuple[str, dict[str, Any]]:
        if path == "/jwks.json":
            self.requests_to_jwks += 1
            return "200 OK", self.jwks()
        if path == "/oauth/token":
            scheme, _, credentials = fields.get("authorization", "").partition(" ")
            if scheme.lower() != "basic":
                return "401 Unauthorized", {"error": "invalid_client"}
            client_id = base64.b64decode(credentials).decode().partition(":")[0]
            token = self.service_token(client_id, parse_qs(body)["audience"][0])
            return "200 OK", {"access_token": token, "token_type": "Bearer", "expires_in": SERVICE_TOKEN_SECONDS}
        return "404 Not Found", {}


def _header_fields(head: str) -> dict[str, str]:
    lines = [line for line in head.split("\r\n")[1:] if line]
    return {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


@asynccontextmanager
async def running_issuer(*, clock: Clock | None = None, key: RSAKey | None = None) -> AsyncIterator[Issuer]:
    """Serve an issuer on a free port of this machine; hand in the clock that the service under test runs on."""
    issuer = Issuer(clock=clock or SystemClock(), key=key)
    server = await asyncio.start_server(issuer.answer, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    issuer.base_url = f"http://{host}:{port}"
    try:
        yield issuer
    finally:
        server.close()
        await server.wait_closed()
