"""A ledger in memory with the real one's answers: one key, one effect; holds, tombstones, captures, refunds."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from services.orders.domain.hold import Hold, HoldState
from services.orders.domain.order import CaptureMode, Order
from services.orders.domain.refund import Refund
from services.runtime.clock import Clock
from services.runtime.errors import NotFoundError, RefusedError, UnavailableError


class FakeLedger:
    """Fits the `Ledger` port of orders. Money is in one currency; wallets that nobody funded don't exist."""

    def __init__(self, clock: Clock) -> None:
        """Begin with no money at all."""
        self._clock = clock
        self.available: dict[UUID, int] = {}
        self.holds: dict[UUID, Hold] = {}
        self.wallet_of: dict[UUID, UUID] = {}
        self.expiries: dict[UUID, datetime] = {}
        self.sellers_gross: dict[tuple[UUID, UUID], int] = {}
        self.sellers_captured: dict[tuple[UUID, UUID], int] = {}
        self.refusals: dict[str, RefusedError] = {}
        self.done: set[str] = set()
        self.is_away = False
        self.is_known_to_be_away = False
        self.poor_sellers: set[UUID] = set()
        self.tokens: list[str] = []
        self.records = 0

    def check_there(self) -> None:
        if self.is_known_to_be_away:
            raise UnavailableError("The ledger is away.", reason="ledger_unavailable")

    async def reserve_funds(self, order: Order, *, buyer_token: str, expires_at: datetime) -> Hold:
        self._check_there()
        self.tokens.append(buyer_token)
        key = str(order.order_id)
        if key in self.refusals:
            raise self.refusals[key]
        if key in self.done:
            return self.holds[order.order_id]
        if order.order_id in self.holds:
            raise self._refuse(key, "hold_voided")
        if order.buyer_id not in self.available:
            raise RefusedError("No such account.", reason="account_not_open")
        if self.available[order.buyer_id] < order.total.amount_minor:
            raise self._refuse(key, "insufficient_funds")
        commit = order.capture is CaptureMode.AUTOMATIC
        self.available[order.buyer_id] -= order.total.amount_minor
        self.wallet_of[order.order_id] = order.buyer_id
        self.expiries[order.order_id] = expires_at
        self.done.add(key)
        self.holds[order.order_id] = Hold(
            hold_id=order.order_id,
            state=HoldState.COMMITTED if commit else HoldState.OPEN,
            held_minor=order.total.amount_minor,
            captured_minor=0,
            voided_minor=0,
            remaining_minor=order.total.amount_minor,
            refunded_minor=0,
            wallet_id=order.buyer_id,
            currency=order.total.currency,
            journal_sequence=self._next_record(),
        )
        return self.holds[order.order_id]

    async def commit_hold(self, order: Order) -> Hold:
        self._check_there()
        hold = self._hold(order.order_id)
        if hold.state is HoldState.OPEN and self._clock.now() >= self.expiries[order.order_id]:
            self._release(hold, HoldState.EXPIRED)
            raise RefusedError("The hold ran out.", reason="hold_expired")
        if not hold.holds_money:
            raise RefusedError("The hold is closed.", reason="hold_closed")
        if hold.state is HoldState.OPEN:
            hold = replace(hold, state=HoldState.COMMITTED, journal_sequence=self._next_record())
            self.holds[hold.hold_id] = hold
        return hold

    async def void_hold(self, order_id: UUID, *, buyer_id: UUID) -> Hold:
        self._check_there()
        hold = self.holds.get(order_id)
        if hold is None:
            self.holds[order_id] = Hold(
                hold_id=order_id,
                state=HoldState.TOMBSTONE,
                held_minor=0,
                captured_minor=0,
                voided_minor=0,
                remaining_minor=0,
                refunded_minor=0,
            )
            return self.holds[order_id]
        if hold.wallet_id not in {None, buyer_id}:
            raise UnavailableError("The hold belongs to another wallet.", reason="ledger_refuses_service")
        if hold.state is HoldState.CAPTURED:
            raise RefusedError("The hold is captured.", reason="hold_captured")
        if hold.holds_money:
            self._release(hold, HoldState.CAPTURED if hold.captured_minor else HoldState.VOIDED)
        return self.holds[order_id]

    async def refund_capture(self, order: Order, refund: Refund) -> Hold:
        self._check_there()
        key = f"order:{order.order_id}:refund:{refund.refund_id}"
        if key in self.refusals:
            raise self.refusals[key]
        hold = self._hold(order.order_id)
        if key in self.done:
            return hold
        for seller_id, gross_minor in refund.legs():
            if seller_id in self.poor_sellers:
                raise self._refuse(key, "insufficient_funds")
            if gross_minor > self.sellers_gross.get((order.order_id, seller_id), 0):
                raise self._refuse(key, "exceeds_capture")
        for seller_id, gross_minor in refund.legs():
            self.sellers_gross[order.order_id, seller_id] -= gross_minor
        self.available[order.buyer_id] += refund.amount.amount_minor
        self.done.add(key)
        self.holds[hold.hold_id] = replace(
            hold, refunded_minor=hold.refunded_minor + refund.amount.amount_minor, journal_sequence=self._next_record()
        )
        return self.holds[hold.hold_id]

    async def find_hold(self, order_id: UUID) -> Hold | None:
        self._check_there()
        hold = self.holds.get(order_id)
        return hold and replace(hold, refunded_by=self.refunded_by(order_id) or None)

    async def find_holds(self, order_ids: Sequence[UUID]) -> dict[UUID, Hold]:
        found = [await self.find_hold(order_id) for order_id in order_ids]
        return {hold.hold_id: hold for hold in found if hold is not None}

    def refunded_by(self, order_id: UUID) -> dict[UUID, int]:
        """Tell what each seller gave back of an order's capture."""
        return {
            key[1]: captured_minor - self.sellers_gross[key]
            for key, captured_minor in self.sellers_captured.items()
            if key[0] == order_id
        }

    def capture(self, order_id: UUID, amount_minor: int, allocations: dict[UUID, int]) -> Hold | None:
        """Settle, as the ledger does for OrderConfirmed; None when the hold is closed."""
        hold = self._hold(order_id)
        if not hold.holds_money:
            return None
        for seller_id, gross_minor in allocations.items():
            self.sellers_gross[order_id, seller_id] = gross_minor
            self.sellers_captured[order_id, seller_id] = gross_minor
        remaining_minor = hold.remaining_minor - amount_minor
        self.holds[order_id] = replace(
            hold,
            state=hold.state if remaining_minor else HoldState.CAPTURED,
            captured_minor=hold.captured_minor + amount_minor,
            remaining_minor=remaining_minor,
            journal_sequence=self._next_record(),
        )
        return self.holds[order_id]

    def reverse(self, order_id: UUID) -> Hold:
        """Give back all that was captured and not refunded, as the treasury's ReverseRecord does."""
        hold = self._hold(order_id)
        for key in [key for key in self.sellers_gross if key[0] == order_id]:
            self.sellers_gross[key] = 0
        self.available[self.wallet_of[order_id]] += hold.captured_minor - hold.refunded_minor
        self.holds[order_id] = replace(hold, refunded_minor=hold.captured_minor, journal_sequence=self._next_record())
        return self.holds[order_id]

    def _next_record(self) -> int:
        self.records += 1
        return self.records

    def _release(self, hold: Hold, state: HoldState) -> None:
        self.available[self.wallet_of[hold.hold_id]] += hold.remaining_minor
        self.holds[hold.hold_id] = replace(
            hold,
            state=state,
            voided_minor=hold.voided_minor + hold.remaining_minor,
            remaining_minor=0,
            journal_sequence=self._next_record(),
        )

    def _refuse(self, key: str, reason: str) -> RefusedError:
        self.refusals[key] = RefusedError("The ledger says no.", reason=reason)
        return self.refusals[key]

    def _hold(self, order_id: UUID) -> Hold:
        if order_id not in self.holds:
            raise NotFoundError("No such hold.", reason="hold_not_found")
        return self.holds[order_id]

    def _check_there(self) -> None:
        if self.is_away:
            raise UnavailableError("The ledger is away.")
