"""The public routes that are for merchants alone, as orders answers them."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

from services.gateway.inbound.public_bodies import Instant, Money, OrderState
from services.gateway.inbound.public_parameters import (
    CURRENCY,
    DELIVERY_STATE,
    MESSAGE,
    ORDER_STATE,
    PAGE,
    PLACED,
    SALES_CURRENCY,
)
from services.gateway.inbound.public_route import PublicRoute


class NewWebhook(Struct, forbid_unknown_fields=True):
    """Where to listen: an https address."""

    url: Annotated[str, Meta(min_length=1, max_length=2_048)]


class Webhook(Struct):
    """An endpoint; `failures` are those since it last took a message."""

    endpoint_id: UUID
    url: str
    failures: int
    old_secret_ends_at: Instant | None
    """Until when messages are signed with the secret before this one too."""
    created_at: Instant


class WebhookWithSecret(Webhook):
    """An endpoint and its new secret, which is shown this once."""

    secret: str


class Webhooks(Struct):
    """All endpoints of a merchant, the oldest first."""

    items: list[Webhook]


class WebhookDelivery(Struct):
    """A message to an endpoint; `status` is what was answered last, null when nothing was."""

    message_id: str
    event_type: str
    order_id: UUID
    state: Literal["PENDING", "DELIVERED", "DEAD"]
    attempts: int
    status: int | None
    error: str
    due_at: Instant | None
    created_at: Instant
    updated_at: Instant


class WebhookDeliveryPage(Struct):
    """Newest first."""

    items: list[WebhookDelivery]
    next_cursor: str | None


class WebhooksRedriven(Struct):
    """How many deliveries are tried again."""

    redriven: int


class Sale(Struct):
    """What the caller sold in one order; `net` is what they have of it once it `is_paid`."""

    order_id: UUID
    state: OrderState
    is_paid: bool
    gross: Money
    refunded: Money
    fee: Money
    net: Money
    fee_basis_points: int
    placed_at: Instant
    moved_at: Instant


class SalePage(Struct):
    """Newest first."""

    items: list[Sale]
    next_cursor: str | None


class Earnings(Struct):
    """Sums of sales: net = gross - refunded - fee."""

    sales: int
    gross: Money
    refunded: Money
    fee: Money
    net: Money


class SalesSummary(Struct):
    """What the caller was paid, and what is held for them and not paid yet."""

    currency: str
    paid: Earnings
    due: Earnings


class NewSellerFee(Struct, forbid_unknown_fields=True):
    """A fee in basis points: 250 are 2.5 %."""

    fee_basis_points: Annotated[int, Meta(ge=0, le=10_000)]


class SellerFee(Struct):
    """What the platform keeps of a seller's new sales; `changed_at` is null where the platform's own fee applies."""

    seller_id: UUID
    fee_basis_points: int
    changed_at: Instant | None


_NOT_YOURS = ("403 role_required", "404 endpoint_not_found")

MERCHANT_ROUTES = (
    PublicRoute(
        method="get",
        path="/api/v1/sales",
        operation_id="listSales",
        tag="selling",
        summary="What the caller sold, newest first: what is paid or due; role merchant.",
        query=(*PAGE, ORDER_STATE, SALES_CURRENCY, *PLACED),
        answer=SalePage,
        problems=(
            "400 cursor_malformed",
            "400 instant_malformed",
            "400 unknown_asset",
            "400 unknown_state",
            "403 role_required",
        ),
    ),
    PublicRoute(
        method="get",
        path="/api/v1/sales/summary",
        operation_id="sumSales",
        tag="selling",
        summary="What the caller was paid in one currency, and what is due; role merchant.",
        query=(CURRENCY, *PLACED),
        answer=SalesSummary,
        problems=("400 instant_malformed", "400 too_many_sales", "400 unknown_asset", "403 role_required"),
    ),
    PublicRoute(
        method="get",
        path="/api/v1/sellers/{seller_id}/fee",
        operation_id="getSellerFee",
        tag="selling",
        summary="What the platform keeps of a seller's new sales: for them, and for operators.",
        answer=SellerFee,
        problems=("404 seller_not_found",),
    ),
    PublicRoute(
        method="put",
        path="/api/v1/sellers/{seller_id}/fee",
        operation_id="setSellerFee",
        tag="selling",
        summary="Set a seller's fee; role operator. Orders keep the fee that they were placed with.",
        body=NewSellerFee,
        answer=SellerFee,
        problems=("400 invalid_fee", "403 role_required", "404 seller_not_found"),
    ),
    PublicRoute(
        method="get",
        path="/api/v1/webhooks",
        operation_id="listWebhooks",
        tag="webhooks",
        summary="The caller's webhook endpoints; role merchant.",
        answer=Webhooks,
        problems=("403 role_required",),
    ),
    PublicRoute(
        method="post",
        path="/api/v1/webhooks",
        operation_id="registerWebhook",
        tag="webhooks",
        summary="Be told what happens to the orders that the caller sells in; the secret is shown this once.",
        body=NewWebhook,
        answer=WebhookWithSecret,
        status=201,
        problems=("400 invalid_url", "403 role_required", "422 too_many_endpoints"),
    ),
    PublicRoute(
        method="delete",
        path="/api/v1/webhooks/{endpoint_id}",
        operation_id="removeWebhook",
        tag="webhooks",
        summary="End an endpoint; what is on its way to it isn't sent any more.",
        answer=None,
        status=204,
        problems=_NOT_YOURS,
    ),
    PublicRoute(
        method="post",
        path="/api/v1/webhooks/{endpoint_id}/secret",
        operation_id="rotateWebhookSecret",
        tag="webhooks",
        summary="Make a new secret; messages are signed with the old one too for a day.",
        answer=WebhookWithSecret,
        status=201,
        problems=_NOT_YOURS,
    ),
    PublicRoute(
        method="get",
        path="/api/v1/webhooks/{endpoint_id}/deliveries",
        operation_id="listDeliveries",
        tag="webhooks",
        summary="What was sent to an endpoint, or waits for it, newest first.",
        query=(*PAGE, DELIVERY_STATE),
        answer=WebhookDeliveryPage,
        problems=("400 cursor_malformed", "400 unknown_state", *_NOT_YOURS),
    ),
    PublicRoute(
        method="post",
        path="/api/v1/webhooks/{endpoint_id}/redrive",
        operation_id="redriveDeliveries",
        tag="webhooks",
        summary="Try dead deliveries again: all of an endpoint, up to 1,000 a call, or one.",
        query=(MESSAGE,),
        answer=WebhooksRedriven,
        problems=(*_NOT_YOURS, "404 delivery_not_found"),
    ),
)
"""What merchants see and set beside their products."""

MERCHANT_BODIES = (
    SalePage,
    SalesSummary,
    NewSellerFee,
    SellerFee,
    Webhooks,
    WebhookWithSecret,
    NewWebhook,
    WebhookDeliveryPage,
    WebhooksRedriven,
)
"""All that these routes take and answer."""
