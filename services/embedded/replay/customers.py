"""One customer's orders and refunds, in the order of time, each of them once however often this runs."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import UUID

from services.embedded.client import TradeFlowClient
from services.embedded.public_api import Order, Rejection
from services.embedded.replay.keys import email_of, idempotency_key, password_of
from services.embedded.replay.memory import Memory
from services.embedded.replay.orders import OrderKey, PlannedOrder
from services.embedded.replay.plan import CustomerPlan
from services.embedded.replay.returns import PlannedRefund, RefundKey
from services.embedded.replay.shop import Credentials, ReplayFailedError, Shop, register
from services.runtime.errors import (
    ConflictError,
    ForbiddenError,
    NotFoundError,
    RateLimitedError,
    RejectedError,
    UnauthenticatedError,
)

PLACINGS_MAX = 20
"""How often an order is placed anew because the one before ran out of time while nobody was there to finish it."""

NOTE_CHARACTERS_MAX = 100
"""Of a deposit's note."""

FAILURES = (ConflictError, ForbiddenError, NotFoundError, RateLimitedError, UnauthenticatedError)
"""Rejections that say something about the run or the platform, not about the order."""

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What all customers of a run share."""

    run_id: str
    shop: Shop
    visitor: TradeFlowClient
    """Signed out; each customer is made from it."""
    secret: bytes = field(repr=False)
    memory: Memory
    known_orders: Mapping[UUID, Order]
    """The remembered orders, as the platform had them when the run began."""
    orders: dict[OrderKey, UUID | Rejection]
    """What became of each order so far."""
    refunds_refused: dict[RefundKey, Rejection]
    step_done: Callable[[], None]


async def serve_customer(plan: CustomerPlan, run: Run) -> None:
    """Take a customer through all that the file says of them."""
    email = email_of(plan.customer)
    customer = _once(lambda: _signed_in(email, run))
    for step in plan.steps:
        if isinstance(step, PlannedOrder):
            run.orders[step.key] = _remembered(step, run) or await _place(step, email, customer, run)
        else:
            await _give_back(step, run)
        run.step_done()


def order_key(run_id: str, key: OrderKey) -> str:
    """Name the placing of an order, under which it is remembered."""
    return idempotency_key(run_id, "order", key.invoice, key.customer, str(key.part))


def _remembered(order: PlannedOrder, run: Run) -> UUID | None:
    order_id = run.memory.orders.get(order_key(run.run_id, order.key))
    return order_id if order_id in run.known_orders else None


async def _place(
    order: PlannedOrder, email: str, customer: Callable[[], Awaitable[TradeFlowClient]], run: Run
) -> UUID | Rejection:
    """Bring the money and place the order; what the platform refuses for good is an answer too."""
    buyer = await customer()
    key = order_key(run.run_id, order.key)
    deposit = run.shop.treasury.deposit(email, order.total, _note(order), idempotency_key=f"{key}:deposit")
    if isinstance(refused := await _answer(deposit), Rejection):
        return refused
    quantities = {line.sku: line.quantity for line in order.lines}
    for placing in range(1, PLACINGS_MAX + 1):
        # The wallet may hold more than this order's money: a price that has changed meanwhile would be paid.
        placed = await _answer(
            buyer.place_order(quantities, expected_total=order.total, idempotency_key=f"{key}:{placing}")
        )
        if isinstance(placed, Rejection):
            return placed
        if placed.state == "EXPIRING":
            placed = await run.shop.order_when_final(placed.order_id)
        # A run that was killed may leave an order that expired before anybody came back; its money is free again.
        if placed.state != "EXPIRED":
            run.memory.order_placed(key, placed.order_id)
            return placed.order_id
    message = f"order {order.key} expired {PLACINGS_MAX} times before the platform confirmed it"
    raise ReplayFailedError(message, reason="order_expired")


async def _give_back(refund: PlannedRefund, run: Run) -> None:
    """Refund what a return takes from one order, once that order is settled."""
    order_id = run.orders[refund.order]
    if isinstance(order_id, Rejection) or _is_given_back(refund, run.known_orders.get(order_id)):
        return
    order = await run.shop.order_when_final(order_id)
    if not order.captured.amount_minor:
        return
    key = refund.key
    names = (key.invoice, key.customer, key.order.invoice, key.order.customer, str(key.order.part))
    call_key = idempotency_key(run.run_id, "refund", *names)
    answer = await _answer(run.shop.retailer.refund(order_id, refund.quantities, idempotency_key=call_key))
    if isinstance(answer, Rejection):
        run.refunds_refused[key] = answer


async def _answer(call: Awaitable[Answer]) -> Answer | Rejection:
    """Take what the platform refuses for good as an answer."""
    try:
        return await call
    except FAILURES:
        raise
    except RejectedError as error:
        return Rejection(reason=error.reason, message=error.message)


def _is_given_back(refund: PlannedRefund, order: Order | None) -> bool:
    """Tell whether nothing is left of the lines that are to be given back: then this refund has happened before."""
    if order is None:
        return False
    left = {line.line_number: line.quantity - line.refunded_quantity for line in order.lines}
    return not any(left[line_number] for line_number in refund.quantities)


async def _signed_in(email: str, run: Run) -> TradeFlowClient:
    who = Credentials(email=email, password=password_of(run.secret, email))
    client = run.visitor.another()
    if email in run.memory.customers:
        with suppress(UnauthenticatedError):
            await client.login(who.email, who.password)
            return client
    await register(client, who, "buyer")
    run.memory.customer_registered(email)
    try:
        await client.login(who.email, who.password)
    except UnauthenticatedError as error:
        message = f"{email} is known with another password: was the replay's secret in the data folder lost?"
        raise ReplayFailedError(message, reason=error.reason) from error
    return client


def _once(make: Callable[[], Awaitable[TradeFlowClient]]) -> Callable[[], Awaitable[TradeFlowClient]]:
    """Make something when it is first asked for: a customer whose orders are all remembered need not sign in."""
    made: list[TradeFlowClient] = []

    async def get() -> TradeFlowClient:
        if not made:
            made.append(await make())
        return made[0]

    return get


def _note(order: PlannedOrder) -> str:
    country = order.lines[0].rows[0].country
    return f"Invoice {order.key.invoice}{', ' if country else ''}{country}"[:NOTE_CHARACTERS_MAX]
