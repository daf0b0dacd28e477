"""One key, one effect, one answer: the frame around each use case that carries an Idempotency-Key.

The key is claimed in the transaction that writes the intent, so that a crash leaves both or neither. A refusal is kept
under the key in the transaction that found it. What may go better next time (the ledger is away) is not kept: the lease
is given back and the same key goes on from what is durable. Each request holds its lease under an id of its own, by
which it knows what it began itself when a connection was lost at COMMIT.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar
from uuid import UUID

from services.orders.domain.order import Order
from services.orders.domain.request_key import KeyRecord, KeyState, RequestKey
from services.orders.domain.terms import Terms
from services.orders.ports import Rows, Store
from services.runtime.clock import Clock
from services.runtime.errors import ConflictError, RefusedError, TradeFlowError, UnavailableError

OUTCOME_UNKNOWN: Final = "transaction_outcome_unknown"
"""The reason of a transaction whose connection was lost at COMMIT: it happened, or it didn't."""

BEGINNINGS_MAX: Final = 3
"""How often a request begins: a database that loses more connections in a row is away."""

Outcome = TypeVar("Outcome")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a request comes to: the order as it is now, and whether an earlier request did it."""

    order: Order
    replayed: bool = False


async def surely_begun(begin: Callable[[], Awaitable[Outcome]]) -> Outcome:
    """Begin, and once more where it isn't known whether that happened: `claim` then finds what it wrote, if it did.

    It has to claim under the same holder each time.

    Raises:
        UnavailableError: `transaction_outcome_unknown`, each time; or the database is away by now.
    """
    for _ in range(BEGINNINGS_MAX - 1):
        try:
            return await begin()
        except UnavailableError as error:
            if error.reason != OUTCOME_UNKNOWN:
                raise
    return await begin()


async def claim(
    rows: Rows,
    request: RequestKey,
    *,
    holder: UUID,
    order_id: UUID,
    refund_id: UUID | None = None,
    now: datetime,
    terms: Terms,
) -> KeyRecord | None:
    """Begin to work under the key; an earlier record means: replay it if it is DONE, else go on from what it began.

    `holder` is this request and no other, also where another one has the same key.

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
            lease_holder=holder,
        )
    )
    if earlier is None:
        return None
    earlier.check_same(request)
    earlier.check_not_refused()
    earlier.check_free(now, holder=holder)
    if earlier.state is KeyState.IN_FLIGHT:
        await rows.keys.lease(request, holder=holder, lease_expires_at=lease_expires_at)
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
async def lease_given_back(request: RequestKey, *, holder: UUID, store: Store, clock: Clock) -> AsyncIterator[None]:
    """Free the key at once when the body ends without an answer to keep; a crash frees it when the lease runs out.

    It stays with a request that took over when this one was slower than its lease.
    """
    try:
        yield
    except TradeFlowError:
        with suppress(UnavailableError):
            async with store.transaction() as rows:
                await rows.keys.give_back(request, holder=holder, now=clock.now())
        raise
