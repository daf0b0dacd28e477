"""Signs in by password, and bounds how often one account's password is guessed, from wherever.

Each attempt is counted before the password is looked at, under a hash of the address that was typed, so that an account
that isn't there is counted like one that is; all but wrong passwords are given back. Few wrong ones pass from one
network, so that who guesses from there shuts out nobody elsewhere; more pass from all networks together. Either way one
attempt comes free again within minutes, and who is signed in refreshes without passing here.

Source: OWASP's Authentication Cheat Sheet, "Protect Against Automated Attacks"; NIST SP 800-63B, section 5.2.2.
"""

import hashlib
import unicodedata
from collections.abc import Sequence
from typing import Final

from litestar.types import Scope

from services.gateway.inbound.client_address import Network, client_address, quota_address
from services.gateway.inbound.rate_limits import RateLimits
from services.gateway.ports import Identities, Session
from services.gateway.rate_policies import Quota, RatePolicy
from services.runtime.errors import TradeFlowError, UnauthenticatedError

NETWORK_WINDOW_SECONDS: Final = 900
"""With ten wrong passwords in it, one more attempt comes free every 90 s."""

ACCOUNT_WINDOW_SECONDS: Final = 3600
"""With sixty, one every minute: also under a guess from many networks, an owner at another one waits for no longer."""


class SignIns:
    """Checks passwords for the doors that take one."""

    def __init__(
        self,
        identities: Identities,
        limits: RateLimits,
        *,
        network_failures_max: int,
        account_failures_max: int,
        trusted_proxies: Sequence[Network],
    ) -> None:
        """Sign in at `identities`; see the settings of the same names."""
        self._identities = identities
        self._limits = limits
        self._trusted_proxies = trusted_proxies
        self._by_network = _policy("account-network", network_failures_max, NETWORK_WINDOW_SECONDS)
        self._by_account = _policy("account", account_failures_max, ACCOUNT_WINDOW_SECONDS)

    async def sign_in(self, scope: Scope, *, email: str, password: str) -> Session:
        """Check a password and begin a session.

        Raises:
            ProblemDetailsException: 429: too many wrong passwords for this account, whether it is there or not.
            UnauthenticatedError: `bad_credentials`.
            UnavailableError: Orders can't tell, or attempts can't be counted and that closes the door.
        """
        account = account_name(email)
        network = quota_address(client_address(scope, self._trusted_proxies))
        quotas = [
            Quota(policy=self._by_network, caller=f"{account}:{network}"),
            Quota(policy=self._by_account, caller=account),
        ]
        await self._limits.take(quotas)
        try:
            session = await self._identities.sign_in(email=email, password=password)
        except UnauthenticatedError:
            raise
        except TradeFlowError:
            await self._limits.give_back(quotas)
            raise
        # A cancelled call stays counted: who hangs up before the answer may have guessed all the same.
        await self._limits.give_back(quotas)
        return session


def account_name(email: str) -> str:
    """Name an account for a counter: one name for all spellings that orders takes for one address, and no address."""
    normal = unicodedata.normalize("NFC", email.strip()).lower()
    return hashlib.sha256(normal.encode(errors="surrogatepass")).hexdigest()[:32]


def _policy(name: str, limit: int, window_seconds: int) -> RatePolicy:
    return RatePolicy(name=name, route_class="auth", per="account", limit=limit, window_seconds=window_seconds)
