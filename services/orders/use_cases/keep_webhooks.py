"""What a merchant does with webhooks: register, list, rotate, remove, look at deliveries, redrive.

The secret is shown where it is made, and never again.
"""

import secrets
from uuid import UUID

from services.orders.domain.webhook import (
    ENDPOINTS_MAX,
    SECRET_BYTES,
    Delivery,
    DeliveryState,
    EndpointNotFoundError,
    TooManyEndpointsError,
    WebhookEndpoint,
    check_url,
)
from services.orders.ports import Rows, Store
from services.runtime.clock import Clock
from services.runtime.errors import NotFoundError, UnauthenticatedError
from services.runtime.ids import new_id

REDRIVEN_MAX = 1_000
"""Deliveries of one call: what one transaction writes within milliseconds."""


async def register_webhook(
    url: str, *, merchant_id: UUID, generation: int, plain_http_allowed: bool, store: Store, clock: Clock
) -> WebhookEndpoint:
    """Begin to tell a merchant what happens to the orders they sell in.

    Args:
        url: Where they listen.
        merchant_id: Who.
        generation: The generation of the merchant's token.
        plain_http_allowed: Whether the address may be one without TLS.
        store: Where endpoints are.
        clock: Tells now.

    Raises:
        InvalidArgumentError: `invalid_url`.
        RefusedError: `too_many_endpoints`.
        UnauthenticatedError: `token_revoked`.
    """
    endpoint = WebhookEndpoint(
        endpoint_id=new_id(),
        merchant_id=merchant_id,
        url=check_url(url, plain_http_allowed=plain_http_allowed),
        secret=secrets.token_bytes(SECRET_BYTES),
        old_secret=None,
        old_secret_ends_at=None,
        failures=0,
        created_at=clock.now(),
    )
    async with store.transaction() as rows:
        await rows.webhooks.lock(merchant_id)
        # Who took the account over has removed all endpoints under this lock: no call from before adds one after that.
        if await rows.webhooks.has_ended(merchant_id, generation):
            raise UnauthenticatedError("The token was revoked.", reason="token_revoked")
        if len(await rows.webhooks.endpoints(merchant_id)) >= ENDPOINTS_MAX:
            raise TooManyEndpointsError(f"A merchant has up to {ENDPOINTS_MAX} endpoints.")
        await rows.webhooks.add(endpoint)
    return endpoint


async def show_webhooks(*, merchant_id: UUID, store: Store) -> list[WebhookEndpoint]:
    """List a merchant's endpoints, the oldest first."""
    async with store.transaction() as rows:
        return await rows.webhooks.endpoints(merchant_id)


async def rotate_webhook_secret(endpoint_id: UUID, *, merchant_id: UUID, store: Store, clock: Clock) -> WebhookEndpoint:
    """Make a new secret; the old one signs beside it for a day.

    Raises:
        EndpointNotFoundError: It is absent, or somebody else's.
    """
    async with store.transaction() as rows:
        endpoint = await _own(rows, endpoint_id, merchant_id)
        endpoint = endpoint.rotate(secrets.token_bytes(SECRET_BYTES), clock.now())
        await rows.webhooks.save_secrets(endpoint)
    return endpoint


async def remove_webhook(endpoint_id: UUID, *, merchant_id: UUID, store: Store, clock: Clock) -> None:
    """End an endpoint; what waits for it isn't sent any more. A call that is under way goes on.

    Raises:
        EndpointNotFoundError: It is absent, or somebody else's.
    """
    async with store.transaction() as rows:
        await rows.webhooks.remove(await _own(rows, endpoint_id, merchant_id), clock.now())


async def show_deliveries(
    endpoint_id: UUID,
    *,
    merchant_id: UUID,
    state: DeliveryState | None,
    before: UUID | None,
    rows_max: int,
    store: Store,
) -> list[Delivery]:
    """List what was sent to an endpoint, or waits for it, the newest first.

    Raises:
        EndpointNotFoundError: It is absent, or somebody else's.
    """
    async with store.transaction() as rows:
        await _own(rows, endpoint_id, merchant_id)
        return await rows.webhooks.deliveries(endpoint_id, state=state, before=before, rows_max=rows_max)


async def redrive_webhooks(
    endpoint_id: UUID, *, merchant_id: UUID, message_id: UUID | None, store: Store, clock: Clock
) -> int:
    """Try dead deliveries again, all of an endpoint (up to 1,000 a call) or one; return how many.

    Raises:
        EndpointNotFoundError: It is absent, or somebody else's.
        NotFoundError: `delivery_not_found`: the one that was named isn't dead.
    """
    async with store.transaction() as rows:
        endpoint = await _own(rows, endpoint_id, merchant_id)
        now = clock.now()
        redriven = await rows.webhooks.redrive(endpoint_id, message_id=message_id, now=now, rows_max=REDRIVEN_MAX)
        if message_id is not None and not redriven:
            raise NotFoundError("There is no such dead delivery.", reason="delivery_not_found")
        # Whoever redrives believes that the endpoint is well again.
        await rows.webhooks.judge(endpoint, failures=0, resumes_at=now)
    return redriven


async def _own(rows: Rows, endpoint_id: UUID, merchant_id: UUID) -> WebhookEndpoint:
    endpoint = await rows.webhooks.endpoint(endpoint_id)
    if endpoint is None or endpoint.merchant_id != merchant_id:
        raise EndpointNotFoundError("There is no such endpoint.")
    return endpoint
