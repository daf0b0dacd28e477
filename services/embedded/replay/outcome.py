"""The plan and the platform's answers into what became of each row, and of the money."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from services.embedded.public_api import Order, Rejection
from services.embedded.replay.apply import Applied
from services.embedded.replay.orders import OrderKey, PlannedOrder
from services.embedded.replay.plan import Plan
from services.embedded.replay.rejects import Reason, Reject
from services.embedded.replay.returns import RefundKey, ReturnedRow
from services.embedded.replay.shop import ReplayFailedError
from services.money import Money


@dataclass(frozen=True, slots=True, kw_only=True)
class PartRefund:
    """A return of more pieces than the customer had."""

    row: int
    quantity_asked: int
    quantity_refunded: int

    @property
    def quantity_unmatched(self) -> int:
        """Count the pieces that no purchase was found for."""
        return self.quantity_asked - self.quantity_refunded


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Each row in exactly one of: settled, refunded, rejected."""

    rows_settled: frozenset[int]
    rows_refunded: frozenset[int]
    rejects: tuple[Reject, ...]
    """In the file's order."""
    part_refunds: tuple[PartRefund, ...]
    """Those among the refunded rows that went only as far as the purchases did."""
    orders_settled: int
    returns_refunded: int
    """Return invoices of which something was given back."""
    money_in: Money
    """What the customers paid."""
    money_out: Money
    """What they got back."""

    @property
    def rejected_by_reason(self) -> dict[Reason, int]:
        """Count the rejected rows, the most frequent reason first."""
        return dict(Counter(reject.reason for reject in self.rejects).most_common())


def make_outcome(plan: Plan, applied: Applied) -> Outcome:
    """Sum up a run.

    Raises:
        ReplayFailedError: The platform's orders don't say what the plan made of them.
    """
    refused = _orders_refused(applied.orders)
    settled = [order for order in plan.orders if order.key not in refused]
    quantities = {one.row.row: _quantity_given_back(one, refused, applied) for one in plan.returned}
    refunded = [one for one in plan.returned if quantities[one.row.row]]
    _check_orders(plan, settled, applied)
    rejects = [*plan.rejects, *_rejects_by_platform(plan, refused, quantities, applied)]
    outcome = Outcome(
        rows_settled=frozenset(row.row for order in settled for row in order.rows),
        rows_refunded=frozenset(one.row.row for one in refunded),
        rejects=tuple(sorted(rejects, key=lambda reject: reject.row)),
        part_refunds=tuple(_part_refunds(refunded, quantities)),
        orders_settled=len(settled),
        returns_refunded=len({(one.row.invoice, one.row.customer) for one in refunded}),
        money_in=_sum(plan, (_order(applied, order.key).captured for order in settled)),
        money_out=_sum(plan, (_order(applied, order.key).refunded for order in settled)),
    )
    _check_rows(plan, outcome)
    return outcome


def _orders_refused(orders: Mapping[OrderKey, Order | Rejection]) -> dict[OrderKey, Rejection]:
    refused: dict[OrderKey, Rejection] = {}
    for key, order in orders.items():
        if isinstance(order, Rejection):
            refused[key] = order
        elif not order.captured.amount_minor:
            refused[key] = order.rejection or Rejection(reason=order.state.lower(), message="it was not paid")
    return refused


def _quantity_given_back(one: ReturnedRow, refused: Mapping[OrderKey, Rejection], applied: Applied) -> int:
    return sum(
        take.quantity
        for take in one.takes
        if take.order not in refused and _refund_key(one, take.order) not in applied.refunds_refused
    )


def _check_orders(plan: Plan, settled: Iterable[PlannedOrder], applied: Applied) -> None:
    """Compare each order of the platform with the plan, to the minor unit and to the piece."""
    refunds: dict[OrderKey, Counter[int]] = {}
    for refund in plan.refunds:
        if refund.key not in applied.refunds_refused:
            refunds.setdefault(refund.order, Counter()).update(refund.quantities)
    for planned in settled:
        order, back = _order(applied, planned.key), refunds.get(planned.key, Counter())
        wanted = [(line.sku, line.quantity, back[line.line_number]) for line in planned.lines]
        there = [(line.sku, line.quantity, line.refunded_quantity) for line in order.lines]
        back_minor = sum(line.price.amount_minor * back[line.line_number] for line in planned.lines)
        money = (planned.total, Money(back_minor, plan.currency))
        if (wanted, *money) != (there, order.captured, order.refunded):
            message = f"order {order.order_id} of invoice {planned.key.invoice} is not as the file has it: {order}"
            raise ReplayFailedError(message, reason="order_differs")


def _rejects_by_platform(
    plan: Plan, refused: Mapping[OrderKey, Rejection], quantities: Mapping[int, int], applied: Applied
) -> Iterable[Reject]:
    for order in plan.orders:
        if order.key in refused:
            for row in order.rows:
                yield _reject(row.row, refused[order.key])
    for one in plan.returned:
        if not quantities[one.row.row]:
            keys = (_refund_key(one, take.order) for take in one.takes)
            first = next((applied.refunds_refused[key] for key in keys if key in applied.refunds_refused), None)
            yield _reject(one.row.row, first or refused[one.takes[0].order])


def _part_refunds(refunded: Iterable[ReturnedRow], quantities: Mapping[int, int]) -> Iterable[PartRefund]:
    for one in refunded:
        given_back = quantities[one.row.row]
        if given_back < one.row.quantity:
            yield PartRefund(row=one.row.row, quantity_asked=one.row.quantity, quantity_refunded=given_back)


def _check_rows(plan: Plan, outcome: Outcome) -> None:
    """Count every row once: anything else is a bug of the replay's own."""
    rejected = {reject.row for reject in outcome.rejects}
    places = len(outcome.rows_settled) + len(outcome.rows_refunded) + len(outcome.rejects)
    everywhere = outcome.rows_settled | outcome.rows_refunded | rejected
    if not places == len(everywhere) == plan.rows_read:
        raise RuntimeError(f"{plan.rows_read} rows were read, {places} places were given, {len(everywhere)} to one row")


def _reject(row: int, rejection: Rejection) -> Reject:
    message = f"{rejection.reason}: {rejection.message}"
    changed = rejection.reason == Reason.TOTAL_CHANGED
    return Reject(row=row, reason=Reason.TOTAL_CHANGED if changed else Reason.REFUSED_BY_PLATFORM, message=message)


def _refund_key(one: ReturnedRow, order: OrderKey) -> RefundKey:
    return RefundKey(invoice=one.row.invoice, customer=one.row.customer, order=order)


def _order(applied: Applied, key: OrderKey) -> Order:
    order = applied.orders[key]
    if isinstance(order, Rejection):
        raise TypeError(f"order {key} was refused, not settled")
    return order


def _sum(plan: Plan, amounts: Iterable[Money]) -> Money:
    return Money(sum(amount.amount_minor for amount in amounts), plan.currency)
