"""The public keys of other issuers, fetched when somebody first comes from there."""

import ssl
from collections.abc import Iterable
from contextlib import AsyncExitStack, aclosing
from typing import Final

import httpx

from services.gateway.external_issuers import ExternalIssuer
from services.gateway.id_tokens import TrustedIssuer
from services.runtime.discovery import Discovery
from services.runtime.health import Health, asked_rarely
from services.runtime.jwks import FETCH_SECONDS_MAX, JwksClient

FIRST_PAUSE_SECONDS: Final = 1.0
"""The least time between two looks for an issuer that is away: whoever comes to the door causes them."""


async def trusted_issuers(
    settings: Iterable[ExternalIssuer], *, health: Health, stack: AsyncExitStack
) -> list[TrustedIssuer]:
    """Make what fetches each issuer's keys, with a hint of readiness; the stack closes the connections.

    Raises:
        ssl.SSLError: A `ca_file` holds no certificates.
    """
    trusted = []
    for issuer in settings:
        http = await stack.enter_async_context(_http_client(issuer))
        keys = JwksClient(
            issuer.jwks_url or Discovery(issuer.issuer),
            algorithms=issuer.algorithms,
            http=http,
            first_pause_seconds=FIRST_PAUSE_SECONDS,
        )
        await stack.enter_async_context(aclosing(keys))
        health.add_hint(f"issuer_{issuer.name}", asked_rarely(keys.check_ready))
        trusted.append(TrustedIssuer(setting=issuer, keys=keys))
    return trusted


def _http_client(issuer: ExternalIssuer) -> httpx.AsyncClient:
    verify = True if issuer.ca_file is None else ssl.create_default_context(cafile=issuer.ca_file)
    return httpx.AsyncClient(timeout=FETCH_SECONDS_MAX, trust_env=False, verify=verify)
