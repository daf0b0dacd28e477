"""The ledger over gRPC: commands on an order's hold, each with a key that follows from the order.

Who calls is said by the service's own token; reserving carries the buyer's token too, because only the buyer can agree
to that.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final
from uuid import UUID

import grpc

from services.orders.domain.hold import Hold
from services.orders.domain.order import CaptureMode, Order
from services.orders.domain.refund import Refund
from services.orders.hold_messages import hold_of
from services.orders.outbound.ledger_calls import LedgerCalls
from services.orders.outbound.ledger_guards import LedgerGuards
from services.runtime.clock import to_micros
from services.runtime.errors import InvalidArgumentError, NotFoundError, UnavailableError
from services.runtime.service_tokens import ServiceTokens
from tradeflow.common.v1.money_pb2 import Money as MoneyMessage
from tradeflow.common.v1.wallet_pb2 import Hold as HoldMessage
from tradeflow.ledger.v1.commands_pb2 import Command, CommitHold, RefundCapture, ReserveFunds, VoidHold
from tradeflow.ledger.v1.ledger_pb2 import RefundLeg
from tradeflow.ledger.v1.ledger_service_pb2 import GetHoldRequest, GetHoldsRequest, SellerShare

HOLDS_OF_CALL_MAX: Final = 256
"""The most holds that the ledger tells in one answer."""


class GrpcLedger:
    """Fits `Ledger`."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        tokens: ServiceTokens,
        *,
        deadline_seconds: float,
        leading: grpc.aio.Channel | None = None,
        guards: LedgerGuards | None = None,
    ) -> None:
        """Speak over channels, which their owner closes: to all replicas, and to the one that leads.

        `deadline_seconds` bounds a call with all its repetitions.
        """
        self._calls = LedgerCalls(channel, tokens, deadline_seconds=deadline_seconds, leading=leading, guards=guards)

    def check_there(self) -> None:
        """Let those pass whose command would be sent now."""
        self._calls.check_there()

    async def reserve_funds(self, order: Order, *, buyer_token: str, expires_at: datetime) -> Hold:
        """Hold the order's total; with automatic capture the hold is permanent at once."""
        command = ReserveFunds(
            idempotency_key=str(order.order_id),
            hold_id=str(order.order_id),
            wallet_id=str(order.buyer_id),
            amount=MoneyMessage(amount_minor=order.total.amount_minor, currency=order.total.currency),
            commit=order.capture is CaptureMode.AUTOMATIC,
        )
        if order.capture is CaptureMode.MANUAL:
            command.expires_at.FromMicroseconds(to_micros(expires_at))
        receipt = await self._calls.execute(Command(reserve_funds=command, user_token=buyer_token))
        return _answered(receipt.hold, journal_sequence=receipt.journal_sequence)

    async def commit_hold(self, order: Order) -> Hold:
        """Make the hold permanent."""
        command = CommitHold(
            idempotency_key=f"order:{order.order_id}:commit",
            hold_id=str(order.order_id),
            wallet_id=str(order.buyer_id),
        )
        receipt = await self._calls.execute(Command(commit_hold=command))
        return _answered(receipt.hold, journal_sequence=receipt.journal_sequence)

    async def void_hold(self, order_id: UUID, *, buyer_id: UUID) -> Hold:
        """Release what remains; an unknown hold becomes a tombstone. Refused with `hold_captured`."""
        command = VoidHold(
            idempotency_key=f"order:{order_id}:void",
            hold_id=str(order_id),
            wallet_id=str(buyer_id),
        )
        receipt = await self._calls.execute(Command(void_hold=command))
        return _answered(receipt.hold, journal_sequence=receipt.journal_sequence)

    async def refund_capture(self, order: Order, refund: Refund) -> Hold:
        """Give captured money back."""
        command = RefundCapture(
            idempotency_key=f"order:{order.order_id}:refund:{refund.refund_id}",
            hold_id=str(order.order_id),
            wallet_id=str(order.buyer_id),
            capture_number=refund.capture_number,
            legs=[
                RefundLeg(seller_id=str(seller_id), gross_minor=gross_minor) for seller_id, gross_minor in refund.legs()
            ],
        )
        receipt = await self._calls.execute(Command(refund_capture=command))
        return _answered(receipt.hold, journal_sequence=receipt.journal_sequence)

    async def find_hold(self, order_id: UUID) -> Hold | None:
        """Tell the hold as it is now. None isn't final: void it to make it so."""
        try:
            reply = await self._calls.read(self._calls.stub.GetHold, GetHoldRequest(hold_id=str(order_id)))
        except NotFoundError:
            return None
        return _with_shares(reply.hold, reply.shares)

    async def find_holds(self, order_ids: Sequence[UUID]) -> dict[UUID, Hold]:
        """Tell many holds as they are now, one call after the other: whoever asks for so many has time."""
        holds: list[Hold] = []
        for first in range(0, len(order_ids), HOLDS_OF_CALL_MAX):
            some = order_ids[first : first + HOLDS_OF_CALL_MAX]
            request = GetHoldsRequest(hold_ids=map(str, some))
            reply = await self._calls.read(self._calls.stub.GetHolds, request)
            holds += [_with_shares(each.hold, each.shares) for each in reply.holds]
        return {hold.hold_id: hold for hold in holds}


def _with_shares(message: HoldMessage, shares: Sequence[SellerShare]) -> Hold:
    return replace(_answered(message), refunded_by=_refunded_by(shares))


def _refunded_by(shares: Sequence[SellerShare]) -> dict[UUID, int] | None:
    """Read what each seller gave back; None where nothing was captured, and of a ledger that doesn't tell it yet.

    Raises:
        UnavailableError: `malformed_hold`.
    """
    try:
        return {UUID(share.seller_id): share.gross_refunded_minor for share in shares} or None
    except ValueError as error:
        raise UnavailableError("The ledger names a seller that can't be read.", reason="malformed_hold") from error


def _answered(message: HoldMessage, *, journal_sequence: int = 0) -> Hold:
    """Read the hold of an answer.

    Raises:
        UnavailableError: `malformed_hold`. What was asked is done all the same, so that it must not pass for a refusal.
    """
    try:
        return hold_of(message, journal_sequence=journal_sequence)
    except InvalidArgumentError as error:
        raise UnavailableError(error.message, reason=error.reason) from error
