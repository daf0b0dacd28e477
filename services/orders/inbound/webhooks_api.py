"""The HTTP door for webhooks: a merchant's endpoints, and what was sent to them; see docs/webhooks.md."""

import base64
from datetime import datetime
from typing import Annotated
from uuid import UUID

from litestar import delete, get, post
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import Struct

from services.orders.domain.webhook import Delivery, DeliveryState, EndpointNotFoundError, WebhookEndpoint
from services.orders.inbound.commerce import Commerce
from services.orders.inbound.http_bodies import PageBody
from services.orders.inbound.requests import ITEMS_A_PAGE, Cursor, Limit, actor_of, order_cursor_of
from services.orders.use_cases.keep_webhooks import (
    redrive_webhooks,
    register_webhook,
    remove_webhook,
    rotate_webhook_secret,
    show_deliveries,
    show_webhooks,
)
from services.runtime.errors import InvalidArgumentError, NotFoundError
from services.runtime.http_auth import Caller, require_roles

TAGS = ["webhooks"]
"""The group in the API's description."""

GUARDS = [require_roles("merchant")]
"""Who sells is told."""

SECRET_PREFIX = "whsec_"  # noqa: S105 - how Standard Webhooks marks a secret
"""So that a secret is recognised where it doesn't belong."""

Message = Annotated[str, QueryParameter(description="Only this message.", max_length=64)]
State = Annotated[str, QueryParameter(name="state", description="PENDING, DELIVERED or DEAD.")]
"""The type of a parameter `wanted_state`: Litestar keeps the name `state` for itself."""


class NewWebhookBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Where to listen."""

    url: str


class WebhookBody(Struct, frozen=True, kw_only=True):
    """An endpoint; `failures` are those since it last took a message."""

    endpoint_id: UUID
    url: str
    failures: int
    old_secret_ends_at: datetime | None
    created_at: datetime


class WebhookSecretBody(WebhookBody, frozen=True, kw_only=True):
    """An endpoint and its new secret, which is shown this once."""

    secret: str


class WebhooksBody(Struct, frozen=True, kw_only=True):
    """All endpoints of a merchant."""

    items: list[WebhookBody]


class DeliveryBody(Struct, frozen=True, kw_only=True):
    """A message to an endpoint; `status` is what was answered last, null when nothing was."""

    message_id: str
    event_type: str
    order_id: UUID
    state: str
    attempts: int
    status: int | None
    error: str
    due_at: datetime | None
    created_at: datetime
    updated_at: datetime


class RedrivenBody(Struct, frozen=True, kw_only=True):
    """How many deliveries are tried again."""

    redriven: int


def webhook_routes(commerce: Commerce, *, plain_http_allowed: bool) -> list[BaseRouteHandler]:
    """Make the routes."""
    return [*_endpoint_routes(commerce, plain_http_allowed=plain_http_allowed), *_delivery_routes(commerce)]


def _endpoint_routes(commerce: Commerce, *, plain_http_allowed: bool) -> list[BaseRouteHandler]:
    store, clock = commerce.store, commerce.clock

    @get("/api/v1/webhooks", operation_id="listWebhooks", tags=TAGS, guards=GUARDS)
    async def list_webhooks(principal: Caller) -> WebhooksBody:
        """List your endpoints, the oldest first."""
        endpoints = await show_webhooks(merchant_id=actor_of(principal).user_id, store=store)
        return WebhooksBody(items=[_endpoint_body(endpoint) for endpoint in endpoints])

    @post("/api/v1/webhooks", operation_id="registerWebhook", tags=TAGS, guards=GUARDS)
    async def register(principal: Caller, data: JSONBody[NewWebhookBody]) -> WebhookSecretBody:
        """Be told what happens to the orders that you sell in. The secret is shown this once."""
        endpoint = await register_webhook(
            data.url,
            merchant_id=actor_of(principal).user_id,
            generation=principal.generation,
            plain_http_allowed=plain_http_allowed,
            store=store,
            clock=clock,
        )
        return _secret_body(endpoint)

    @post("/api/v1/webhooks/{endpoint_id:str}/secret", operation_id="rotateWebhookSecret", tags=TAGS, guards=GUARDS)
    async def rotate(principal: Caller, endpoint_id: FromPath[str]) -> WebhookSecretBody:
        """Make a new secret; messages are signed with the old one too for a day."""
        merchant_id = actor_of(principal).user_id
        return _secret_body(
            await rotate_webhook_secret(_endpoint_id(endpoint_id), merchant_id=merchant_id, store=store, clock=clock)
        )

    @delete("/api/v1/webhooks/{endpoint_id:str}", operation_id="removeWebhook", tags=TAGS, guards=GUARDS)
    async def remove(principal: Caller, endpoint_id: FromPath[str]) -> None:
        """End an endpoint; what waits for it isn't sent any more."""
        merchant_id = actor_of(principal).user_id
        await remove_webhook(_endpoint_id(endpoint_id), merchant_id=merchant_id, store=store, clock=clock)

    return [list_webhooks, register, rotate, remove]


def _delivery_routes(commerce: Commerce) -> list[BaseRouteHandler]:
    store, clock = commerce.store, commerce.clock

    @get("/api/v1/webhooks/{endpoint_id:str}/deliveries", operation_id="listDeliveries", tags=TAGS, guards=GUARDS)
    async def list_deliveries(
        principal: Caller,
        endpoint_id: FromPath[str],
        cursor: Cursor = "",
        limit: Limit = ITEMS_A_PAGE,
        wanted_state: State = "",
    ) -> PageBody[DeliveryBody]:
        """List what was sent to your endpoint, or waits for it, the newest first."""
        deliveries = await show_deliveries(
            _endpoint_id(endpoint_id),
            merchant_id=actor_of(principal).user_id,
            state=_state_of(wanted_state),
            before=order_cursor_of(cursor),
            rows_max=limit,
            store=store,
        )
        next_cursor = str(deliveries[-1].message_id) if len(deliveries) == limit else None
        return PageBody(items=[_delivery_body(delivery) for delivery in deliveries], next_cursor=next_cursor)

    @post(
        "/api/v1/webhooks/{endpoint_id:str}/redrive",
        operation_id="redriveDeliveries",
        tags=TAGS,
        guards=GUARDS,
        status_code=200,
    )
    async def redrive(principal: Caller, endpoint_id: FromPath[str], message: Message = "") -> RedrivenBody:
        """Try dead deliveries again: all of an endpoint, up to 1,000 a call, or one."""
        redriven = await redrive_webhooks(
            _endpoint_id(endpoint_id),
            merchant_id=actor_of(principal).user_id,
            message_id=_message_id(message) if message else None,
            store=store,
            clock=clock,
        )
        return RedrivenBody(redriven=redriven)

    return [list_deliveries, redrive]


def _endpoint_body(endpoint: WebhookEndpoint) -> WebhookBody:
    return WebhookBody(
        endpoint_id=endpoint.endpoint_id,
        url=endpoint.url,
        failures=endpoint.failures,
        old_secret_ends_at=endpoint.old_secret_ends_at,
        created_at=endpoint.created_at,
    )


def _secret_body(endpoint: WebhookEndpoint) -> WebhookSecretBody:
    return WebhookSecretBody(
        endpoint_id=endpoint.endpoint_id,
        url=endpoint.url,
        failures=endpoint.failures,
        old_secret_ends_at=endpoint.old_secret_ends_at,
        created_at=endpoint.created_at,
        secret=SECRET_PREFIX + base64.b64encode(endpoint.secret).decode(),
    )


def _delivery_body(delivery: Delivery) -> DeliveryBody:
    return DeliveryBody(
        message_id=f"msg_{delivery.message_id.hex}",
        event_type=delivery.event_type,
        order_id=delivery.order_id,
        state=delivery.state.value,
        attempts=delivery.attempts,
        status=delivery.status or None,
        error=delivery.error,
        due_at=delivery.due_at,
        created_at=delivery.created_at,
        updated_at=delivery.updated_at,
    )


def _endpoint_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise EndpointNotFoundError("There is no such endpoint.") from error


def _message_id(text: str) -> UUID:
    try:
        return UUID(text.removeprefix("msg_"))
    except ValueError as error:
        raise NotFoundError("There is no such dead delivery.", reason="delivery_not_found") from error


def _state_of(word: str) -> DeliveryState | None:
    try:
        return DeliveryState(word) if word else None
    except ValueError as error:
        words = ", ".join(state.value for state in DeliveryState)
        raise InvalidArgumentError(f"A state is one of {words}.", reason="unknown_state") from error
