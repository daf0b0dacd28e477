"""The ledger over gRPC: commands on an order's hold, each with a key that follows from the order.

Who calls is said by the service's own token; reserving carries the buyer's token too, because only the buyer can agree
to that. Calls have deadlines, gRPC itself repeats what the network lost (the keys make that safe), and a bound on calls
at once keeps a slow ledger from filling this process with waiting requests.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final, TypeVar
from uuid import UUID

import grpc

from services.orders.domain.hold import Hold
from services.orders.domain.order import CaptureMode, Order
from services.orders.domain.refund import Refund
from services.orders.hold_messages import hold_of
from services.runtime.clock import to_micros
from services.runtime.errors import ForbiddenError, NotFoundError, UnauthenticatedError, UnavailableError
from services.runtime.grpc_auth import call_metadata
from services.runtime.grpc_errors import translating_errors
from services.runtime.service_tokens import ServiceTokens
from tradeflow.common.v1.money_pb2 import Money as MoneyMessage
from tradeflow.ledger.v1.commands_pb2 import CommitHold, RefundCapture, ReserveFunds, VoidHold
from tradeflow.ledger.v1.ledger_pb2 import RefundLeg
from tradeflow.ledger.v1.ledger_service_pb2 import (
    CommitHoldRequest,
    GetHoldRequest,
    RefundCaptureRequest,
    ReserveFundsRequest,
    VoidHoldRequest,
)
from tradeflow.ledger.v1.ledger_service_pb2_grpc import LedgerServiceStub

AUDIENCE: Final = "ledger"
"""Whom the service's tokens are for."""

LEDGER_SERVICE: Final = "tradeflow.ledger.v1.LedgerService"
"""The name that the retry policy is for."""

SERVICE_CONFIG: Final = {
    "methodConfig": [
        {
            "name": [{"service": LEDGER_SERVICE}],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.05s",
                "maxBackoff": "0.5s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ],
    "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.1},
}
"""Repeats what was lost, with jitter, within the call's deadline; when half of the calls fail, nothing is repeated."""

CALLS_AT_ONCE_MAX: Final = 512
"""More would only queue in the ledger; those above are told to come back."""

Reply = TypeVar("Reply")


class GrpcLedger:
    """Fits `Ledger`."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        tokens: ServiceTokens,
        *,
        deadline_seconds: float,
        calls_at_once_max: int = CALLS_AT_ONCE_MAX,
    ) -> None:
        """Speak over a channel, which its owner closes; `deadline_seconds` bounds a call with all its repetitions."""
        self._stub = LedgerServiceStub(channel)
        self._tokens = tokens
        self._deadline_seconds = deadline_seconds
        self._free = asyncio.Semaphore(calls_at_once_max)

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
        reply = await self._call(self._stub.ReserveFunds, ReserveFundsRequest(command=command), buyer_token)
        return hold_of(reply.receipt.hold)

    async def commit_hold(self, order: Order) -> Hold:
        """Make the hold permanent."""
        command = CommitHold(
            idempotency_key=f"order:{order.order_id}:commit",
            hold_id=str(order.order_id),
            wallet_id=str(order.buyer_id),
        )
        reply = await self._call(self._stub.CommitHold, CommitHoldRequest(command=command))
        return hold_of(reply.receipt.hold)

    async def void_hold(self, order: Order) -> Hold:
        """Release what remains; an unknown hold becomes a tombstone. Refused with `hold_captured`."""
        command = VoidHold(
            idempotency_key=f"order:{order.order_id}:void",
            hold_id=str(order.order_id),
            wallet_id=str(order.buyer_id),
        )
        reply = await self._call(self._stub.VoidHold, VoidHoldRequest(command=command))
        return hold_of(reply.receipt.hold)

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
        reply = await self._call(self._stub.RefundCapture, RefundCaptureRequest(command=command))
        return hold_of(reply.receipt.hold)

    async def find_hold(self, order_id: UUID) -> Hold | None:
        """Tell the hold as it is now. None isn't final: void it to make it so."""
        try:
            reply = await self._call(self._stub.GetHold, GetHoldRequest(hold_id=str(order_id)))
        except NotFoundError:
            return None
        return hold_of(reply.hold)

    async def _call(
        self, method: Callable[..., grpc.aio.UnaryUnaryCall[Any, Reply]], request: object, user_token: str | None = None
    ) -> Reply:
        async with self._place():
            try:
                return await self._call_again_if_token_is_old(method, request, user_token)
            except (UnauthenticatedError, ForbiddenError) as error:
                if isinstance(error, UnauthenticatedError) and user_token is not None:
                    raise
                raise UnavailableError(
                    "The ledger doesn't accept this service.", reason="ledger_refuses_service"
                ) from error

    async def _call_again_if_token_is_old(
        self, method: Callable[..., grpc.aio.UnaryUnaryCall[Any, Reply]], request: object, user_token: str | None
    ) -> Reply:
        """Call; the kept token may be signed with a key that was withdrawn, so once more with a new one."""
        try:
            return await self._call_once(method, request, user_token)
        except UnauthenticatedError:
            self._tokens.forget(AUDIENCE)
        return await self._call_once(method, request, user_token)

    async def _call_once(
        self, method: Callable[..., grpc.aio.UnaryUnaryCall[Any, Reply]], request: object, user_token: str | None
    ) -> Reply:
        token = await self._tokens.token_for(AUDIENCE)
        metadata = call_metadata(token, user_token=user_token)
        with translating_errors():
            return await method(request, timeout=self._deadline_seconds, metadata=metadata)

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        """Take one of the places for calls, or say that there is none."""
        if self._free.locked():
            raise UnavailableError("Too many calls wait for the ledger.", reason="ledger_busy")
        async with self._free:
            yield
