"""Webhook endpoints and deliveries in a transaction.

Deliveries are taken by compare-and-set of `due_at`, so that replicas share the work and no lock is held while somebody
else's server is called.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from services.orders.domain.webhook import Delivery, DeliveryState, WebhookEndpoint
from services.orders.webhook_ports import Attempt, TakenDelivery
from services.runtime.clock import from_micros, from_micros_or_none, to_micros, to_micros_or_none
from services.runtime.database.port import Connection, Query, Row

ERROR_CHARACTERS_MAX: Final = 200
"""The width of the column for what went wrong."""

# Begins a merchant: there is a row to lock.
_BEGIN_MERCHANT: Final = """
    INSERT INTO webhook_merchants (merchant_id) VALUES ($1) ON CONFLICT (merchant_id) DO NOTHING
"""

# Locks the merchant against other registrations.
_LOCK_MERCHANT: Final = "SELECT merchant_id FROM webhook_merchants WHERE merchant_id = $1 FOR UPDATE"

_HAS_ENDED: Final = "SELECT user_id FROM users WHERE user_id = $1 AND generation > $2"

_ADD_ENDPOINT: Final = """
    INSERT INTO webhook_endpoints (endpoint_id, merchant_id, url, secret, old_secret, old_secret_ends_at, failures,
        resumes_at, created_at, removed_at)
    VALUES ($1, $2, $3, $4, $5, $6, 0, 0, $7, NULL)
"""

_ENDPOINTS_OF_MERCHANT: Final = """
    SELECT endpoint_id, merchant_id, url, secret, old_secret, old_secret_ends_at, failures, created_at
    FROM webhook_endpoints WHERE merchant_id = $1 AND removed_at IS NULL ORDER BY endpoint_id
"""

# Locks the endpoint.
_LOCK_ENDPOINT: Final = """
    SELECT endpoint_id, merchant_id, url, secret, old_secret, old_secret_ends_at, failures, created_at
    FROM webhook_endpoints WHERE endpoint_id = $1 AND removed_at IS NULL FOR UPDATE
"""

_SAVE_SECRETS: Final = """
    UPDATE webhook_endpoints SET secret = $1, old_secret = $2, old_secret_ends_at = $3 WHERE endpoint_id = $4
"""

_REMOVE: Final = "UPDATE webhook_endpoints SET removed_at = $1 WHERE endpoint_id = $2"

_REMOVE_ALL: Final = "UPDATE webhook_endpoints SET removed_at = $1 WHERE merchant_id = $2 AND removed_at IS NULL"

_JUDGE: Final = "UPDATE webhook_endpoints SET failures = $1, resumes_at = $2 WHERE endpoint_id = $3"

READ_TURNS: Final = """
    SELECT endpoint_id, merchant_id, url, secret, old_secret, old_secret_ends_at, failures, created_at
    FROM (
        SELECT e.endpoint_id, e.merchant_id, e.url, e.secret, e.old_secret, e.old_secret_ends_at, e.failures,
            e.created_at, (
                SELECT d.due_at FROM webhook_deliveries AS d INDEXED BY webhook_deliveries_by_turn
                WHERE d.endpoint_id = e.endpoint_id AND d.state = 'PENDING' AND d.due_at + 0 <= $1
                LIMIT 1
            ) AS first_due_at
        FROM webhook_endpoints e WHERE e.removed_at IS NULL AND e.resumes_at <= $2
            AND e.failures BETWEEN $3 AND $4
    ) AS turns
    WHERE first_due_at IS NOT NULL
    ORDER BY first_due_at LIMIT $5
"""
"""Whose turn it is, who has waited longest first: one look for each endpoint that isn't left alone, however much waits
for it, since `webhook_deliveries_by_turn` has its oldest first. Locks nothing.

The index is named: where most endpoints have few messages and one has hundreds of thousands, servers take the primary
key for as good, and walk over all of them. With `+ 0`, and without an order, MySQL takes the first entry that it meets.
"""

READ_DUE: Final = """
    SELECT message_id, body, attempts, created_at, due_at FROM webhook_deliveries INDEXED BY webhook_deliveries_by_turn
    WHERE endpoint_id = $1 AND state = 'PENDING' AND due_at <= $2
    ORDER BY due_at LIMIT $3
"""
"""An endpoint's share, by the same index. Locks nothing: who comes second changes no row below."""

# Takes a delivery, if nobody else did.
_TAKE: Final = """
    UPDATE webhook_deliveries SET due_at = $1 WHERE endpoint_id = $2 AND message_id = $3 AND due_at = $4
"""

_FINISH: Final = """
    UPDATE webhook_deliveries SET state = $1, attempts = attempts + 1, status = $2, error = $3, due_at = $4,
        updated_at = $5
    WHERE endpoint_id = $6 AND message_id = $7 AND due_at = $8
"""

_COLUMNS: Final = """
    endpoint_id, message_id, event_type, order_id, state, attempts, status, error, due_at, created_at, updated_at
"""

# Without the bodies.
_LIST: Final = f"""
    SELECT {_COLUMNS} FROM webhook_deliveries WHERE endpoint_id = $1 AND message_id < $2
    ORDER BY message_id DESC LIMIT $3
"""  # noqa: S608 - a constant

# Those that ended so, which have no `due_at`: behind it, the index has them in the order of the messages.
_LIST_ENDED: Final = f"""
    SELECT {_COLUMNS} FROM webhook_deliveries INDEXED BY webhook_deliveries_by_turn
    WHERE endpoint_id = $1 AND message_id < $2 AND state = $4 AND due_at IS NULL
    ORDER BY message_id DESC LIMIT $3
"""  # noqa: S608 - a constant

# Those that wait: all of the endpoint's are sorted.
_LIST_PENDING: Final = f"""
    SELECT {_COLUMNS} FROM webhook_deliveries INDEXED BY webhook_deliveries_by_turn
    WHERE endpoint_id = $1 AND message_id < $2 AND state = $4
    ORDER BY message_id DESC LIMIT $3
"""  # noqa: S608 - a constant

# Dead ones of endpoints that are still there, the oldest first.
_READ_DEAD: Final = """
    SELECT d.endpoint_id, d.message_id
    FROM webhook_deliveries AS d INDEXED BY webhook_deliveries_by_end
    CROSS JOIN webhook_endpoints AS e ON e.endpoint_id = d.endpoint_id
    WHERE d.state = 'DEAD' AND COALESCE(e.removed_at, 0) = 0
    ORDER BY d.updated_at LIMIT $1
"""

# Those of one endpoint, in the order of their messages, as for `_LIST_ENDED`.
_READ_DEAD_OF_ENDPOINT: Final = """
    SELECT d.endpoint_id, d.message_id
    FROM webhook_deliveries AS d INDEXED BY webhook_deliveries_by_turn
    CROSS JOIN webhook_endpoints AS e ON e.endpoint_id = d.endpoint_id
    WHERE d.endpoint_id = $2 AND d.state = 'DEAD' AND d.due_at IS NULL AND COALESCE(e.removed_at, 0) = 0
    ORDER BY d.message_id LIMIT $1
"""

# One of them, by the primary key.
_READ_DEAD_MESSAGE: Final = """
    SELECT d.endpoint_id, d.message_id
    FROM webhook_deliveries AS d CROSS JOIN webhook_endpoints AS e ON e.endpoint_id = d.endpoint_id
    WHERE d.state = 'DEAD' AND COALESCE(e.removed_at, 0) = 0 AND d.endpoint_id = $2 AND d.message_id = $3 LIMIT $1
"""

_REDRIVE: Final = """
    UPDATE webhook_deliveries SET state = 'PENDING', attempts = 0, due_at = $1, updated_at = $2
    WHERE endpoint_id = $3 AND message_id = $4 AND state = 'DEAD'
"""

_READ_ENDED: Final = """
    SELECT endpoint_id, message_id FROM webhook_deliveries WHERE state = $1 AND updated_at < $2
    ORDER BY updated_at LIMIT $3
"""

_FORGET: Final = "DELETE FROM webhook_deliveries WHERE endpoint_id = $1 AND message_id = $2"

READ_FORGOTTEN: Final = """
    SELECT endpoint_id
    FROM (
        SELECT e.endpoint_id, e.removed_at, (
                SELECT d.message_id FROM webhook_deliveries d WHERE d.endpoint_id = e.endpoint_id LIMIT 1
            ) AS message_id
        FROM webhook_endpoints e WHERE e.removed_at < $1
    ) AS removed
    WHERE message_id IS NULL
    ORDER BY removed_at LIMIT $2
"""
"""Endpoints that were removed long ago and of which no message is left: one look for each, by the primary key."""

_FORGET_ENDPOINT: Final = "DELETE FROM webhook_endpoints WHERE endpoint_id = $1 AND removed_at IS NOT NULL"

WELL: Final = (0, 0)
"""How often endpoints failed since they last took a message that took the last one: from, to."""

FAILING: Final = (1, 2**31 - 1)
"""How often all others did: up to what the column holds."""

NEWER_THAN_ALL: Final = UUID(int=2**128 - 1)
"""Where a list that begins with the newest begins."""


class SqlWebhookRows:
    """Fits `WebhookRows`."""

    def __init__(self, connection: Connection) -> None:
        """Work in one transaction."""
        self._connection = connection

    async def lock(self, merchant_id: UUID) -> None:
        """Lock what a merchant may register until the end of the transaction; count their endpoints after that.

        A row of its own: a merchant's first endpoint has none to lock, and READ COMMITTED locks no gaps.
        """
        await self._connection.execute(_BEGIN_MERCHANT, merchant_id)
        await self._connection.fetch(_LOCK_MERCHANT, merchant_id)

    async def has_ended(self, merchant_id: UUID, generation: int) -> bool:
        """Tell whether all sessions of a generation of the merchant's have ended."""
        return bool(await self._connection.fetch(_HAS_ENDED, merchant_id, generation))

    async def endpoints(self, merchant_id: UUID) -> list[WebhookEndpoint]:
        """Read a merchant's endpoints, the oldest first."""
        return [_endpoint_of(row) for row in await self._connection.fetch(_ENDPOINTS_OF_MERCHANT, merchant_id)]

    async def endpoint(self, endpoint_id: UUID) -> WebhookEndpoint | None:
        """Lock and read an endpoint."""
        rows = await self._connection.fetch(_LOCK_ENDPOINT, endpoint_id)
        return _endpoint_of(rows[0]) if rows else None

    async def add(self, endpoint: WebhookEndpoint) -> None:
        """Write a new endpoint."""
        await self._connection.execute(
            _ADD_ENDPOINT,
            endpoint.endpoint_id,
            endpoint.merchant_id,
            endpoint.url,
            endpoint.secret,
            endpoint.old_secret,
            to_micros_or_none(endpoint.old_secret_ends_at),
            to_micros(endpoint.created_at),
        )

    async def save_secrets(self, endpoint: WebhookEndpoint) -> None:
        """Write an endpoint's secrets."""
        ends_at = to_micros_or_none(endpoint.old_secret_ends_at)
        await self._connection.execute(
            _SAVE_SECRETS, endpoint.secret, endpoint.old_secret, ends_at, endpoint.endpoint_id
        )

    async def remove(self, endpoint: WebhookEndpoint, now: datetime) -> None:
        """End an endpoint: nothing is taken for it from then on. What waits for it ends later; see `webhook_ending`."""
        await self._connection.execute(_REMOVE, to_micros(now), endpoint.endpoint_id)

    async def remove_all(self, merchant_id: UUID, now: datetime) -> None:
        """End all endpoints of a merchant, as `remove` does one; a registration that is under way is waited for."""
        await self.lock(merchant_id)
        await self._connection.execute(_REMOVE_ALL, to_micros(now), merchant_id)

    async def take_due(
        self,
        now: datetime,
        *,
        failing: bool,
        but: AbstractSet[UUID] = frozenset(),
        taken_until: datetime,
        rows_max: int,
    ) -> list[TakenDelivery]:
        """Take what is due longest at each endpoint that isn't left alone for a while: equal shares of `rows_max`."""
        now_micros = to_micros(now)
        turns = await self._connection.fetch(
            READ_TURNS, now_micros, now_micros, *(FAILING if failing else WELL), rows_max + len(but)
        )
        endpoints = [_endpoint_of(row) for row in turns if row[0] not in but][:rows_max]
        if not endpoints:
            return []
        share = rows_max // len(endpoints)
        due = await self._connection.fetch_together(
            [Query(READ_DUE, (endpoint.endpoint_id, now_micros, share)) for endpoint in endpoints]
        )
        of_each = [await self._take(endpoint, rows, taken_until) for endpoint, rows in zip(endpoints, due, strict=True)]
        return [taken for of_one in of_each for taken in of_one]

    async def _take(self, endpoint: WebhookEndpoint, rows: Sequence[Row], taken_until: datetime) -> list[TakenDelivery]:
        return [
            TakenDelivery(
                endpoint=endpoint,
                message_id=message_id,
                body=body,
                attempts=attempts,
                created_at=from_micros(created_at),
                taken_until=taken_until,
            )
            for message_id, body, attempts, created_at, due_at in rows
            if await self._connection.execute(_TAKE, to_micros(taken_until), endpoint.endpoint_id, message_id, due_at)
        ]

    async def finish(
        self, taken: TakenDelivery, attempt: Attempt, state: DeliveryState, *, due_at: datetime | None, now: datetime
    ) -> None:
        """Write what an attempt came to, unless somebody took the delivery over meanwhile."""
        row = (
            state.value,
            attempt.status,
            attempt.error[:ERROR_CHARACTERS_MAX],
            to_micros_or_none(due_at),
            to_micros(now),
            taken.endpoint.endpoint_id,
            taken.message_id,
            to_micros(taken.taken_until),
        )
        await self._connection.write_at_commit(_FINISH, [row])

    async def give_back(self, taken: TakenDelivery, *, due_at: datetime) -> None:
        """Leave a delivery for later that was taken and not tried."""
        row = (to_micros(due_at), taken.endpoint.endpoint_id, taken.message_id, to_micros(taken.taken_until))
        await self._connection.write_at_commit(_TAKE, [row])

    async def judge(self, endpoint: WebhookEndpoint, *, failures: int, resumes_at: datetime) -> None:
        """Write how often an endpoint failed in a row, and until when it is left alone."""
        await self._connection.write_at_commit(_JUDGE, [(failures, to_micros(resumes_at), endpoint.endpoint_id)])

    async def deliveries(
        self, endpoint_id: UUID, *, state: DeliveryState | None, before: UUID | None, rows_max: int
    ) -> list[Delivery]:
        """Read deliveries to an endpoint, the newest first."""
        page = (endpoint_id, before or NEWER_THAN_ALL, rows_max)
        if state is None:
            rows = await self._connection.fetch(_LIST, *page)
        else:
            listing = _LIST_PENDING if state is DeliveryState.PENDING else _LIST_ENDED
            rows = await self._connection.fetch(listing, *page, state.value)
        return [_delivery_of(row) for row in rows]

    async def redrive(self, endpoint_id: UUID | None, *, message_id: UUID | None, now: datetime, rows_max: int) -> int:
        """Make dead deliveries due again, with all their attempts: of all endpoints, of one, or one of its own.

        Returns how many.
        """
        if endpoint_id is None:
            dead = await self._connection.fetch(_READ_DEAD, rows_max)
        elif message_id is None:
            dead = await self._connection.fetch(_READ_DEAD_OF_ENDPOINT, rows_max, endpoint_id)
        else:
            dead = await self._connection.fetch(_READ_DEAD_MESSAGE, rows_max, endpoint_id, message_id)
        micros = to_micros(now)
        return sum([await self._connection.execute(_REDRIVE, micros, micros, *row) for row in dead])

    async def forget(self, *, updated_before: datetime, rows_max: int) -> int:
        """Delete the oldest deliveries that ended; return how many."""
        forgotten = 0
        for state in (DeliveryState.DELIVERED, DeliveryState.DEAD):
            old = await self._connection.fetch(_READ_ENDED, state.value, to_micros(updated_before), rows_max)
            await self._connection.write_at_commit(_FORGET, old)
            forgotten += len(old)
        return forgotten

    async def forget_endpoints(self, *, removed_before: datetime, rows_max: int) -> int:
        """Delete endpoints that were removed, once all that was for them is forgotten; return how many."""
        old = await self._connection.fetch(READ_FORGOTTEN, to_micros(removed_before), rows_max)
        await self._connection.write_at_commit(_FORGET_ENDPOINT, old)
        return len(old)


def _endpoint_of(row: tuple[Any, ...]) -> WebhookEndpoint:
    endpoint_id, merchant_id, url, secret, old_secret, old_secret_ends_at, failures, created_at = row
    return WebhookEndpoint(
        endpoint_id=endpoint_id,
        merchant_id=merchant_id,
        url=url,
        secret=secret,
        old_secret=old_secret,
        old_secret_ends_at=from_micros_or_none(old_secret_ends_at),
        failures=failures,
        created_at=from_micros(created_at),
    )


def _delivery_of(row: tuple[Any, ...]) -> Delivery:
    endpoint_id, message_id, event_type, order_id, state, attempts, status, error, due_at, created_at, updated_at = row
    return Delivery(
        endpoint_id=endpoint_id,
        message_id=message_id,
        event_type=event_type,
        order_id=order_id,
        state=DeliveryState(state),
        attempts=attempts,
        status=status,
        error=error,
        due_at=from_micros_or_none(due_at),
        created_at=from_micros(created_at),
        updated_at=from_micros(updated_at),
    )
