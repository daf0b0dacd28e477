"""The HTTP door for who sells: their sales and what is due to them, and what the platform keeps of them."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from litestar import get, put
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import Struct

from services.money_json import MoneyBody
from services.orders.domain.earnings import Earnings
from services.orders.inbound.commerce import Commerce
from services.orders.inbound.http_bodies import PageBody, cursor_of
from services.orders.inbound.requests import (
    ITEMS_A_PAGE,
    Cursor,
    Limit,
    actor_of,
    currency_of,
    instant_of,
    order_cursor_of,
    seller_id_of,
    state_of,
)
from services.orders.use_cases.set_seller_fee import SetSellerFee, set_seller_fee, show_seller_fee
from services.orders.use_cases.show_sales import Earned, show_sales, sum_sales
from services.runtime.http_auth import Caller, require_roles

TAGS = ["selling"]
"""The group in the API's description."""

MERCHANTS = [require_roles("merchant")]

Currency = Annotated[str, QueryParameter(description="Only in this currency.", max_length=16)]
TheCurrency = Annotated[str, QueryParameter(name="currency", description="Of which currency.", max_length=16)]
From = Annotated[str, QueryParameter(description="Placed at this instant or later (RFC 3339).", max_length=40)]
Until = Annotated[str, QueryParameter(description="Placed before this instant (RFC 3339).", max_length=40)]
State = Annotated[str, QueryParameter(name="state", description="Only sales in this state.")]
"""The type of a parameter `wanted_state`: Litestar keeps the name `state` for itself."""


class SaleBody(Struct, frozen=True, kw_only=True):
    """What you sold in one order; `net` is what you have of it once it `is_paid`."""

    order_id: UUID
    state: str
    is_paid: bool
    gross: MoneyBody
    refunded: MoneyBody
    fee: MoneyBody
    net: MoneyBody
    fee_basis_points: int
    placed_at: datetime
    moved_at: datetime


class EarningsBody(Struct, frozen=True, kw_only=True):
    """Sums of sales: net = gross - refunded - fee."""

    sales: int
    gross: MoneyBody
    refunded: MoneyBody
    fee: MoneyBody
    net: MoneyBody


class SummaryBody(Struct, frozen=True, kw_only=True):
    """What you were paid, and what is held for you and not paid yet."""

    currency: str
    paid: EarningsBody
    due: EarningsBody


class NewFeeBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A fee in basis points: 250 are 2.5 %."""

    fee_basis_points: int


class FeeBody(Struct, frozen=True, kw_only=True):
    """What the platform keeps of a seller's new sales; `changed_at` is null where the platform's own fee applies."""

    seller_id: UUID
    fee_basis_points: int
    changed_at: datetime | None


def selling_routes(commerce: Commerce) -> list[BaseRouteHandler]:
    """Make the routes."""
    return [*_sale_routes(commerce), *_fee_routes(commerce)]


def _sale_routes(commerce: Commerce) -> list[BaseRouteHandler]:
    @get("/api/v1/sales", operation_id="listSales", tags=TAGS, guards=MERCHANTS)
    async def list_sales(
        principal: Caller,
        cursor: Cursor = "",
        limit: Limit = ITEMS_A_PAGE,
        wanted_state: State = "",
        currency: Currency = "",
        placed_from: From = "",
        placed_until: Until = "",
    ) -> PageBody[SaleBody]:
        """List what you sold, newest first: by default what is paid or due, and not what came to nothing."""
        part = await show_sales(
            seller_id=actor_of(principal).user_id,
            state=state_of(wanted_state),
            currency=currency_of(currency) if currency else "",
            placed_from=instant_of(placed_from),
            placed_until=instant_of(placed_until),
            before=order_cursor_of(cursor),
            sales_max=limit,
            reads=commerce.selling,
        )
        return PageBody(items=[_sale_body(sale) for sale in part.items], next_cursor=cursor_of(part))

    @get("/api/v1/sales/summary", operation_id="sumSales", tags=TAGS, guards=MERCHANTS)
    async def summary(
        principal: Caller, currency: TheCurrency, placed_from: From = "", placed_until: Until = ""
    ) -> SummaryBody:
        """Sum what you sold in one currency: what was paid, and what is due."""
        sums = await sum_sales(
            seller_id=actor_of(principal).user_id,
            currency=currency_of(currency),
            placed_from=instant_of(placed_from),
            placed_until=instant_of(placed_until),
            reads=commerce.selling,
        )
        return SummaryBody(
            currency=currency, paid=_earnings_body(sums.paid, currency), due=_earnings_body(sums.due, currency)
        )

    return [list_sales, summary]


def _fee_routes(commerce: Commerce) -> list[BaseRouteHandler]:
    store, clock = commerce.store, commerce.clock

    @get("/api/v1/sellers/{seller_id:str}/fee", operation_id="getSellerFee", tags=TAGS)
    async def get_fee(principal: Caller, seller_id: FromPath[str]) -> FeeBody:
        """Show what the platform keeps of a seller's new sales: to them, and to operators."""
        whose = seller_id_of(seller_id)
        fee = await show_seller_fee(whose, actor=actor_of(principal), store=store)
        if fee is None:
            return FeeBody(seller_id=whose, fee_basis_points=commerce.terms.fee_basis_points, changed_at=None)
        return FeeBody(seller_id=whose, fee_basis_points=fee.fee_basis_points, changed_at=fee.changed_at)

    @put(
        "/api/v1/sellers/{seller_id:str}/fee",
        operation_id="setSellerFee",
        tags=TAGS,
        guards=[require_roles("operator")],
    )
    async def set_fee(principal: Caller, seller_id: FromPath[str], data: JSONBody[NewFeeBody]) -> FeeBody:
        """Set what the platform keeps of a seller's sales; orders keep the fee that they were placed with."""
        wanted = SetSellerFee(
            actor=actor_of(principal), seller_id=seller_id_of(seller_id), fee_basis_points=data.fee_basis_points
        )
        fee = await set_seller_fee(wanted, store=store, clock=clock)
        return FeeBody(seller_id=fee.seller_id, fee_basis_points=fee.fee_basis_points, changed_at=fee.changed_at)

    return [get_fee, set_fee]


def _sale_body(one: Earned) -> SaleBody:
    sale, sums = one.sale, _earnings_body(one.earnings, one.sale.currency)
    return SaleBody(
        order_id=sale.order_id,
        state=sale.state,
        is_paid=one.is_paid,
        gross=sums.gross,
        refunded=sums.refunded,
        fee=sums.fee,
        net=sums.net,
        fee_basis_points=sale.fee_basis_points,
        placed_at=sale.placed_at,
        moved_at=sale.moved_at,
    )


def _earnings_body(earnings: Earnings, currency: str) -> EarningsBody:
    return EarningsBody(
        sales=earnings.sales,
        gross=MoneyBody(earnings.gross_minor, currency),
        refunded=MoneyBody(earnings.refunded_minor, currency),
        fee=MoneyBody(earnings.fee_minor, currency),
        net=MoneyBody(earnings.net_minor, currency),
    )
