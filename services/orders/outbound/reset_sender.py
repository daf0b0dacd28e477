"""Hands tokens for new passwords to the platform team's own service, which writes the mail: a signed POST.

The form is that of Standard Webhooks, as for merchants; the address is the operator's, so it may be a private one.
"""

from typing import Final

import httpx
import msgspec

from services.orders.domain.password_reset import IssuedReset
from services.orders.outbound.webhook_sender import signed_headers
from services.runtime.clock import Clock
from services.runtime.errors import UnavailableError

TIMEOUT_SECONDS: Final = 10.0
"""How long the service may take to answer."""

EVENT_TYPE: Final = "password_reset.requested"
"""The `type` of the message."""


class HttpResetSender:
    """Fits `ResetDelivery`."""

    def __init__(self, url: str, *, secret: bytes, clock: Clock) -> None:
        """Post to `url`, signed with `secret`."""
        self._url = url
        self._secret = secret
        self._clock = clock
        self._http = httpx.AsyncClient(timeout=TIMEOUT_SECONDS, trust_env=False, follow_redirects=False)

    async def aclose(self) -> None:
        """Close what is open."""
        await self._http.aclose()

    async def deliver(self, issued: IssuedReset) -> None:
        """Post a token; an attempt that is repeated has the same `webhook-id`.

        Raises:
            UnavailableError: It wasn't taken. The message says nothing of the token.
        """
        now = self._clock.now()
        content = {
            "type": EVENT_TYPE,
            "timestamp": now,
            "data": {"email": issued.user.email, "token": issued.token, "expires_at": issued.expires_at},
        }
        body = msgspec.json.encode(content)
        headers = signed_headers(issued.reset_id, body, secrets=[self._secret], now=now)
        try:
            answer = await self._http.post(
                self._url, content=body, headers={"content-type": "application/json", **headers}
            )
        except (httpx.HTTPError, OSError) as error:
            # OSError: what breaks TLS after the handshake comes through httpx as it is.
            raise UnavailableError(type(error).__name__, reason="reset_not_delivered") from error
        if not answer.is_success:
            raise UnavailableError(f"status {answer.status_code}", reason="reset_not_delivered")
