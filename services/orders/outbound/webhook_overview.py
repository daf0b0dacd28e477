"""Webhooks of all merchants, for whoever runs the platform; opens no door and calls nobody."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from services.orders.domain.webhook import DeliveryState
from services.orders.outbound.webhook_rows import SqlWebhookRows
from services.runtime.clock import from_micros
from services.runtime.database.port import Database

_COLUMNS: Final = "d.endpoint_id, d.message_id, e.url, d.event_type, d.order_id, d.attempts, d.error, d.updated_at"

# The oldest of all endpoints, each with its endpoint.
_UNDELIVERED: Final = f"""
    SELECT {_COLUMNS}
    FROM webhook_deliveries AS d INDEXED BY webhook_deliveries_by_end
    CROSS JOIN webhook_endpoints AS e ON e.endpoint_id = d.endpoint_id
    WHERE d.state = $1 AND COALESCE(e.removed_at, 0) = 0
    ORDER BY d.updated_at LIMIT $2
"""  # noqa: S608 - a constant

# Those of one endpoint.
_UNDELIVERED_OF_ENDPOINT: Final = f"""
    SELECT {_COLUMNS}
    FROM webhook_deliveries AS d INDEXED BY webhook_deliveries_by_turn
    CROSS JOIN webhook_endpoints AS e ON e.endpoint_id = d.endpoint_id
    WHERE d.state = $1 AND COALESCE(e.removed_at, 0) = 0 AND d.endpoint_id = $3
    ORDER BY d.updated_at LIMIT $2
"""  # noqa: S608 - a constant

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
        if endpoint_id is None:
            rows = await connection.fetch(_UNDELIVERED, state.value, rows_max)
        else:
            rows = await connection.fetch(_UNDELIVERED_OF_ENDPOINT, state.value, rows_max, endpoint_id)
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
