"""One key, one effect, one answer: the frame around each use case that carries an Idempotency-Key.

The key is claimed in the transaction that writes the intent, so that a crash leaves both or neither. A refusal is kept
under the key in the transaction that found it. What may go better next time (the ledger is away) is not kept: the lease
is given back and the same key goes on from what is durable.
"""

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from services.orders.domain.order import Order
from services.orders.domain.request_key import KeyRecord, KeyState, RequestKey
from services.orders.domain.terms import Terms
from services.orders.ports import Rows, Store
from services.runtime.clock import Clock
from services.runtime.errors import ConflictError, RefusedError, TradeFlowError, UnavailableError

Outcome = TypeVar("Outcome")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a request comes to: the order as it is now, and whether an earlier request did it."""

    order: Order
    replayed: bool = False


async def claim(
    rows: Rows, request: RequestKey, *, order_id: UUID, refund_id: UUID | None = None, now: datetime, terms: Terms
) -> KeyRecord | None:
    """Begin to work under the key; an earlier record means: replay it if it is DONE, else go on from what it began.

    Raises:
        KeyReusedError: The key stands for another content.
        ConflictError: `request_in_flight`.
        RefusedError: What the first request was answered.
    """
    lease_expires_at = now + terms.request_lease
    earlier = await rows.keys.claim(
        KeyRecord(
            request=request,
            state=KeyState.IN_FLIGHT,
            order_id=order_id,
            refund_id=refund_id,
            created_at=now,
            lease_expires_at=lease_expires_at,
        )
    )
    if earlier is None:
        return None
    earlier.check_same(request)
    earlier.check_not_refused()
    earlier.check_free(now)
    if earlier.state is KeyState.IN_FLIGHT:
        await rows.keys.lease(request, lease_expires_at)
    return earlier


async def kept(rows: Rows, request: RequestKey, work: Awaitable[Outcome]) -> Outcome | RefusedError:
    """Do the work of a transaction that writes only once it has decided; keep a refusal under the key and return it."""
    try:
        return await work
    except RefusedError as refusal:
        await refuse(rows, request, refusal)
        return refusal


async def refuse(rows: Rows, request: RequestKey, refusal: RefusedError) -> None:
    """Keep a refusal under the key."""
    await rows.keys.refuse(request, refusal.reason, refusal.message, refusal.details)


def unless_refused(outcome: Outcome | RefusedError) -> Outcome:
    """Return what the work came to.

    Raises:
        RefusedError: It came to a refusal.
    """
    if isinstance(outcome, RefusedError):
        raise outcome
    return outcome


def check_not_busy(order: Order) -> None:
    """Let an order pass that nobody is changing.

    Raises:
        ConflictError: `order_busy`: an earlier cancellation, expiry or refund is still under way; try again.
    """
    if order.state.is_intent:
        raise ConflictError(f"{order.state.sentence} Try again when that is over.", reason="order_busy")


@asynccontextmanager
async def lease_given_back(request: RequestKey, *, store: Store, clock: Clock) -> AsyncIterator[None]:
    """Free the key at once when the body ends without an answer to keep; a crash frees it when the lease runs out."""
    try:
        yield
    except TradeFlowError:
        with suppress(UnavailableError):
            async with store.transaction() as rows:
                await rows.keys.lease(request, clock.now())
        raise
