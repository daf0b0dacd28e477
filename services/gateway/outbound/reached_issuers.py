"""Other issuers, as the gateway reaches them: their public keys, and their sign-in pages for the console."""

import ssl
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from typing import Final

import httpx

from services.gateway.external_issuers import ExternalIssuer
from services.gateway.id_tokens import TrustedIssuer
from services.gateway.outbound.authorization_codes import AuthorizationCodes
from services.runtime.discovery import Discovery
from services.runtime.health import Health, asked_rarely
from services.runtime.jwks import FETCH_SECONDS_MAX, JwksClient

FIRST_PAUSE_SECONDS: Final = 1.0
"""The least time between two looks for an issuer that is away: whoever comes to the door causes them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReachedIssuers:
    """All that the settings name."""

    trusted: tuple[TrustedIssuer, ...]
    codes: Mapping[str, AuthorizationCodes]
    """Of those that the console has a button for, by their names."""


async def reach_issuers(settings: Iterable[ExternalIssuer], *, health: Health, stack: AsyncExitStack) -> ReachedIssuers:
    """Make what asks each issuer when somebody first comes from there, with a hint of readiness.

    The stack closes the connections.
    """
    trusted, codes = [], {}
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
        if issuer.title:
            codes[issuer.name] = AuthorizationCodes(issuer, http)
    return ReachedIssuers(trusted=tuple(trusted), codes=codes)


def _http_client(issuer: ExternalIssuer) -> httpx.AsyncClient:
    verify = True if issuer.ca_file is None else ssl.create_default_context(cafile=issuer.ca_file)
    return httpx.AsyncClient(timeout=FETCH_SECONDS_MAX, trust_env=False, verify=verify)
