"""Place an order: set the stock aside, hold the buyer's money, confirm.

The order is durable before the ledger is asked, and the hold has the order's id: whatever is lost on the way, the same
Idempotency-Key or the reconciler goes on from there.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.orders.domain.hold import Hold, HoldState
from services.orders.domain.order import CaptureMode, Order, Rejection, begin_order
from services.orders.domain.order_state import OrderState
from services.orders.domain.product import UnknownSkuError
from services.orders.domain.request_key import KeyState, Operation, RequestKey, fingerprint_of
from services.orders.domain.terms import Terms
from services.orders.domain.wish import Wish, check_wishes
from services.orders.ports import Ledger, Rows, Store
from services.orders.use_cases.once import Answer, claim, kept, lease_given_back, refuse, unless_refused
from services.runtime.clock import Clock
from services.runtime.errors import InvalidArgumentError, NotFoundError, RefusedError
from services.runtime.ids import new_id


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceOrder:
    """Who wants what; `buyer_token` proves to the ledger that the buyer agrees. It is never stored."""

    buyer_id: UUID
    buyer_token: str
    idempotency_key: str
    wishes: tuple[Wish, ...]
    capture: CaptureMode

    @property
    def request(self) -> RequestKey:
        """The key and what it stands for."""
        lines = [[wish.sku, wish.quantity] for wish in self.wishes]
        return RequestKey(
            user_id=self.buyer_id,
            key=self.idempotency_key,
            operation=Operation.PLACE,
            fingerprint=fingerprint_of({"lines": lines, "capture": self.capture.value}),
        )


async def place_order(wanted: PlaceOrder, *, store: Store, ledger: Ledger, clock: Clock, terms: Terms) -> Answer:
    """Place an order; with automatic capture it is CONFIRMED in the end, with manual capture RESERVED.

    Raises:
        InvalidArgumentError: Malformed lines, mixed currencies, too large a total.
        RefusedError: `unknown_sku`, `out_of_stock`: there is no order; `insufficient_funds`: the order is REJECTED, and
            the details carry its `order_id`.
        ConflictError: `request_in_flight`; `idempotency_key_reused`.
        UnavailableError: The ledger is away. The order stays PENDING, and the same key finishes it.
    """
    check_wishes(wanted.wishes)
    begun = await _set_stock_aside(wanted, store=store, clock=clock, terms=terms)
    if begun.replayed:
        return begun
    async with lease_given_back(wanted.request, store=store, clock=clock):
        if begun.order.state is not OrderState.PENDING:
            return await _answer(wanted, begun.order, store=store)
        try:
            hold = await ledger.reserve_funds(
                begun.order, buyer_token=wanted.buyer_token, expires_at=begun.order.hold_expires_at
            )
        except (RefusedError, InvalidArgumentError) as error:
            return await _reject(wanted, begun.order, _refusal(error, begun.order), store=store, clock=clock)
        return await _go_on(wanted, begun.order, hold, store=store, clock=clock)


async def accept_hold(rows: Rows, order: Order, hold: Hold, now: datetime) -> Order:
    """Write down that the ledger holds a PENDING order's money, and confirm it where that needs nobody."""
    order = order.reserve(now)
    if order.capture is CaptureMode.AUTOMATIC and hold.state is not HoldState.OPEN:
        order = order.confirm(now)
        rows.events.order_confirmed(order, now)
    await rows.orders.save(order)
    return order


async def _set_stock_aside(wanted: PlaceOrder, *, store: Store, clock: Clock, terms: Terms) -> Answer:
    """Write the key, the PENDING order and the stock in one transaction, or find what an earlier request wrote."""
    order_id = new_id()
    async with store.transaction() as rows:
        now = clock.now()
        earlier = await claim(rows, wanted.request, order_id=order_id, now=now, terms=terms)
        if earlier is not None:
            order = await rows.orders.find(earlier.order_id)
            if order is None:
                raise NotFoundError("There is no such order.", reason="order_not_found")
            return Answer(order=order, replayed=earlier.state is KeyState.DONE)
        outcome = await kept(rows, wanted.request, _begin(rows, wanted, order_id, now=now, terms=terms))
    return Answer(order=unless_refused(outcome))


async def _begin(rows: Rows, wanted: PlaceOrder, order_id: UUID, *, now: datetime, terms: Terms) -> Order:
    products = await rows.products.find_all([wish.sku for wish in wanted.wishes])
    lines = []
    for line_number, wish in enumerate(wanted.wishes, start=1):
        product = products.get(wish.sku)
        if product is None:
            raise UnknownSkuError("Nobody sells this product.", details={"sku": wish.sku})
        lines.append(product.take(wish.quantity).line(line_number, wish.quantity))
    order = begin_order(
        order_id=order_id,
        buyer_id=wanted.buyer_id,
        capture=wanted.capture,
        lines=lines,
        fee_basis_points=terms.fee_basis_points,
        now=now,
        expires_at=now + terms.order_lifetime,
    )
    await rows.products.move_stock({sku: -quantity for sku, quantity in order.stock_set_aside().items()})
    await rows.orders.add(order)
    return order


async def _go_on(wanted: PlaceOrder, order: Order, hold: Hold, *, store: Store, clock: Clock) -> Answer:
    """The money is held: move on, unless somebody cancelled or the time ran out meanwhile."""
    async with store.transaction() as rows:
        current = await rows.orders.find(order.order_id) or order
        if current.state is OrderState.PENDING:
            current = await accept_hold(rows, current, hold, clock.now())
        await rows.keys.finish(wanted.request)
    return Answer(order=current)


async def _reject(wanted: PlaceOrder, order: Order, refusal: RefusedError, *, store: Store, clock: Clock) -> Answer:
    """The ledger said no: give the stock back and keep the refusal.

    An order that was cancelled or ran out meanwhile is refused for that reason (its hold is void); it is the answer.
    """
    async with store.transaction() as rows:
        current = await rows.orders.find(order.order_id) or order
        if current.state is not OrderState.PENDING:
            await rows.keys.finish(wanted.request)
            return Answer(order=current)
        rejection = Rejection(reason=refusal.reason, message=refusal.message)
        await rows.orders.save(current.reject(rejection, clock.now()))
        await rows.products.move_stock(current.stock_set_aside())
        await refuse(rows, wanted.request, refusal)
    raise refusal


async def _answer(wanted: PlaceOrder, order: Order, *, store: Store) -> Answer:
    """An earlier request, or the reconciler, took the order past PENDING: that is the answer."""
    async with store.transaction() as rows:
        await rows.keys.finish(wanted.request)
    return Answer(order=order)


def _refusal(error: RefusedError | InvalidArgumentError, order: Order) -> RefusedError:
    """Say the ledger's no in the buyer's words: who never had any money has not enough of it."""
    reason = "insufficient_funds" if error.reason == "account_not_open" else error.reason
    return RefusedError(error.message, reason=reason, details={**error.details, "order_id": str(order.order_id)})
