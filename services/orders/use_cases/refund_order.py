"""Refund an order: some pieces of some lines, an amount without any piece, or all that is left."""

from dataclasses import dataclass
from datetime import datetime
from functools import partial
from uuid import UUID

from services.money import Money
from services.orders.domain import mover
from services.orders.domain.actor import Actor
from services.orders.domain.order import Order
from services.orders.domain.order_state import OrderState, check_move
from services.orders.domain.refund import amounts_of, everything_left, plan_refund, quantities_of, spread
from services.orders.domain.request_key import KeyState, Operation, RequestKey, fingerprint_of
from services.orders.domain.terms import Terms
from services.orders.ports import Ledger, Rows, Store
from services.orders.use_cases.once import (
    Answer,
    check_not_busy,
    claim,
    kept,
    lease_given_back,
    refuse,
    surely_begun,
    unless_refused,
)
from services.orders.use_cases.undo_order import refusal_of, undo_order
from services.runtime.clock import Clock
from services.runtime.errors import NotFoundError
from services.runtime.ids import new_id


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundOrder:
    """Who refunds what: pieces of lines, amounts for lines, an amount for the order, or all that is left.

    `lines` are (line number, quantity) pairs, `line_amounts` (line number, amount) pairs. A seller's "all that is
    left", and what an amount for the order is spread over, are the seller's own lines.
    """

    actor: Actor
    order_id: UUID
    idempotency_key: str
    lines: tuple[tuple[int, int], ...] | None
    line_amounts: tuple[tuple[int, Money], ...] = ()
    amount: Money | None = None

    @property
    def request(self) -> RequestKey:
        """The key and what it stands for."""
        content: dict[str, object] = {"order_id": str(self.order_id)}
        content["lines"] = None if self.lines is None else [list(pair) for pair in self.lines]
        if self.line_amounts:
            content["line_amounts"] = [[number, *_words(amount)] for number, amount in self.line_amounts]
        if self.amount is not None:
            content["amount"] = _words(self.amount)
        return RequestKey(
            user_id=self.actor.user_id,
            key=self.idempotency_key,
            operation=Operation.REFUND,
            fingerprint=fingerprint_of(content),
        )


async def refund_order(wanted: RefundOrder, *, store: Store, ledger: Ledger, clock: Clock, terms: Terms) -> Answer:
    """Give money back and take the goods into stock: PARTIALLY_REFUNDED, or REFUNDED when nothing is left.

    Raises:
        InvalidArgumentError: `unknown_line`, `duplicate_line`, `invalid_quantity`, `invalid_amount`,
            `currency_mismatch`.
        NotFoundError: `order_not_found`: absent, or somebody else's.
        ForbiddenError: Neither an operator nor the seller of all these lines.
        RefusedError: `illegal_transition`, `exceeds_captured`; or the ledger's reason: the order is where it was.
        ConflictError: `order_busy`, `request_in_flight`; `idempotency_key_reused`.
        UnavailableError: The ledger is away. The order stays REFUNDING, and the same key or the reconciler goes on.
    """
    holder = new_id()
    begun, refund_id = await surely_begun(partial(_begin, wanted, holder=holder, store=store, clock=clock, terms=terms))
    if begun.replayed:
        return begun
    async with lease_given_back(wanted.request, holder=holder, store=store, clock=clock):
        await undo_order(wanted.order_id, store=store, ledger=ledger, clock=clock, by=mover.user(wanted.actor.user_id))
        return await _answer(wanted, refund_id, store=store)


async def _begin(wanted: RefundOrder, *, holder: UUID, store: Store, clock: Clock, terms: Terms) -> tuple[Answer, UUID]:
    refund_id = new_id()
    async with store.transaction() as rows:
        order = wanted.actor.see(await rows.orders.find(wanted.order_id))
        wanted.actor.check_refunds(order)
        now = clock.now()
        earlier = await claim(
            rows, wanted.request, holder=holder, order_id=order.order_id, refund_id=refund_id, now=now, terms=terms
        )
        if earlier is not None:
            return Answer(order=order, replayed=earlier.state is KeyState.DONE), earlier.refund_id or refund_id
        outcome = await kept(rows, wanted.request, _begin_refunding(rows, wanted, order, refund_id, now))
    return Answer(order=unless_refused(outcome)), refund_id


async def _begin_refunding(rows: Rows, wanted: RefundOrder, order: Order, refund_id: UUID, now: datetime) -> Order:
    actor = wanted.actor
    named = [number for number, _ in (*(wanted.lines or ()), *wanted.line_amounts)]
    actor.check_refunds_lines(tuple(order.line(number) for number in named))
    check_not_busy(order)
    check_move(order.state, OrderState.REFUNDING)
    quantities, amounts_minor = _what(wanted, order)
    refund = plan_refund(
        order,
        quantities,
        amounts_minor=amounts_minor,
        refund_id=refund_id,
        requested_by=actor.user_id,
        now=now,
    )
    order = order.begin_refunding(now)
    await rows.refunds.add(refund)
    await rows.orders.save(order, by=mover.user(actor.user_id))
    return order


def _what(wanted: RefundOrder, order: Order) -> tuple[dict[int, int], dict[int, int]]:
    """Tell how many pieces of which lines come back, and what goes back for lines without any."""
    own = None if wanted.actor.is_operator else wanted.actor.user_id
    if wanted.amount is not None:
        return {}, spread(order, wanted.amount, seller_id=own)
    if wanted.lines is None and not wanted.line_amounts:
        return everything_left(order, seller_id=own), {}
    return quantities_of(wanted.lines or ()), amounts_of(wanted.line_amounts, order)


def _words(amount: Money) -> list[object]:
    return [amount.amount_minor, amount.currency]


async def _answer(wanted: RefundOrder, refund_id: UUID, *, store: Store) -> Answer:
    async with store.transaction() as rows:
        order = wanted.actor.see(await rows.orders.find(wanted.order_id))
        refund = await rows.refunds.find(refund_id)
        if refund is None:
            raise NotFoundError("There is no such refund.", reason="refund_not_found")
        refusal = refusal_of(refund, actor=wanted.actor)
        if refusal is None:
            await rows.keys.finish(wanted.request)
        else:
            await refuse(rows, wanted.request, refusal)
    return Answer(order=unless_refused(refusal or order))
