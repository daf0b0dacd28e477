"""Sends webhooks: signed, once, to a public address, within a deadline; no redirect is followed, no answer is read.

Source: the Standard Webhooks specification (headers, signatures); RFC 2104 (HMAC).
"""

import asyncio
import base64
import hashlib
import hmac
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final
from uuid import UUID

import httpx

from services.orders.outbound.public_addresses import address_of
from services.orders.use_cases.deliver_webhooks import DELIVERIES_A_PASS_MAX
from services.orders.webhook_ports import Attempt, TakenDelivery
from services.runtime.errors import TradeFlowError

USER_AGENT: Final = "TradeFlow-Webhooks/1"
"""Who calls."""

CALLS_MAX: Final = 2 * DELIVERIES_A_PASS_MAX
"""Calls under way at once: as many as two passes begin, since one that waits for those that hang runs out of time."""


class HttpWebhookSender:
    """Fits `WebhookSender`."""

    def __init__(self, *, timeout_seconds: float, private_addresses_allowed: bool) -> None:
        """Call endpoints.

        Args:
            timeout_seconds: How long an endpoint may take, its name's look-up included.
            private_addresses_allowed: Whether it may listen in a private network: for trying out, and for platforms
                whose merchants are their own.
        """
        self._timeout_seconds = timeout_seconds
        self._private_allowed = private_addresses_allowed
        # No connection is kept: two hosts behind one address must not share one. No proxy of the environment.
        limits = httpx.Limits(max_connections=CALLS_MAX, max_keepalive_connections=0)
        # Nor a cookie, which one host would set for all others behind its address.
        no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
        self._http = httpx.AsyncClient(
            timeout=timeout_seconds,
            limits=limits,
            trust_env=False,
            follow_redirects=False,
            http2=False,
            cookies=no_cookies,
        )
        # Of its own: a look-up can't be ended, and those that hang would fill the threads that all others share.
        self._look_ups = ThreadPoolExecutor(max_workers=CALLS_MAX, thread_name_prefix="webhook-names")

    async def aclose(self) -> None:
        """Close what is open."""
        self._look_ups.shutdown(wait=False, cancel_futures=True)
        await self._http.aclose()

    async def send(self, taken: TakenDelivery, *, secrets: Sequence[bytes], now: datetime) -> Attempt:
        """Send a signed message once. Never raises for what the endpoint, or the way to it, did wrong."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await self._call(taken, secrets=secrets, now=now)
        except TradeFlowError as error:
            return Attempt(status=0, error=error.reason)
        except TimeoutError:
            return Attempt(status=0, error="timeout")
        except (httpx.InvalidURL, UnicodeError):
            return Attempt(status=0, error="invalid_url")
        except (httpx.HTTPError, OSError) as error:
            # OSError: what breaks TLS after the handshake comes through httpx as it is.
            return Attempt(status=0, error=f"{type(error).__name__}: {error}")

    async def _call(self, taken: TakenDelivery, *, secrets: Sequence[bytes], now: datetime) -> Attempt:
        url = httpx.URL(taken.endpoint.url)
        # As it stands in the address: `url.host` is decoded, and Python would encode it by the rules of 2003, by which
        # some names are others' (straße.de: strasse.de).
        host = url.raw_host.decode("ascii")
        port = url.port or (443 if url.scheme == "https" else 80)
        address = await address_of(
            host,
            port,
            private_allowed=self._private_allowed,
            timeout_seconds=self._timeout_seconds,
            threads=self._look_ups,
        )
        request = self._http.build_request(
            "POST",
            url.copy_with(host=address),
            content=taken.body,
            headers={
                "host": url.netloc.decode("ascii"),
                "user-agent": USER_AGENT,
                "content-type": "application/json",
                **signed_headers(taken.message_id, taken.body, secrets=secrets, now=now),
            },
            # The certificate has to be the name's, not the address's.
            extensions={"sni_hostname": host},
        )
        answer = await self._http.send(request, stream=True)
        await answer.aclose()
        return Attempt(status=answer.status_code, error="" if answer.is_success else f"status {answer.status_code}")


def signed_headers(message_id: UUID, body: bytes, *, secrets: Sequence[bytes], now: datetime) -> dict[str, str]:
    """Write the headers of a message: its id, the second of this attempt, and a signature for each secret."""
    webhook_id, timestamp = f"msg_{message_id.hex}", str(int(now.timestamp()))
    signed = b".".join([webhook_id.encode(), timestamp.encode(), body])
    signatures = [base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode() for secret in secrets]
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }
