"""Place an order: set the stock aside, hold the buyer's money, confirm.

The order is durable before the ledger is asked, and the hold has the order's id: whatever is lost on the way, the same
Idempotency-Key or the reconciler goes on from there.
"""

from services.orders.domain import mover
from services.orders.domain.order import Order, Rejection
from services.orders.domain.order_state import OrderState
from services.orders.domain.wish import check_wishes
from services.orders.ports import Ledger, Store
from services.orders.use_cases.once import Answer, lease_given_back, refuse
from services.orders.use_cases.placing import PlaceOrder, Placing
from services.runtime.clock import Clock
from services.runtime.errors import InvalidArgumentError, RefusedError, UnavailableError
from services.runtime.ids import new_id


async def place_order(wanted: PlaceOrder, *, placing: Placing, store: Store, ledger: Ledger, clock: Clock) -> Answer:
    """Place an order; with automatic capture it is CONFIRMED in the end, with manual capture RESERVED.

    Raises:
        InvalidArgumentError: Malformed lines, mixed currencies, too large a total.
        RefusedError: `unknown_sku`, `out_of_stock`, `total_changed`: there is no order; `insufficient_funds`: the order
            is REJECTED, and the details carry its `order_id`.
        ConflictError: `request_in_flight`; `idempotency_key_reused`.
        UnavailableError: The ledger is away. An order that was begun stays PENDING, and the same key finishes it; while
            calls on the ledger are held back (`ledger_unavailable`), none is begun.
    """
    check_wishes(wanted.wishes)
    await _check_can_begin(wanted, store=store, ledger=ledger)
    holder = new_id()
    begun = await placing.begin(wanted, holder=holder)
    if begun.replayed:
        return begun
    async with lease_given_back(wanted.request, holder=holder, store=store, clock=clock):
        if begun.order.state is not OrderState.PENDING:
            return await _answer(wanted, begun.order, store=store)
        try:
            hold = await ledger.reserve_funds(
                begun.order, buyer_token=wanted.buyer_token, expires_at=begun.order.hold_expires_at
            )
        except (RefusedError, InvalidArgumentError) as error:
            return await _reject(wanted, begun.order, _refusal(error, begun.order), store=store, clock=clock)
        return await placing.go_on(wanted, begun.order, hold)


async def _check_can_begin(wanted: PlaceOrder, *, store: Store, ledger: Ledger) -> None:
    """While the ledger is known to be away, begin nothing: it would keep stock from others until it expires.

    What an earlier request began, or was answered, has its answer as always.
    """
    try:
        ledger.check_there()
    except UnavailableError:
        async with store.transaction() as rows:
            is_known = await rows.keys.knows(wanted.request)
        if not is_known:
            raise


async def _reject(wanted: PlaceOrder, order: Order, refusal: RefusedError, *, store: Store, clock: Clock) -> Answer:
    """The ledger said no: give the stock back and keep the refusal.

    An order that was cancelled or ran out meanwhile is refused for that reason (its hold is void); it is the answer.
    One that was rejected meanwhile was so by another request with this key, as the lease ran out: both hear the same.
    """
    async with store.transaction() as rows:
        current = await rows.orders.find(order.order_id) or order
        if current.state is OrderState.PENDING:
            rejection = Rejection(reason=refusal.reason, message=refusal.message)
            await rows.orders.save(current.reject(rejection, clock.now()), by=mover.user(wanted.buyer_id))
            await rows.products.move_stock(current.stock_set_aside())
            await refuse(rows, wanted.request, refusal)
        elif current.state is not OrderState.REJECTED:
            await rows.keys.finish(wanted.request)
            return Answer(order=current)
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
