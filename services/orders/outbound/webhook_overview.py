"""Webhooks of all merchants, for whoever runs the platform; opens no door and calls nobody."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from services.orders.domain.webhook import DeliveryState
from services.orders.outbound.webhook_rows import SqlWebhookRows
from services.runtime.clock import from_micros
from services.runtime.database.port import Database

# By the index on (state, updated_at).
_UNDELIVERED: Final = """
    SELECT d.endpoint_id, d.message_id, e.url, d.event_type, d.order_id, d.attempts, d.error, d.updated_at
    FROM webhook_deliveries d JOIN webhook_endpoints e ON e.endpoint_id = d.endpoint_id
    WHERE d.state = $1 AND e.removed_at IS NULL AND ($2 = '' OR d.endpoint_id = $3)
    ORDER BY d.updated_at LIMIT $4
"""

# Whether an endpoint is there, and not removed.
_COUNT_ENDPOINT: Final = "SELECT COUNT(*) FROM webhook_endpoints WHERE endpoint_id = $1 AND removed_at IS NULL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Undelivered:
    """A message that an endpoint hasn't taken; `error` says why the last attempt failed."""

    endpoint_id: UUID
    message_id: UUID
    url: str
    event_type: str
    order_id: UUID
    attempts: int
    error: str
    updated_at: datetime


async def undelivered(
    database: Database, state: DeliveryState, *, endpoint_id: UUID | None, rows_max: int
) -> list[Undelivered]:
    """Read the messages in a state, the oldest first."""
    async with database.snapshot() as connection:
        rows = await connection.fetch(
            _UNDELIVERED, state.value, "one" if endpoint_id else "", endpoint_id or UUID(int=0), rows_max
        )
    return [
        Undelivered(
            endpoint_id=row[0],
            message_id=row[1],
            url=row[2],
            event_type=row[3],
            order_id=row[4],
            attempts=row[5],
            error=row[6],
            updated_at=from_micros(row[7]),
        )
        for row in rows
    ]


async def endpoint_is_there(database: Database, endpoint_id: UUID) -> bool:
    """Tell whether a merchant has such an endpoint: deliveries of one that was removed are never sent."""
    async with database.snapshot() as connection:
        ((endpoints,),) = await connection.fetch(_COUNT_ENDPOINT, endpoint_id)
    return bool(endpoints)


async def redrive_all(database: Database, *, endpoint_id: UUID | None, now: datetime, rows_max: int) -> int:
    """Make dead deliveries due again; return how many."""
    async with database.transaction() as connection:
        return await SqlWebhookRows(connection).redrive(endpoint_id, message_id=None, now=now, rows_max=rows_max)
