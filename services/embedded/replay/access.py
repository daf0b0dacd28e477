"""Which platform a run is for: one of its own on the data folder, or one that runs already."""

import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from services.embedded.client import TradeFlowClient
from services.embedded.data_folder import TREASURY_EMAIL
from services.embedded.options import on_free_ports
from services.embedded.replay.apply import Access, Accounts
from services.embedded.replay.keys import EMAIL_DOMAIN, password_of
from services.embedded.replay.shop import Credentials, register
from services.embedded.starting import started_platform
from services.runtime.errors import InvalidArgumentError

RETAILER_EMAIL = f"retailer@{EMAIL_DOMAIN}"
"""Who sells everything on a platform of the replay's own."""

CREDENTIALS_VARIABLES = {
    "TRADEFLOW_REPLAY_TREASURY_EMAIL": "who deposits the customers' money (role treasury)",
    "TRADEFLOW_REPLAY_TREASURY_PASSWORD": "their password",
    "TRADEFLOW_REPLAY_MERCHANT_EMAIL": "who sells (role merchant)",
    "TRADEFLOW_REPLAY_MERCHANT_PASSWORD": "their password",
}
"""What `--url` needs; in variables, since command lines show up in process lists."""

RATE_LIMITS_VARIABLE = "TRADEFLOW_GATEWAY_RATE_LIMITS"
"""The gateway's own setting."""

RATE_LIMITS = '[{"name": "replay", "route_class": "any", "per": "ip", "limit": 1000000, "window_seconds": 1}]'
"""None that matter: on its own platform the replay is the only caller."""

ATTEMPTS_MAX = 60
"""Calls in all before a platform is given up; their pauses span some minutes, longer than any restart."""


class MalformedUrlError(InvalidArgumentError):
    """`--url` names no place that can be called."""

    default_reason = "url_malformed"


class MissingCredentialsError(InvalidArgumentError):
    """`--url` was given without saying who acts there."""

    default_reason = "credentials_missing"


@asynccontextmanager
async def embedded_access(data: Path, secret: bytes) -> AsyncIterator[Access]:
    """Run a platform on the data folder for as long as the body, with a retailer of the replay's own.

    Raises:
        CannotStartError: The folder is taken, or a setting is wrong.
    """
    retailer = Credentials(email=RETAILER_EMAIL, password=password_of(secret, RETAILER_EMAIL))
    with _rate_limits_raised():
        async with started_platform(on_free_ports(data)) as running:
            treasury = Credentials(email=TREASURY_EMAIL, password=running.secrets.treasury_password)
            async with TradeFlowClient(running.gateway_url, attempts_max=ATTEMPTS_MAX) as visitor:
                await register(visitor, retailer, "merchant")
                yield Access(visitor=visitor, accounts=Accounts(retailer=retailer, treasury=treasury))


@asynccontextmanager
async def remote_access(url: str, accounts: Accounts) -> AsyncIterator[Access]:
    """Call a platform that runs already."""
    async with TradeFlowClient(url, attempts_max=ATTEMPTS_MAX) as visitor:
        yield Access(visitor=visitor, accounts=accounts)


def check_url(url: str) -> None:
    """Let an address pass that can be called: trying one that can't again, as a restart would need, takes minutes.

    Raises:
        MalformedUrlError: It isn't http:// or https:// and a host, with a port if need be.
    """
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable:
        raise MalformedUrlError("--url is the gateway's address, such as https://shop.example or http://127.0.0.1:8080")


def accounts_of(environment: Mapping[str, str]) -> Accounts:
    """Read from the environment who acts on a platform that runs already.

    Raises:
        MissingCredentialsError: Names each variable that is missing, and what it is for.
    """
    missing = [f"{name} ({purpose})" for name, purpose in CREDENTIALS_VARIABLES.items() if not environment.get(name)]
    if missing:
        raise MissingCredentialsError(f"--url needs these environment variables: {', '.join(missing)}")
    treasury_email, treasury_password, merchant_email, merchant_password = (
        environment[name] for name in CREDENTIALS_VARIABLES
    )
    return Accounts(
        retailer=Credentials(email=merchant_email, password=merchant_password),
        treasury=Credentials(email=treasury_email, password=treasury_password),
    )


@contextmanager
def _rate_limits_raised() -> Iterator[None]:
    """Raise the gateway's limits, unless somebody chose them."""
    if RATE_LIMITS_VARIABLE in os.environ:
        yield
        return
    os.environ[RATE_LIMITS_VARIABLE] = RATE_LIMITS
    try:
        yield
    finally:
        del os.environ[RATE_LIMITS_VARIABLE]
