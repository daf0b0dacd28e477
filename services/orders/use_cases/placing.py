"""The two transactions of placing an order: the beginning, before the ledger is asked, and the going on, after it.

`PlacingAlone` runs each for one order; `placing_together` runs them for all orders that come at the same time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Protocol
from uuid import UUID

from services.money import Money
from services.orders.domain import mover
from services.orders.domain.hold import Hold, HoldState
from services.orders.domain.order import CaptureMode, Order, begin_order
from services.orders.domain.order_state import OrderState
from services.orders.domain.product import Product, UnknownSkuError
from services.orders.domain.request_key import KeyState, Operation, RequestKey, fingerprint_of
from services.orders.domain.terms import Terms
from services.orders.domain.wish import Wish
from services.orders.ports import Rows, Store
from services.orders.use_cases.once import Answer, claim, kept, surely_begun, unless_refused
from services.runtime.clock import Clock
from services.runtime.errors import NotFoundError
from services.runtime.ids import new_id


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceOrder:
    """Who wants what; `buyer_token` proves to the ledger that the buyer agrees. It is never stored."""

    buyer_id: UUID
    buyer_token: str = field(repr=False)
    idempotency_key: str
    wishes: tuple[Wish, ...]
    capture: CaptureMode
    expected_total: Money | None = None
    """What the buyer was shown; None: whatever it costs."""

    @property
    def request(self) -> RequestKey:
        """The key and what it stands for."""
        lines = [[wish.sku, wish.quantity] for wish in self.wishes]
        content: dict[str, Any] = {"lines": lines, "capture": self.capture.value}
        # Left out where nobody said it: so a key that older code wrote goes on to stand for the same request.
        if self.expected_total is not None:
            content["expected_total"] = [self.expected_total.amount_minor, self.expected_total.currency]
        return RequestKey(
            user_id=self.buyer_id,
            key=self.idempotency_key,
            operation=Operation.PLACE,
            fingerprint=fingerprint_of(content),
        )


class Placing(Protocol):
    """The transactions of `place_order`."""

    async def begin(self, wanted: PlaceOrder, *, holder: UUID) -> Answer:
        """Write the key, the PENDING order and the stock, or find what an earlier request, or this one, wrote.

        Raises:
            RejectedError: What `place_order` raises before the ledger is asked.
        """
        ...

    async def go_on(self, wanted: PlaceOrder, order: Order, hold: Hold) -> Answer:
        """The money is held: move on, unless somebody cancelled or the time ran out meanwhile."""
        ...


class PlacingAlone:
    """Fits `Placing`: a commit for each step of each order."""

    def __init__(self, *, store: Store, clock: Clock, terms: Terms) -> None:
        """Work on a store."""
        self._store = store
        self._clock = clock
        self._terms = terms

    async def begin(self, wanted: PlaceOrder, *, holder: UUID) -> Answer:
        """Write the key, the PENDING order and the stock in one transaction, or find what an earlier request wrote."""
        return await surely_begun(partial(self._begin, wanted, holder))

    async def go_on(self, wanted: PlaceOrder, order: Order, hold: Hold) -> Answer:
        """The money is held: move on, unless somebody cancelled or the time ran out meanwhile."""
        async with self._store.transaction() as rows:
            current = await rows.orders.find(order.order_id) or order
            if current.state is OrderState.PENDING:
                current = await accept_hold(rows, current, hold, self._clock.now(), by=mover.user(wanted.buyer_id))
            await rows.keys.finish(wanted.request)
        return Answer(order=current)

    async def _begin(self, wanted: PlaceOrder, holder: UUID) -> Answer:
        order_id = new_id()
        async with self._store.transaction() as rows:
            now = self._clock.now()
            earlier = await claim(rows, wanted.request, holder=holder, order_id=order_id, now=now, terms=self._terms)
            if earlier is not None:
                order = await rows.orders.find(earlier.order_id)
                if order is None:
                    raise NotFoundError("There is no such order.", reason="order_not_found")
                return Answer(order=order, replayed=earlier.state is KeyState.DONE)
            outcome = await kept(rows, wanted.request, self._add_order(rows, wanted, order_id, now=now))
        return Answer(order=unless_refused(outcome))

    async def _add_order(self, rows: Rows, wanted: PlaceOrder, order_id: UUID, *, now: datetime) -> Order:
        products = await rows.products.find_all([wish.sku for wish in wanted.wishes])
        order, _ = new_order(wanted, products, order_id=order_id, now=now, terms=self._terms)
        await rows.products.move_stock({sku: -quantity for sku, quantity in order.stock_set_aside().items()})
        await rows.orders.add(order, by=mover.user(wanted.buyer_id))
        return order


def new_order(
    wanted: PlaceOrder, products: Mapping[str, Product], *, order_id: UUID, now: datetime, terms: Terms
) -> tuple[Order, Mapping[str, Product]]:
    """Make a PENDING order of what is for sale, and tell what is left of that.

    Raises:
        InvalidArgumentError: Mixed currencies, too large a total, too many sellers.
        RefusedError: `unknown_sku`, `out_of_stock`, `total_changed`.
    """
    left: dict[str, Product] = {}
    lines = []
    for line_number, wish in enumerate(wanted.wishes, start=1):
        product = products.get(wish.sku)
        if product is None:
            raise UnknownSkuError("Nobody sells this product.", details={"sku": wish.sku})
        left[wish.sku] = product.take(wish.quantity)
        lines.append(product.line(line_number, wish.quantity))
    order = begin_order(
        order_id=order_id,
        buyer_id=wanted.buyer_id,
        capture=wanted.capture,
        lines=lines,
        fee_basis_points=terms.fee_basis_points,
        now=now,
        expires_at=now + terms.order_lifetime,
    )
    if wanted.expected_total is not None:
        order.check_total(wanted.expected_total)
    return order, left


async def accept_hold(rows: Rows, order: Order, hold: Hold, now: datetime, *, by: str) -> Order:
    """Write down that the ledger holds a PENDING order's money, and confirm it where that needs nobody."""
    order = order.reserve(now)
    if order.capture is CaptureMode.AUTOMATIC and hold.state is not HoldState.OPEN:
        order = order.confirm(now)
        rows.events.order_confirmed(order, now)
    await rows.orders.save(order, by=by, journal_sequence=hold.journal_sequence)
    return order
